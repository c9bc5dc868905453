package policyfile

import (
	"errors"
	"regexp"
	"strings"

	"github.com/idlewise/idlewise"
)

// validate adds what only idlewise finds.
func (f *file) validate() { f.place(f.policies.Validate()) }

// place finds the places of what idlewise says about the policies, and returns
// what does not have one.
func (f *file) place(err error) error {
	if mistake, ok := err.(*idlewise.PolicyError); ok {
		f.placeOne(mistake)
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var rest []error
		for _, inner := range joined.Unwrap() {
			rest = append(rest, f.place(inner))
		}
		return errors.Join(rest...)
	}
	if inner := errors.Unwrap(err); inner != nil {
		if rest := f.place(inner); rest == nil {
			return nil
		}
	}
	return err
}

func (f *file) placeOne(mistake *idlewise.PolicyError) {
	b := f.upstreams[mistake.Pattern]
	if b == nil {
		b = f.fallback
	}
	if mistake.Field == "" {
		f.add(b.at, b.path, "%s", mistake.Message)
		return
	}
	key := keyOf(mistake.Field)
	mentioned := append([]string{key}, mentions(mistake.Message)...)
	at, own := b.at, false
	for i, k := range mentioned {
		s, isOwn := b.resolved[k]
		if !isOwn {
			var ok bool
			if s, ok = f.fallback.resolved[k]; !ok {
				continue
			}
		}
		if s.apply == nil {
			return // that it is wrong is said, and what it would be is not known
		}
		// The policy's own setting is what to change, if there is one.
		if isOwn && !own || i == 0 || at == b.at {
			at, own = s.at, own || isOwn
		}
	}
	f.add(at, join(b.path, key), "%s", inFile(mistake.Message))
}

// keyOf is the key of a field by its name in Go.
func keyOf(name string) string {
	for i := range fields {
		if fields[i].name == name {
			return fields[i].key
		}
	}
	return name
}

// goNames are the names of fields in a message of idlewise's: as they are in
// Policy, or in the struct that they are part of. Only those of several words are
// looked for, since the others are words.
var (
	goNames = regexp.MustCompile(`\b[A-Z][A-Za-z]*(\.[A-Z][A-Za-z]*)*\b`)
	fileKey = make(map[string]string)
)

func init() {
	for i := range fields {
		f := &fields[i]
		if strings.Contains(f.name, ".") {
			fileKey[f.name] = f.key
		}
		if strings.Contains(lastPart(f.key), "_") {
			fileKey[lastPart(f.name)] = f.key
		}
	}
}

// mentions returns the keys of the fields that a message names.
func mentions(message string) []string {
	var keys []string
	for _, name := range goNames.FindAllString(message, -1) {
		if key := fileKey[name]; key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// inFile is a message of idlewise's with fields called as they are in files.
func inFile(message string) string {
	return goNames.ReplaceAllStringFunc(message, func(name string) string {
		key := fileKey[name]
		if key == "" {
			return name
		}
		if !strings.Contains(name, ".") {
			key = lastPart(key)
		}
		return key
	})
}

func lastPart(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
