package policyfile

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A reader turns nodes into settings and collects what is wrong.
type reader struct{ problems }

func posOf(n *yaml.Node) pos { return pos{n.Line, n.Column} }

// target is the node that n is an alias for, or n.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// document reads the one document of a file. nil: there is something wrong.
func (r *reader) document(data []byte) *yaml.Node {
	const empty = "is empty; write {} if no policies are meant"
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		r.add(pos{1, 1}, "", empty)
		return nil
	case err != nil:
		r.syntax(err, data)
		return nil
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		r.add(posOf(&more), "", "begins a second document; a policy file has one")
	case !errors.Is(err, io.EOF):
		r.syntax(err, data)
	}
	if len(doc.Content) != 1 || isNull(doc.Content[0]) {
		r.add(pos{1, 1}, "", empty)
		return nil
	}
	return doc.Content[0]
}

var (
	syntaxLine    = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntax finds the place of what the YAML package complains about: it tells at
// most the line, and in its text only. The column is where that line begins to
// say something.
func (r *reader) syntax(err error, data []byte) {
	message, line := err.Error(), 1
	if m := syntaxLine.FindStringSubmatch(message); m != nil {
		message = message[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		if i := bytes.Index(data, []byte("*"+m[1])); i >= 0 {
			before := string(data[:i])
			line = strings.Count(before, "\n") + 1
			column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
			r.add(pos{line, column}, "", "no anchor is called %q; define it as &%s, or put text that begins with * in quotes", m[1], m[1])
			return
		}
	}
	lines := strings.Split(string(data), "\n")
	line = max(1, min(line, len(lines)))
	remedy := ""
	for _, k := range syntaxRemedies {
		if strings.Contains(message, k.message) {
			remedy = k.remedy
			break
		}
	}
	// Where these stand the package does not always tell.
	if i := slices.IndexFunc(lines[line-1:], tabbed.MatchString); i >= 0 && tabMessage.MatchString(message) {
		line, remedy = line+i, "; indent with spaces, not with tabs"
	} else if i := slices.IndexFunc(lines, func(text string) bool { return isBarePattern(text, data) }); i >= 0 {
		line, remedy = i+1, "; put patterns in quotes, since * and [ mean something else in YAML"
	}
	text := lines[line-1]
	column := len(text) - len(strings.TrimLeft(text, " \t")) + 1
	r.add(pos{line, column}, "", "is no YAML: %s%s", message, remedy)
}

// syntaxRemedies go with what the YAML package says. Of a block or a brace it
// tells where that begins, not where it goes wrong.
var syntaxRemedies = []struct{ message, remedy string }{
	{"did not find expected key", " here or somewhere below; check the indentation"},
	{"did not find expected '-' indicator", " here or somewhere below; check the indentation"},
	{"did not find expected ','", " here or somewhere below; close every { and ["},
	{"did not find expected node content", " here or somewhere below; close every { and ["},
	{"mapping values are not allowed", "; check the indentation, and put text with a colon in quotes"},
	{"unexpected end of stream", "; close every quote"},
	{"did not find expected alphabetic or numeric character", "; put text that begins with * or & in quotes"},
	{"cannot start any token", "; put text with such a character in quotes"},
	{"control characters", "; remove them"},
}

var (
	tabbed      = regexp.MustCompile(`^ *\t`)
	tabMessage  = regexp.MustCompile(`tab character|cannot start any token`)
	barePattern = regexp.MustCompile(`^ *([*[][^\s"']*): *(\{.*|#.*)?\r?$`)
)

// isBarePattern reports whether a line begins with a pattern for upstreams that
// should have stood in quotes: with a * that is no alias, or a [ that is no list
// of values.
func isBarePattern(text string, data []byte) bool {
	m := barePattern.FindStringSubmatch(text)
	return m != nil && (m[1] == "*" || !bytes.Contains(data, []byte("&"+m[1][1:])))
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// An entry is a key with its value.
type entry struct {
	key   string
	at    pos // of the key
	value *yaml.Node
}

// entries returns what stands in a mapping, its own keys first, then what <<
// merges into it. Nothing at all, as after a key whose settings are all
// commented out, is an empty mapping.
func (r *reader) entries(n *yaml.Node, path, want string) []entry {
	m := mapping{reader: r, path: path, want: want, taken: make(map[string]bool), state: make(map[*yaml.Node]mergeState)}
	m.collect(n)
	return m.entries
}

type mapping struct {
	*reader
	path, want string
	entries    []entry
	taken      map[string]bool
	state      map[*yaml.Node]mergeState
}

type mergeState int8

const (
	merging mergeState = iota + 1
	merged
)

func (m *mapping) collect(n *yaml.Node) {
	at := posOf(n)
	n = target(n)
	switch {
	case m.state[n] == merging:
		m.add(at, m.path, "is merged into itself; remove the alias")
		return
	case m.state[n] == merged || isNull(n):
		return
	case n.Kind != yaml.MappingNode:
		m.add(at, m.path, "is %s; give %s", kindOf(n), m.want)
		return
	}
	m.state[n] = merging
	defer func() { m.state[n] = merged }()
	first := make(map[string]int)
	var merges []*yaml.Node
	var own []entry
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := target(n.Content[i]), n.Content[i+1]
		e := entry{key: key.Value, at: posOf(n.Content[i]), value: value}
		switch {
		case key.Kind != yaml.ScalarNode || isNull(key):
			m.add(e.at, m.path, "has a key that is %s; give %s", kindOf(key), m.want)
		case key.ShortTag() == "!!merge":
			merges = append(merges, value)
		case first[e.key] > 0:
			m.add(e.at, join(m.path, e.key), "is there twice, first in line %d; remove one of the two", first[e.key])
		default:
			first[e.key] = max(e.at.line, 1)
			own = append(own, e)
		}
	}
	for _, e := range own {
		if !m.taken[e.key] {
			m.taken[e.key] = true
			m.entries = append(m.entries, e)
		}
	}
	for _, value := range merges {
		if list := target(value); list.Kind == yaml.SequenceNode {
			for _, item := range list.Content {
				m.collect(item)
			}
			continue
		}
		m.collect(value)
	}
}

func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "without a value"
	}
	return strconv.Quote(shortened(n.Value))
}

// shortened keeps a message readable whatever stands in the file.
func shortened(text string) string {
	const enough = 60
	if runes := []rune(text); len(runes) > enough {
		return string(runes[:enough]) + "…"
	}
	return text
}

// join is the path of a key below path.
func join(path, key string) string {
	key = shortened(key)
	if path == "" {
		return key
	}
	return path + "." + key
}
