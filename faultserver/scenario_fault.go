package faultserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// ParseFault reads one fault in the one-line form that request headers and the
// command line use:
//
//	fin-after-request executed times=1
//	kind=delay after=50ms jitter=10ms path="/a b"
//
// Fields are named as in scenarios. The kind may stand first without its name,
// and a field without a value is true. A value with a space, a semicolon or a
// quote in it is quoted as in Go. Like all texts this one carries UTF-8 only: a
// fault with other bytes, in a RawAnswer's Value for example, can be had in Go;
// String shows it, and ParseFault refuses what String shows. Mistakes are
// [ParseError]s.
func ParseFault(text string) (Fault, error) {
	faults, err := parseOneLine(text, "fault", 1)
	switch {
	case err != nil:
		return Fault{}, err
	case len(faults) != 1:
		return Fault{}, &ParseError{File: "fault", Line: 1, Column: 1, Message: fmt.Sprintf("%d faults where one belongs", len(faults))}
	}
	return faults[0], nil
}

// ParseFaults is ParseFault for several faults, separated by semicolons.
func ParseFaults(text string) ([]Fault, error) { return parseOneLine(text, "faults", 1) }

func parseOneLine(text, file string, line int) ([]Fault, error) {
	d := newDecoder(file)
	faults := d.oneLine(text, line)
	return faults, d.err()
}

// oneLine reads faults separated by semicolons.
func (d *decoder) oneLine(text string, line int) []Fault {
	nodes := d.oneLineFaults(text, line)
	if len(d.errs) > 0 {
		return nil
	}
	faults := make([]Fault, len(nodes))
	for i, n := range nodes {
		path := ""
		if len(nodes) > 1 {
			path = fmt.Sprintf("[%d]", i)
		}
		d.fault(n, &faults[i], path)
	}
	return faults
}

// fault reads and validates one fault.
func (d *decoder) fault(n *yaml.Node, f *Fault, path string) {
	d.value(n, reflect.ValueOf(f).Elem(), path)
	if d.bad[path] {
		return
	}
	err := f.Validate()
	d.validate(path, err)
	if err == nil && d.supports != nil {
		if err := d.supports(*f); err != nil {
			d.validate(path, &fieldError{"Kind", "%v", []any{err}})
		}
	}
}

// faults reads one fault or a list of them.
func (d *decoder) faults(n *yaml.Node) []Fault {
	if n.Kind != yaml.SequenceNode {
		faults := make([]Fault, 1)
		d.fault(n, &faults[0], "")
		return faults
	}
	faults := make([]Fault, len(n.Content))
	for i, item := range n.Content {
		d.fault(item, &faults[i], fmt.Sprintf("[%d]", i))
	}
	return faults
}

// MarshalJSON writes the fault with the field names and units of scenarios. A
// field that is not UTF-8 is an error: JSON has no form for it.
func (f Fault) MarshalJSON() ([]byte, error) {
	if err := f.inUTF8(); err != nil {
		return nil, fmt.Errorf("fault %v: %w", f.Kind, err)
	}
	var b bytes.Buffer
	writeJSON(&b, encode(reflect.ValueOf(f)))
	return b.Bytes(), nil
}

// inUTF8 reports the fields that no text can carry.
func (f Fault) inUTF8() error {
	var errs []error
	v := reflect.ValueOf(f)
	for i := range v.NumField() {
		if s := v.Field(i); s.Kind() == reflect.String && !utf8.ValidString(s.String()) {
			errs = append(errs, &fieldError{v.Type().Field(i).Name, "%v", []any{errNotUTF8}})
		}
	}
	return errors.Join(errs...)
}

var errNotUTF8 = errors.New("is not UTF-8, which no text can carry: inject the fault from Go")

// UnmarshalJSON reads and validates a fault as the control endpoint does.
func (f *Fault) UnmarshalJSON(text []byte) error {
	n, err := jsonTree(text, "fault")
	if err != nil {
		return err
	}
	d := newDecoder("fault")
	var parsed Fault
	d.fault(n, &parsed, "")
	if err := d.err(); err != nil {
		return err
	}
	*f = parsed
	return nil
}

var (
	_ json.Marshaler   = Fault{}
	_ json.Unmarshaler = (*Fault)(nil)
)
