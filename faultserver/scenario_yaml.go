package faultserver

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlTree reads one YAML document as nodes. Aliases are refused by the
// decoder, so that a small text cannot stand for a huge one.
func yamlTree(text []byte, file string) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, &ParseError{File: file, Line: 1, Column: 1, Message: "is empty"}
	case err != nil:
		return nil, yamlMistake(err, text, file)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, yamlMistake(err, text, file)
		}
		return nil, &ParseError{File: file, Line: more.Line, Column: max(1, more.Column), Message: "a second document: one is allowed"}
	}
	if len(doc.Content) != 1 {
		return nil, &ParseError{File: file, Line: 1, Column: 1, Message: "is empty"}
	}
	root := doc.Content[0]
	if n := tooDeep(root, 0); n != nil {
		return nil, &ParseError{File: file, Line: n.Line, Column: n.Column, Message: "is nested too deep"}
	}
	return root, nil
}

func tooDeep(n *yaml.Node, depth int) *yaml.Node {
	if depth > maxDepth {
		return n
	}
	for _, inner := range n.Content {
		if deep := tooDeep(inner, depth+1); deep != nil {
			return deep
		}
	}
	return nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// yamlMistake finds the place of a syntax error. The library tells the line,
// in its text only; the column is where that line begins to say something.
func yamlMistake(err error, text []byte, file string) *ParseError {
	e := &ParseError{File: file, Line: 1, Column: 1, Message: err.Error()}
	if m := yamlLine.FindStringSubmatch(e.Message); m != nil {
		e.Message = e.Message[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
			e.Line = n
		}
	}
	lines := strings.Split(string(text), "\n")
	e.Line = min(e.Line, len(lines))
	line := lines[e.Line-1]
	e.Column = len(line) - len(strings.TrimLeft(line, " \t")) + 1
	return e
}
