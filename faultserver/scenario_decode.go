package faultserver

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http2"

	"github.com/idlewise/idlewise/internal/nearest"
)

// decoder turns a tree of nodes, whatever it was parsed from, into Go values.
// It is the one place where names, durations, codes and sizes are read, and it
// reports every mistake with its place. Struct fields are found by their
// snake_case name, so that a new field of Fault can be written at once.
type decoder struct {
	file string
	errs []error
	at   map[string]*yaml.Node // where each path was written
	bad  map[string]bool       // paths that could not be read

	supports func(Fault) error // what the server cannot do; nil: not asked
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, at: make(map[string]*yaml.Node), bad: make(map[string]bool)}
}

func (d *decoder) fail(n *yaml.Node, path, format string, args ...any) {
	d.bad[path] = true
	d.report(n, path, fmt.Sprintf(format, args...))
}

// maxMistakes is how many mistakes of a text are reported: a text that is
// something else altogether has no end of them.
const maxMistakes = 50

func (d *decoder) report(n *yaml.Node, path, message string) {
	switch len(d.errs) {
	case maxMistakes:
		return
	case maxMistakes - 1:
		path, message = "", "too many mistakes; those behind this one are not reported"
	}
	d.errs = append(d.errs, &ParseError{File: d.file, Line: n.Line, Column: n.Column, Field: path, Message: message})
}

// validate adds what err says of fields of the struct at path, at the places
// where they were written. What could not be read has been reported.
func (d *decoder) validate(path string, err error) {
	for _, e := range fieldErrors(err) {
		full := join(path, snakePath(e.path))
		kind := join(parent(full), "kind")
		if d.bad[full] || d.bad[kind] || d.bad[parent(full)] || d.badWithin(full) {
			continue
		}
		where := full
		for d.at[where] == nil && where != "" {
			where = parent(where)
		}
		n := d.at[where]
		if n == nil {
			n = &yaml.Node{Line: 1, Column: 1}
		}
		d.report(n, full, e.inText())
	}
}

// badWithin reports whether a field of the struct at path could not be read, so
// that nothing can be said of the whole.
func (d *decoder) badWithin(path string) bool {
	for bad := range d.bad {
		if path != "" && strings.HasPrefix(bad, path+".") {
			return true
		}
	}
	return false
}

// err returns all mistakes in the order of the text.
func (d *decoder) err() error {
	slices.SortStableFunc(d.errs, func(a, b error) int {
		x, y := a.(*ParseError), b.(*ParseError)
		if x.Line != y.Line {
			return x.Line - y.Line
		}
		return x.Column - y.Column
	})
	return errors.Join(d.errs...)
}

func join(path, field string) string {
	if path == "" || field == "" {
		return path + field
	}
	return path + "." + field
}

// parent of a.b[1].c is a.b[1], of a.b[1] it is a.b.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

func snakePath(path string) string {
	if strings.ContainsAny(path, ".[_") {
		return path // a text's path already
	}
	return snakeCase(path)
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	d.at[path] = n
	switch {
	case n.Kind == yaml.AliasNode:
		d.fail(n, path, "aliases are not supported")
		return
	case n.Anchor != "":
		d.fail(n, path, "anchors are not supported")
		return
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(n, path, "tags such as %s are not supported", n.Tag)
		return
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		d.fail(n, path, "is empty: give it a value or leave it out")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	default:
		if n.Kind != yaml.ScalarNode {
			d.fail(n, path, "is a %s where a single value belongs", kindOfNode(n))
			return
		}
		if err := scalar(n, v, path); err != nil {
			d.fail(n, path, "%v", err)
		}
	}
}

func kindOfNode(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "mapping"
	case yaml.SequenceNode:
		return "list"
	}
	return "single value"
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "is a %s where fields with values belong", kindOfNode(n))
		return
	}
	fields := textFields(v.Type())
	first := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.fail(key, path, "a field's name is a single word")
			continue
		}
		at := join(path, key.Value)
		index, known := fields[key.Value]
		line, again := first[key.Value]
		switch {
		case again:
			d.fail(key, at, "is there twice, first in line %d", line)
			continue
		case !known:
			names := make([]string, 0, len(fields))
			for name := range fields {
				names = append(names, name)
			}
			d.fail(key, at, "%v", unknownName("field", key.Value, names))
			if meant := nearest.Name(key.Value, names); meant != "" {
				d.bad[join(path, meant)] = true // that it is missing is said
			}
			continue
		}
		first[key.Value] = key.Line
		d.value(value, v.Field(index), at)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	items := n.Content
	switch {
	case n.Kind == yaml.ScalarNode && v.Type().Elem().Kind() == reflect.String:
		items = []*yaml.Node{n} // one name needs no brackets
	case n.Kind != yaml.SequenceNode:
		d.fail(n, path, "is a %s where a list belongs", kindOfNode(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

// textFields returns the indices of a struct's fields by their names in texts.
func textFields(t reflect.Type) map[string]int {
	if known, ok := fieldsOf.Load(t); ok {
		return known.(map[string]int)
	}
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		if t.Field(i).IsExported() {
			fields[snakeCase(t.Field(i).Name)] = i
		}
	}
	fieldsOf.Store(t, fields)
	return fields
}

var fieldsOf sync.Map // what textFields has found, by type

var durationType = reflect.TypeFor[time.Duration]()

// scalar reads a single value. Numbers, truths and codes stand without quotes.
func scalar(n *yaml.Node, v reflect.Value, path string) error {
	text := n.Value
	quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	switch {
	case v.Type() == durationType:
		return scalarDuration(text, v)
	case v.Addr().Type().Implements(textUnmarshaler):
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	case v.Kind() == reflect.String:
		if !utf8.ValidString(text) {
			return errNotUTF8
		}
		v.SetString(text)
		return nil
	case v.Kind() == reflect.Uint32 && strings.HasSuffix("."+path, ".code"):
		if code, err := strconv.ParseUint(text, 10, 32); err == nil {
			if quoted {
				return fmt.Errorf("%q is a text where a number or an error code's name belongs: leave the quotes out", text)
			}
			v.SetUint(code)
			return nil
		}
		return scalarCode(text, v)
	case quoted:
		return fmt.Errorf("%q is a text where %s belongs: leave the quotes out", text, whatBelongs(v))
	}
	var err error
	switch v.Kind() {
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var i int64
		if i, err = strconv.ParseInt(text, 10, v.Type().Bits()); err == nil {
			v.SetInt(i)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var u uint64
		if u, err = strconv.ParseUint(text, 10, v.Type().Bits()); err == nil {
			v.SetUint(u)
		}
	case reflect.Float64:
		var f float64
		if f, err = strconv.ParseFloat(text, 64); err == nil {
			v.SetFloat(f)
		}
		if f == 0 && err == nil && strings.HasSuffix("."+path, ".probability") { // Fault cannot tell it from none
			return fmt.Errorf("%s is not in (0, 1]: leave the whole fault out, or, if it is always to strike, probability", text)
		}
	default:
		return fmt.Errorf("%v cannot be written in a text", v.Type())
	}
	switch {
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("%s is out of range", text)
	case err != nil:
		return fmt.Errorf("%q is not %s", text, whatBelongs(v))
	}
	return nil
}

func whatBelongs(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0 up"
	}
	return "a whole number"
}

func scalarDuration(text string, v reflect.Value) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration, such as 5s, 250ms or 1m30s", text)
	}
	v.SetInt(int64(d))
	return nil
}

// scalarCode reads the name of an HTTP/2 error code (RFC 9113 section 7).
func scalarCode(text string, v reflect.Value) error {
	var names []string
	for c := http2.ErrCodeNo; c <= http2.ErrCodeHTTP11Required; c++ {
		if c.String() == text {
			v.SetUint(uint64(c))
			return nil
		}
		names = append(names, c.String())
	}
	return unknownName("code", text, names)
}
