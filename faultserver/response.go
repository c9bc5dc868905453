package faultserver

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// wire is a protocol's way of carrying one exchange.
type wire interface {
	// writer is what the handler gets.
	writer(*response) http.ResponseWriter
	// interim sends a 1xx response.
	interim(status int, h http.Header) error
	// head sends the response's head; length is its body's or -1, end says
	// that neither body nor trailers follow.
	head(status int, h http.Header, length int64, end bool) error
	// body sends a part of the body; last says that nothing follows.
	body(p []byte, last bool) error
	// end completes the response, with trailers if there are any, and waits
	// until it has been written. Not after end or last, except that it still
	// waits.
	end(trailers http.Header) error
	flush() error
	// setReadDeadline and setWriteDeadline are as of http.ResponseController.
	setReadDeadline(time.Time) error
	setWriteDeadline(time.Time) error

	// settleBody deals with an unread request body before the head is sent.
	settleBody()
	// awaitClient returns when the client has given up.
	awaitClient()
	// withheld ends the connection or the stream in place of an answer.
	withheld(f Fault)
	// failed is called when the response could not be completed, panicked when
	// the handler did not return.
	failed(error)
	panicked()
}

// lostWire swallows a response that the client is not to see.
type lostWire struct{ wire }

func (lostWire) interim(int, http.Header) error           { return nil }
func (lostWire) head(int, http.Header, int64, bool) error { return nil }
func (lostWire) body([]byte, bool) error                  { return nil }
func (lostWire) end(http.Header) error                    { return nil }
func (lostWire) flush() error                             { return nil }

// errShortBody is a handler that wrote less than its Content-Length.
var errShortBody = errors.New("faultserver: the handler wrote less than its Content-Length")

// bufferedBody is how much of a body is held back in the hope that it ends, and
// its length can be sent.
const bufferedBody = 4096

// response is the http.ResponseWriter of both protocols. Like net/http's it is
// for one goroutine at a time.
type response struct {
	x    *exchange
	wire wire

	header   http.Header
	status   int         // 0 before WriteHeader
	snapshot http.Header // the header at WriteHeader
	declared int64       // its Content-Length or -1
	trailers []string    // its Trailer
	sentHead bool
	buf      []byte
	written  int64 // of the body, by the handler
	err      error // the first of the wire's; nothing is sent after
	hijacked bool
	hold     bool // nothing is sent before the handler has returned
}

func newResponse(x *exchange) *response {
	return &response{x: x, wire: x.paced(), header: make(http.Header), declared: -1, hold: x.plan.holds()}
}

func (w *response) Header() http.Header { return w.header }

// WriteHeader sends 1xx responses at once; the first other status is final.
func (w *response) WriteHeader(status int) {
	if w.status != 0 || w.hijacked {
		return
	}
	if status < 100 || status > 999 {
		panic("faultserver: invalid WriteHeader code " + strconv.Itoa(status))
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		if w.err == nil {
			w.err = w.wire.interim(status, w.header)
		}
		return
	}
	w.status = status
	w.snapshot = w.header.Clone()
	if cl := w.snapshot.Get("Content-Length"); cl != "" {
		n, err := strconv.ParseInt(cl, 10, 64)
		if err == nil && n >= 0 {
			w.declared = n
		}
		w.snapshot.Del("Content-Length") // the wire writes it
	}
	for _, names := range w.snapshot["Trailer"] {
		for name := range strings.SplitSeq(names, ",") {
			w.trailers = append(w.trailers, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	for name := range w.snapshot {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			delete(w.snapshot, name)
		}
	}
	w.x.c.srv.journal.status(w.x.row, status)
}

// bodyAllowed reports whether the status may have a body at all.
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

func (w *response) isHEAD() bool { return w.x.request.Method == http.MethodHead }

func (w *response) Write(p []byte) (int, error) {
	if w.hijacked {
		return 0, http.ErrHijacked
	}
	w.WriteHeader(http.StatusOK)
	if !bodyAllowed(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if w.declared >= 0 && w.written+int64(len(p)) > w.declared {
		return 0, http.ErrContentLength
	}
	if w.err != nil {
		return 0, w.err
	}
	w.written += int64(len(p))
	if (w.hold || len(w.buf)+len(p) <= bufferedBody) && !w.sentHead {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if w.isHEAD() {
		return len(p), nil
	}
	w.sendHead(-1, false)
	w.sendBody(p, false)
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// sendHead sends the head, once, and what was held back of the body.
func (w *response) sendHead(length int64, end bool) {
	if w.sentHead || w.err != nil {
		return
	}
	w.sentHead = true
	if w.declared >= 0 {
		length = w.declared
	}
	if _, typed := w.snapshot["Content-Type"]; !typed && len(w.buf) > 0 && w.snapshot.Get("Content-Encoding") == "" {
		w.snapshot.Set("Content-Type", http.DetectContentType(w.buf))
	}
	w.x.plan.swell(w.snapshot)
	w.err = w.wire.head(w.status, w.snapshot, length, end)
	if w.isHEAD() || end {
		w.buf = nil
	}
}

func (w *response) sendBody(p []byte, last bool) {
	if len(w.buf) > 0 {
		held := w.buf
		w.buf = nil
		w.sendBody(held, last && len(p) == 0)
	}
	if w.err == nil && len(p) > 0 && !w.isHEAD() {
		w.err = w.wire.body(p, last)
	}
}

// Flush sends everything written so far.
func (w *response) Flush() { w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *response) FlushError() error {
	if w.hijacked {
		return http.ErrHijacked
	}
	w.WriteHeader(http.StatusOK)
	if w.hold {
		return nil
	}
	w.sendHead(-1, false)
	w.sendBody(nil, false)
	if w.err == nil {
		w.err = w.wire.flush()
	}
	return w.err
}

// EnableFullDuplex is for http.ResponseController: reading the request and
// writing the response at the same time is always possible.
func (w *response) EnableFullDuplex() error { return nil }

// SetReadDeadline is for http.ResponseController. It is the request's alone.
func (w *response) SetReadDeadline(t time.Time) error { return w.x.wire.setReadDeadline(t) }

// SetWriteDeadline is for http.ResponseController. It is the response's alone.
func (w *response) SetWriteDeadline(t time.Time) error { return w.x.wire.setWriteDeadline(t) }

// finish completes the response after the handler has returned.
func (w *response) finish() error {
	w.WriteHeader(http.StatusOK)
	trailers := w.takeTrailers()
	empty := w.isHEAD() || !bodyAllowed(w.status) || w.written == 0
	if !w.sentHead {
		length := w.written
		if !bodyAllowed(w.status) || len(trailers) > 0 || w.isHEAD() && (w.written == 0 || len(w.buf) < int(w.written)) {
			length = -1
		}
		w.sendHead(length, empty && len(trailers) == 0)
	}
	short := w.declared >= 0 && w.written < w.declared && !w.isHEAD() && bodyAllowed(w.status)
	w.sendBody(nil, len(trailers) == 0 && !short)
	switch {
	case w.err != nil:
		return w.err
	case short:
		w.wire.flush()
		return errShortBody
	}
	return w.wire.end(trailers)
}

func (w *response) takeTrailers() http.Header {
	var t http.Header
	add := func(name string, values []string) {
		if len(values) == 0 {
			return
		}
		if t == nil {
			t = make(http.Header)
		}
		t[name] = values
	}
	for _, name := range w.trailers {
		add(name, w.header[name])
	}
	for key, values := range w.header {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok {
			add(http.CanonicalHeaderKey(name), values)
		}
	}
	return t
}
