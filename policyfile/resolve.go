package policyfile

import (
	"maps"
	"slices"
	"strings"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/internal/nearest"
)

type resolution int8

const (
	resolving resolution = iota + 1
	resolved
)

// resolve returns b's settings and those it extends: its own win, and of several
// policies that it extends the later ones.
func (f *file) resolve(b *block) settings {
	if b.state == resolved {
		return b.resolved
	}
	b.state = resolving
	all := make(settings)
	for _, ref := range b.extends {
		parent, inFile := f.named[ref.name]
		preset, isPreset := presetBlocks()[ref.name]
		path := b.path + "." + extendsKey
		switch {
		case inFile && parent == b && isPreset:
			f.add(ref.at, path, "%q extends itself; rename it if the preset of that name is meant", ref.name)
		case inFile && parent.state == resolving:
			f.add(ref.at, path, "%q extends this one, directly or by others; remove one of the extends", shortened(ref.name))
		case inFile:
			all.override(f.resolve(parent))
		case isPreset:
			all.override(preset.own.at(ref.at))
		default:
			f.unknownPolicy(ref, path)
		}
	}
	all.override(b.own)
	b.resolved, b.state = all, resolved
	return all
}

func (f *file) unknownPolicy(ref reference, path string) {
	known := slices.Sorted(maps.Keys(f.named))
	presets := slices.Sorted(maps.Keys(presetBlocks()))
	if near := nearest.Name(ref.name, append(known, presets...)); near != "" {
		f.add(ref.at, path, "no policy is called %q; did you mean %s?", shortened(ref.name), near)
		return
	}
	f.add(ref.at, path, "no policy is called %q; name one under policies, or a preset: %s", shortened(ref.name), strings.Join(presets, ", "))
}

// override puts what is set in by over what is set in s.
func (s settings) override(by settings) {
	for key, value := range by {
		switch {
		case key == breakerOff:
			for other := range s {
				if strings.HasPrefix(other, breakerOff+".") {
					delete(s, other)
				}
			}
		case strings.HasPrefix(key, breakerOff+"."):
			delete(s, breakerOff)
		}
		s[key] = value
	}
}

// at returns the same settings as if they stood at a place.
func (s settings) at(at pos) settings {
	moved := maps.Clone(s)
	for key, value := range moved {
		value.at = at
		moved[key] = value
	}
	return moved
}

// wholes are the groups that idlewise.Policies takes over from the default as
// wholes only. In files each setting is inherited by itself.
var wholes = []string{"tcp_keep_alive.", "breaker."}

// withDefault fills in what s, of an upstream, lacks of a group that it sets in
// part.
func (s settings) withDefault(def settings) settings {
	all := maps.Clone(s)
	for _, group := range wholes {
		part := false
		for key := range s {
			part = part || strings.HasPrefix(key, group)
		}
		for key, value := range def {
			if _, ok := all[key]; !ok && part && strings.HasPrefix(key, group) {
				all[key] = value
			}
		}
	}
	return all
}

// policy makes the policy of settings that nothing is missing from.
func (f *file) policy(path string, all settings) idlewise.Policy {
	var d draft
	for i := range fields {
		if s := all[fields[i].key]; s.apply != nil {
			s.apply(&d)
		}
	}
	f.breakerMistakes(path, all, &d)
	return d.finish()
}
