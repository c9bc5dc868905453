package policyfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// An Error is all that is wrong with a file.
type Error struct {
	File     string    // as Parse or Load was given it
	Problems []Problem // at least one, in the order of the file
}

// A Problem is one mistake.
type Problem struct {
	Line, Column int    // where it stands, counted from 1
	Path         string // such as upstreams["api.example.com"].retry.max; empty for the whole file
	Message      string // what is wrong, and the remedy
}

// Error returns a line for each problem: file:line:column: path: message.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = e.File + ":" + p.String()
	}
	return strings.Join(lines, "\n")
}

// String returns line:column: path: message.
func (p Problem) String() string {
	path := p.Path
	if path != "" {
		path += ": "
	}
	return fmt.Sprintf("%d:%d: %s%s", p.Line, p.Column, path, p.Message)
}

// maxProblems bounds what a file of nonsense, or one that is no policy file at
// all, costs.
const maxProblems = 1000

// A pos is a place in the file.
type pos struct{ line, column int }

// problems collects what is wrong. What is wrong with an anchored value is said
// once, however many aliases it has.
type problems struct {
	list []Problem
	seen map[Problem]bool
}

func (p *problems) full() bool { return len(p.list) == maxProblems }

func (p *problems) add(at pos, path, format string, args ...any) {
	if p.full() {
		return
	}
	one := Problem{Line: max(at.line, 1), Column: max(at.column, 1), Message: fmt.Sprintf(format, args...)}
	if p.seen[one] {
		return
	}
	if p.seen == nil {
		p.seen = make(map[Problem]bool)
	}
	p.seen[one] = true
	one.Path = path
	p.list = append(p.list, one)
}

// err is the Error for the file called name, or nil.
func (p *problems) err(name string) error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{File: name, Problems: p.list}
}
