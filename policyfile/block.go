package policyfile

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/idlewise/idlewise/internal/nearest"
)

// A block is what is written for one policy.
type block struct {
	name    string // or pattern
	path    string
	at      pos // of its key
	extends []reference
	own     settings

	state    resolution
	resolved settings
}

// A reference is a name after extends.
type reference struct {
	name string
	at   pos
}

// settings are by their fields' keys.
type settings map[string]setting

// A setting is a value that was read. Where the value is wrong, apply is nil.
type setting struct {
	at    pos // of the value
	apply func(*draft)
}

const extendsKey = "extends"

// block reads a policy.
func (r *reader) block(n *yaml.Node, path string, at pos) *block {
	b := &block{path: path, at: at, own: make(settings)}
	for _, e := range r.entries(n, path, "settings such as max_conns: 100") {
		_, isGroup := groups[e.key]
		switch {
		case e.key == extendsKey:
			b.extends = r.references(e.value, join(path, e.key))
		case isGroup && e.key != "":
			r.group(b, e)
		case byKey[e.key] != nil && !strings.Contains(e.key, "."):
			r.setting(b, byKey[e.key], e.value, join(path, e.key))
		default:
			r.unknown(b, "", e)
		}
	}
	return b
}

// group reads settings that stand below a key of their own, or "off" for them
// all.
func (r *reader) group(b *block, e entry) {
	path := join(b.path, e.key)
	if n := target(e.value); n.Kind == yaml.ScalarNode && isOff(n.Value) {
		r.setting(b, byKey[offAs[e.key]], e.value, path)
		return
	}
	for _, inner := range r.entries(e.value, path, "settings such as "+groups[e.key][0]+", or off") {
		f := byKey[e.key+"."+inner.key]
		if f == nil {
			r.unknown(b, e.key, inner)
			continue
		}
		r.setting(b, f, inner.value, join(path, inner.key))
	}
}

func (r *reader) setting(b *block, f *field, n *yaml.Node, path string) {
	b.own[f.key] = setting{at: posOf(n), apply: f.read(r, n, path)}
}

// unknown reports a key that does not belong into the group, and takes what was
// probably meant for set, so that nobody is told that it is missing.
func (r *reader) unknown(b *block, group string, e entry) {
	if r.full() {
		return
	}
	path := b.path
	if group != "" {
		path = join(path, group)
	}
	path = join(path, e.key)
	known := groups[group]
	if group == "" {
		known = append([]string{extendsKey}, known...)
	}
	near := nearest.Name(e.key, known)
	var elsewhere []string
	for i := range fields {
		in, key, nested := strings.Cut(fields[i].key, ".")
		if !nested {
			in, key = "", fields[i].key
		}
		if key == e.key && in != group {
			elsewhere = append(elsewhere, in)
		}
	}
	switch {
	case len(elsewhere) > 0 && elsewhere[0] == "":
		r.add(e.at, path, "does not belong here but one level up")
	case len(elsewhere) > 0:
		r.add(e.at, path, "does not belong here but below %s", strings.Join(elsewhere, " or "))
	case near != "":
		r.add(e.at, path, "is not known; did you mean %s?", near)
		key := near
		if group != "" {
			key = group + "." + near
		}
		if _, ok := b.own[key]; !ok && byKey[key] != nil {
			b.own[key] = setting{at: e.at}
		}
	default:
		r.add(e.at, path, "is not known; known are %s", strings.Join(known, ", "))
	}
}

// references reads a name, or a list of names.
func (r *reader) references(n *yaml.Node, path string) []reference {
	items := []*yaml.Node{n}
	if list := target(n); list.Kind == yaml.SequenceNode {
		items = list.Content
	}
	var all []reference
	for _, item := range items {
		name, ok := r.word(item, path, "the name of a policy or a list of names")
		if ok {
			all = append(all, reference{name, posOf(item)})
		}
	}
	return all
}
