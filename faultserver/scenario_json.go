package faultserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDepth is how deep lists and mappings may be nested in a text. None of the
// formats needs more than five levels.
const maxDepth = 32

// jsonTree reads one JSON value as nodes that know their line and column.
func jsonTree(text []byte, file string) (*yaml.Node, error) {
	r := &jsonReader{text: text, dec: json.NewDecoder(bytes.NewReader(text))}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err == nil {
		at := r.next()
		if _, more := r.dec.Token(); more != io.EOF {
			err = &jsonMistake{at, "there is more after the end of the value"}
		}
	}
	if err == nil {
		return n, nil
	}
	offset, message := int64(len(text)), err.Error()
	var syntax *json.SyntaxError
	var mistake *jsonMistake
	switch {
	case errors.As(err, &mistake):
		offset = mistake.offset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), message == "unexpected end of JSON input": // Go 1.27's
		message = "ends too early"
		if len(bytes.TrimSpace(text)) == 0 {
			message = "is empty"
		}
	case errors.As(err, &syntax):
		// It is the mistake's offset for a token in the wrong place, and one
		// more for a character in the wrong place.
		offset = min(syntax.Offset, int64(len(text)))
		if offset > 0 && (offset == int64(len(text)) || !strings.Contains(message, strconv.QuoteRune(rune(text[offset])))) {
			offset--
		}
	}
	line, column := r.place(offset)
	return nil, &ParseError{File: file, Line: line, Column: column, Message: message}
}

type jsonReader struct {
	text []byte
	dec  *json.Decoder

	// The place found last, from which the search for the next one goes on.
	lastOffset int64
	lastLine   int
	lineBegin  int64
}

type jsonMistake struct {
	offset  int64
	message string
}

func (e *jsonMistake) Error() string { return e.message }

// next is the offset of the token to be read next.
func (r *jsonReader) next() int64 {
	at := r.dec.InputOffset()
	for at < int64(len(r.text)) && bytes.IndexByte([]byte(" \t\r\n,:"), r.text[at]) >= 0 {
		at++
	}
	return at
}

// place turns an offset into line and column. Offsets never go back.
func (r *jsonReader) place(offset int64) (line, column int) {
	offset = min(offset, int64(len(r.text)))
	for ; r.lastOffset < offset; r.lastOffset++ {
		if r.text[r.lastOffset] == '\n' {
			r.lastLine++
			r.lineBegin = r.lastOffset + 1
		}
	}
	return r.lastLine + 1, int(max(0, offset-r.lineBegin)) + 1
}

func (r *jsonReader) value(depth int) (*yaml.Node, error) {
	at := r.next()
	if depth > maxDepth {
		return nil, &jsonMistake{at, "is nested too deep"}
	}
	token, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &yaml.Node{Kind: yaml.ScalarNode}
	n.Line, n.Column = r.place(at)
	switch token := token.(type) {
	case nil:
		n.Tag = "!!null"
	case bool:
		n.Tag, n.Value = "!!bool", fmt.Sprint(token)
	case json.Number:
		n.Tag, n.Value = "!!float", token.String()
	case string:
		n.Tag, n.Value, n.Style = "!!str", token, yaml.DoubleQuotedStyle
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if token == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for r.dec.More() {
			inner, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, inner)
		}
		if _, err := r.dec.Token(); err != nil { // the closing bracket
			return nil, err
		}
	}
	return n, nil
}
