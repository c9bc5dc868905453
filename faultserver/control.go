package faultserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ControlHandler returns the control endpoint, for a server of your own;
// Config.Control serves it on a listener. Never put it on the listener of the
// server it controls: a fault could strike it.
//
//	GET    /                   what is here
//	GET    /faults             the faults in force, with their ids and how often they struck
//	POST   /faults             inject one fault or a list, all or none
//	PUT    /faults             the same, in place of all others, at the same moment
//	DELETE /faults             clear
//	DELETE /faults/{id}        clear one
//	GET    /kinds              the kinds of faults, and which parameters each needs and takes
//	POST   /do/{operation}     drain, restart, kill, …; ?timeout=5s bounds the wait
//	GET    /journal            JSON lines, see Journal.WriteJSONL; ?follow=true: rows as they become final
//	DELETE /journal            forget what has ended
//	GET    /summary            counts
//	GET    /scenario           where the server is in its scenario
//	POST   /scenario           play the one in the body, or ?name= an embedded one
//	PUT    /scenario           the same, ending the one that is being played
//	DELETE /scenario           end it
//	GET    /scenarios          the embedded scenarios
//	POST   /reset              end the scenario, clear the faults, forget the journal
//
// A body is JSON (also without a Content-Type, as curl -d sends it), YAML
// (application/yaml), or, for faults, the one-line form of [ParseFaults]
// (text/plain), of at most 64 KiB. Answers are JSON. Errors are
// {"errors": [{"message", "file", "line", "column", "field"}]}.
//
// It answers only this machine, under a name that means this machine, unless
// Config.ControlRemote is set, and never a web page of another origin.
func (s *Server) ControlHandler() http.Handler {
	c := &control{s: s, mux: http.NewServeMux()}
	for _, route := range []struct {
		pattern string
		answer  func(*http.Request) (any, error)
	}{
		{"GET /{$}", c.about},
		{"GET /faults", func(*http.Request) (any, error) { return c.faults(), nil }},
		{"POST /faults", c.inject},
		{"PUT /faults", c.setFaults},
		{"DELETE /faults", c.clear},
		{"DELETE /faults/{id}", c.clearOne},
		{"GET /kinds", c.kinds},
		{"POST /do/{operation}", c.do},
		{"DELETE /journal", c.forget},
		{"GET /summary", c.summary},
		{"GET /scenario", func(*http.Request) (any, error) { return s.Phase(), nil }},
		{"POST /scenario", c.play},
		{"PUT /scenario", c.playInstead},
		{"DELETE /scenario", c.stop},
		{"GET /scenarios", func(*http.Request) (any, error) { return map[string]any{"scenarios": Scenarios()}, nil }},
		{"POST /reset", c.reset},
	} {
		c.patterns = append(c.patterns, strings.TrimSuffix(route.pattern, "{$}"))
		c.mux.HandleFunc(route.pattern, func(w http.ResponseWriter, r *http.Request) {
			value, err := route.answer(r)
			if err != nil {
				writeControlError(w, err)
				return
			}
			writeControl(w, http.StatusOK, value)
		})
	}
	c.patterns = append(c.patterns, "GET /journal")
	c.mux.HandleFunc("GET /journal", c.journal)
	return c
}

// control is the control endpoint of one server.
type control struct {
	s        *Server
	mux      *http.ServeMux
	patterns []string
}

func (c *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := c.admit(r); err != nil {
		writeControlError(w, &controlError{http.StatusForbidden, err})
		return
	}
	h, pattern := c.mux.Handler(r)
	if pattern == "" { // the mux has its own ways to say no: take the status, and Allow
		no := &statusOnly{header: make(http.Header), status: http.StatusOK}
		h.ServeHTTP(no, r)
		if allow := no.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			writeControlError(w, &controlError{no.status, fmt.Errorf("%s %s: allowed are %s", r.Method, r.URL.Path, allow)})
			return
		}
		writeControlError(w, &controlError{http.StatusNotFound, fmt.Errorf("%s: there is nothing here; GET / tells what is where", r.URL.Path)})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxControlBody))
	if err != nil {
		if large := new(http.MaxBytesError); errors.As(err, &large) {
			err = &controlError{http.StatusRequestEntityTooLarge, fmt.Errorf("the body is larger than %d bytes", large.Limit)}
		}
		writeControlError(w, err)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	// The time for reading the request is over; net/http would end the
	// context of a long answer with it. An error: the server has no deadlines.
	http.NewResponseController(w).SetReadDeadline(time.Time{})
	c.mux.ServeHTTP(w, r)
}

func (c *control) about(*http.Request) (any, error) {
	return map[string]any{
		"url": c.s.URL, "requests": c.patterns, "operations": Operations(), "scenario": c.s.Phase(),
	}, nil
}

func (c *control) kinds(*http.Request) (any, error) {
	type kind struct {
		Kind  Kind     `json:"kind"`
		Needs []string `json:"needs,omitempty"`
		Takes []string `json:"takes,omitempty"`
	}
	var all []kind
	for _, k := range Kinds() {
		needs, takes := k.Parameters()
		all = append(all, kind{k, needs, takes})
	}
	return map[string]any{"kinds": all}, nil
}

func (c *control) faults() any { return map[string]any{"faults": c.s.Faults()} }

func (c *control) inject(r *http.Request) (any, error) {
	faults, err := c.readFaults(r)
	if err != nil {
		return nil, err
	}
	added, err := c.s.swapFaults(nil, faults)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(added))
	for i, r := range added {
		ids[i] = r.id
	}
	return map[string]any{"ids": ids}, nil
}

func (c *control) setFaults(r *http.Request) (any, error) {
	faults, err := c.readFaults(r)
	if err == nil {
		err = c.s.SetFaults(faults...)
	}
	return c.faults(), err
}

func (c *control) clear(*http.Request) (any, error) {
	err := c.s.SetFaults()
	return c.faults(), err
}

func (c *control) clearOne(r *http.Request) (any, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || !c.s.RemoveFault(id) {
		return nil, &controlError{http.StatusNotFound, fmt.Errorf("there is no fault with the id %q", r.PathValue("id"))}
	}
	return c.faults(), nil
}

func (c *control) do(r *http.Request) (any, error) {
	name := r.PathValue("operation")
	run, ok := operations[name]
	if !ok {
		return nil, &controlError{http.StatusNotFound, unknownName("operation", name, Operations())}
	}
	ctx := r.Context()
	if text := r.URL.Query().Get("timeout"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, fmt.Errorf("timeout: %q is not a duration, such as 5s", text)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	switch err := run(c.s, ctx); {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, &controlError{http.StatusGatewayTimeout, err}
	case err != nil:
		return nil, &controlError{http.StatusConflict, err}
	}
	return map[string]any{"done": name}, nil
}

func (c *control) forget(*http.Request) (any, error) {
	c.s.journal.Reset()
	return map[string]any{"done": "forgotten"}, nil
}

func (c *control) summary(*http.Request) (any, error) {
	j := c.s.journal
	some := func(list []string) []string { return append([]string{}, list...) } // not null
	return struct {
		JournalTotals
		ExecutedTwice []string `json:"executed_twice"`
		Warnings      []string `json:"warnings"`
		Text          string   `json:"text"`
	}{j.Totals(), some(j.ExecutedTwice()), some(j.Warnings()), j.Summary()}, nil
}

func (c *control) play(r *http.Request) (any, error) {
	sc, err := c.readScenarioRequest(r)
	if err == nil {
		err = c.s.playInBackground(sc)
	}
	return c.s.Phase(), err
}

func (c *control) playInstead(r *http.Request) (any, error) {
	sc, err := c.readScenarioRequest(r)
	if err == nil {
		c.s.StopScenario()
		err = c.s.playInBackground(sc)
	}
	return c.s.Phase(), err
}

func (c *control) stop(*http.Request) (any, error) {
	c.s.StopScenario()
	return c.s.Phase(), nil
}

func (c *control) reset(*http.Request) (any, error) {
	c.s.StopScenario()
	err := c.s.SetFaults()
	c.s.journal.Reset()
	return map[string]any{"done": "reset"}, err
}

// playInBackground is Play for callers who do not wait. Close waits for it.
func (s *Server) playInBackground(sc *Scenario) error {
	ctx, cancel := context.WithCancel(context.Background())
	first, err := s.play.start(s, sc, cancel)
	if err != nil {
		cancel()
		return &controlError{http.StatusConflict, err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed { // start found the server open: run has nobody to wait for it
		cancel()
		return ErrClosed
	}
	s.wg.Go(func() {
		defer cancel()
		s.play.run(ctx, s, first)
	})
	return nil
}

// readScenarioRequest reads the scenario that a request names or carries. A
// name is an embedded scenario's, never a file's.
func (c *control) readScenarioRequest(r *http.Request) (*Scenario, error) {
	if name := r.URL.Query().Get("name"); name != "" {
		if !slices.Contains(Scenarios(), name) {
			return nil, &controlError{http.StatusNotFound, unknownName("scenario", name, Scenarios())}
		}
		return LoadScenario(name) // start asks what the server supports
	}
	text, form, err := readControlBody(r)
	if err != nil {
		return nil, err
	}
	return parseControlScenario(text, form, c.s.supports)
}

func (c *control) readFaults(r *http.Request) ([]Fault, error) {
	text, form, err := readControlBody(r)
	if err != nil {
		return nil, err
	}
	return parseControlFaults(text, form, c.s.supports)
}
