package faultserver

import (
	"os"
	"time"

	"golang.org/x/net/http2"
)

// The deadlines that a handler sets by http.ResponseController do what they do
// in net/http: on HTTP/1 they are the connection's, on HTTP/2 the stream's,
// which a deadline for writing resets. They end with the exchange.

func (w *http1Wire) setReadDeadline(t time.Time) error {
	w.deadlines.Store(true)
	return w.h.c.nc.SetReadDeadline(t)
}

func (w *http1Wire) setWriteDeadline(t time.Time) error {
	w.deadlines.Store(true)
	return w.h.c.nc.SetWriteDeadline(t)
}

func (w *http1Wire) clearDeadlines() {
	if w.deadlines.Swap(false) {
		w.h.c.nc.SetDeadline(time.Time{})
	}
}

// streamLimit is a deadline of a stream; its connection's lock guards it.
type streamLimit struct {
	timer *time.Timer
	sets  int // a timer of an earlier one is void
}

func (l *streamLimit) stop() {
	l.sets++
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// setLimit runs passed, with the lock held, when the time has come. A stream
// that is over for the client has no limits.
func (st *stream) setLimit(l *streamLimit, t time.Time, passed func()) error {
	st.h.mu.Lock()
	defer st.h.mu.Unlock()
	l.stop()
	nth := l.sets
	over := func() bool { return l.sets != nth || st.h.streams[st.id] != st }
	switch wait := time.Until(t); {
	case t.IsZero() || over():
	case wait <= 0:
		passed()
	default:
		l.timer = time.AfterFunc(wait, func() {
			st.h.mu.Lock()
			defer st.h.mu.Unlock()
			if !over() {
				passed()
			}
		})
	}
	return nil
}

func (st *stream) stopLimits() {
	st.h.mu.Lock()
	defer st.h.mu.Unlock()
	st.readLimit.stop()
	st.writeLimit.stop()
}

func (w *http2Wire) setReadDeadline(t time.Time) error {
	return w.st.setLimit(&w.st.readLimit, t, func() {
		w.st.tooLate = true // a later deadline does not change it, nor in net/http
		w.st.arrived.Broadcast()
	})
}

func (w *http2Wire) setWriteDeadline(t time.Time) error {
	return w.st.setLimit(&w.st.writeLimit, t, func() {
		w.st.err = os.ErrDeadlineExceeded
		w.h.resetStreamLocked(w.st.id, http2.ErrCodeInternal)
	})
}
