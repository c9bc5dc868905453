package faultserver

import (
	"errors"
	"fmt"
	"strings"
)

// ParseError is one mistake in a scenario, a control request or a request
// header. Everything wrong with a text is reported at once: errors that wrap
// several are taken apart with [ParseErrors].
type ParseError struct {
	File         string // or what else the text was called
	Line, Column int    // counted from 1; 0: unknown
	Field        string // such as phases[1].faults[0].after; "" for the whole text
	Message      string
}

// Error returns file:line:column: field: message.
func (e *ParseError) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ":")
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", e.Line, e.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// ParseErrors returns every ParseError that err wraps, in the order of the text.
func ParseErrors(err error) []*ParseError {
	if one, ok := err.(*ParseError); ok {
		return []*ParseError{one}
	}
	var all []*ParseError
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, ParseErrors(inner)...)
		}
	case interface{ Unwrap() error }:
		all = ParseErrors(e.Unwrap())
	}
	return all
}

// fieldError is a mistake in one field of a Go value, before anybody knows
// whether it was written in a text.
type fieldError struct {
	path   string // Go's name in a Fault, a text's path elsewhere
	format string
	args   []any
}

// fieldName is another field's name among a fieldError's arguments. Its Error
// shows it as Go does, a ParseError as texts do.
type fieldName string

func (e *fieldError) Error() string { return e.path + ": " + fmt.Sprintf(e.format, e.args...) }

// inText is the message with other fields named as in texts.
func (e *fieldError) inText() string {
	args := make([]any, len(e.args))
	for i, a := range e.args {
		if name, ok := a.(fieldName); ok {
			a = snakeCase(string(name))
		}
		args[i] = a
	}
	return fmt.Sprintf(e.format, args...)
}

// fieldErrors finds the fieldErrors that err wraps.
func fieldErrors(err error) []*fieldError {
	var one *fieldError
	switch e := err.(type) {
	case nil:
		return nil
	case *fieldError:
		return []*fieldError{e}
	case interface{ Unwrap() []error }:
		var all []*fieldError
		for _, inner := range e.Unwrap() {
			all = append(all, fieldErrors(inner)...)
		}
		return all
	}
	if inner := errors.Unwrap(err); inner != nil {
		return fieldErrors(inner)
	}
	if errors.As(err, &one) {
		return []*fieldError{one}
	}
	return []*fieldError{{path: "", format: "%v", args: []any{err}}}
}
