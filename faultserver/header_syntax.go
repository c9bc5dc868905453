package faultserver

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The one-line form of faults, for request headers and command lines:
//
//	fin-after-request executed; kind=delay after=50ms path="/a b"
//
// Faults are separated by semicolons, their fields by spaces. The kind may
// stand first without its name; a field without a value is true. A value with a
// space, a semicolon or a quote in it is quoted as in Go.

// oneLine reads the one-line form as nodes.
type oneLine struct {
	d    *decoder
	line int
	text string
	pos  int
}

func (d *decoder) oneLineFaults(text string, line int) []*yaml.Node {
	p := &oneLine{d: d, line: line, text: text}
	var faults []*yaml.Node
	for {
		p.skip(" \t")
		switch {
		case p.pos == len(p.text):
			return faults
		case p.text[p.pos] == ';':
			p.pos++
			continue
		}
		faults = append(faults, p.fault())
	}
}

func (p *oneLine) skip(set string) {
	for p.pos < len(p.text) && strings.IndexByte(set, p.text[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *oneLine) node(at int) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Line: p.line, Column: at + 1}
}

// word reads up to one of the set or the end.
func (p *oneLine) word(set string) string {
	begin := p.pos
	for p.pos < len(p.text) && strings.IndexByte(set, p.text[p.pos]) < 0 {
		p.pos++
	}
	return p.text[begin:p.pos]
}

func (p *oneLine) fault() *yaml.Node {
	fault := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: p.line, Column: p.pos + 1}
	fields := textFields(reflect.TypeFor[Fault]())
	for {
		p.skip(" \t")
		if p.pos == len(p.text) || p.text[p.pos] == ';' {
			return fault
		}
		key := p.node(p.pos)
		key.Value = p.word(" \t;=")
		value := p.node(p.pos)
		switch _, isField := fields[key.Value]; {
		case p.pos < len(p.text) && p.text[p.pos] == '=':
			p.pos++
			value.Column = p.pos + 1
			p.value(value)
		case len(fault.Content) == 0 && !isField:
			value.Value, value.Column = key.Value, key.Column
			key.Value = "kind"
		default:
			value.Value, value.Tag, value.Column = "true", "!!bool", key.Column
		}
		fault.Content = append(fault.Content, key, value)
	}
}

func (p *oneLine) value(n *yaml.Node) {
	rest := p.text[p.pos:]
	if !strings.HasPrefix(rest, `"`) {
		n.Value = p.word(" \t;")
		if strings.Contains(n.Value, `"`) {
			p.d.fail(n, "", "a quote in the middle of a value: quote the whole value")
		}
		return
	}
	n.Style = yaml.DoubleQuotedStyle
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		p.d.fail(n, "", "a quoted value that is not quoted as in Go, or does not end")
		p.pos = len(p.text)
		return
	}
	n.Value, _ = strconv.Unquote(quoted) // QuotedPrefix has checked it
	p.pos += len(quoted)
	if p.pos < len(p.text) && strings.IndexByte(" \t;", p.text[p.pos]) < 0 {
		p.d.fail(n, "", "a space or a semicolon must follow a quoted value")
		p.word(" \t;")
	}
}

// String returns the fault in the one-line form that [ParseFault] reads, such
// as "fin-after-request executed times=1".
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.Kind.String())
	n := encode(reflect.ValueOf(f))
	for i := 0; i < len(n.Content); i += 2 {
		name, value := n.Content[i].Value, n.Content[i+1]
		switch {
		case name == "kind":
		case value.Tag == "!!bool":
			b.WriteString(" " + name)
		case value.Tag == "!!str" && (value.Value == "" || strings.ContainsAny(value.Value, " \t;\"\\") || strconv.Quote(value.Value) != `"`+value.Value+`"`):
			b.WriteString(" " + name + "=" + strconv.Quote(value.Value))
		default:
			fmt.Fprintf(&b, " %s=%s", name, value.Value)
		}
	}
	return b.String()
}
