package faultserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxControlBody bounds the body of a control request.
const maxControlBody = 64 << 10

// controlError is an error with its status; others are a bad request.
type controlError struct {
	status int
	err    error
}

func (e *controlError) Error() string { return e.err.Error() }
func (e *controlError) Unwrap() error { return e.err }

// bodyForm is how a control request's body is written.
type bodyForm uint8

const (
	jsonForm bodyForm = iota
	yamlForm
	oneLineForm
)

const bodyName = "body"

func readControlBody(r *http.Request) ([]byte, bodyForm, error) {
	form := jsonForm
	switch media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); media {
	case "application/json", "application/x-www-form-urlencoded": // the latter is curl -d
	case "application/yaml", "application/x-yaml", "text/yaml":
		form = yamlForm
	case "text/plain":
		form = oneLineForm
	default:
		if r.Header.Get("Content-Type") != "" {
			return nil, form, &controlError{http.StatusUnsupportedMediaType, fmt.Errorf(
				"Content-Type %q is none of application/json, application/yaml, text/plain%s", media, errText(err))}
		}
	}
	text, err := io.ReadAll(r.Body)
	return text, form, err
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// parseControlFaults reads one fault or a list of faults. supports says what
// cannot be had on the server; nil: not asked.
func parseControlFaults(text []byte, form bodyForm, supports func(Fault) error) ([]Fault, error) {
	d := newDecoder(bodyName)
	d.supports = supports
	var root *yaml.Node
	var err error
	switch form {
	case oneLineForm:
		faults := d.oneLine(strings.TrimRight(string(text), "\r\n"), 1)
		if err = d.err(); err == nil && len(faults) == 0 {
			err = &ParseError{File: bodyName, Line: 1, Column: 1, Message: "is empty"}
		}
		return faults, err
	case yamlForm:
		root, err = yamlTree(text, bodyName)
	default:
		root, err = jsonTree(text, bodyName)
	}
	if err != nil {
		return nil, err
	}
	faults := d.faults(root)
	return faults, d.err()
}

func parseControlScenario(text []byte, form bodyForm, supports func(Fault) error) (*Scenario, error) {
	d := newDecoder(bodyName)
	d.supports = supports
	switch form {
	case oneLineForm:
		return nil, &controlError{http.StatusUnsupportedMediaType, errors.New("a scenario is application/yaml or application/json")}
	case yamlForm:
		return d.parseScenario(text)
	}
	root, err := jsonTree(text, bodyName)
	if err != nil {
		return nil, err
	}
	return d.scenario(root)
}

func writeControl(w http.ResponseWriter, status int, value any) {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil { // a fault injected from Go, which no text can carry
		status = http.StatusInternalServerError
		text, _ = json.MarshalIndent(map[string]any{"errors": []any{map[string]string{"message": err.Error()}}}, "", "  ")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(append(text, '\n'))
}

func writeControlError(w http.ResponseWriter, err error) {
	type mistake struct {
		Message string `json:"message"`
		File    string `json:"file,omitempty"`
		Line    int    `json:"line,omitempty"`
		Column  int    `json:"column,omitempty"`
		Field   string `json:"field,omitempty"`
	}
	status := http.StatusBadRequest
	var with *controlError
	if errors.As(err, &with) {
		status = with.status
	}
	var list []mistake
	for _, e := range ParseErrors(err) {
		list = append(list, mistake{e.Message, e.File, e.Line, e.Column, e.Field})
	}
	if list == nil {
		list = []mistake{{Message: err.Error()}}
	}
	writeControl(w, status, map[string]any{"errors": list})
}

// statusOnly is a response that is thrown away but for its status and header.
type statusOnly struct {
	header http.Header
	status int
}

func (w *statusOnly) Header() http.Header         { return w.header }
func (w *statusOnly) Write(p []byte) (int, error) { return len(p), nil }
func (w *statusOnly) WriteHeader(status int)      { w.status = status }
