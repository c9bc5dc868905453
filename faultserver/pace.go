package faultserver

import (
	"net/http"
	"time"
)

// pacer lets bytes out no faster than a fault's Rate. The first portion leaves
// at once, each further one when the ones before have had their time.
type pacer struct {
	x       *exchange
	rate    int64 // bytes per second
	portion int64
	due     time.Time // of the next portion
}

func newPacer(x *exchange, f Fault) pacer {
	portion := f.Bytes
	if portion == 0 {
		portion = max(1, f.Rate/50)
	}
	return pacer{x: x, rate: f.Rate, portion: portion}
}

// portions hands p to write part by part; end marks the last.
func (p *pacer) portions(b []byte, write func(part []byte, end bool) error) error {
	for len(b) > 0 {
		if wait := time.Until(p.due); wait > 0 && !p.x.pause(wait) {
			return p.x.request.Context().Err()
		}
		n := min(p.portion, int64(len(b)))
		if err := write(b[:n], n == int64(len(b))); err != nil {
			return err
		}
		b = b[n:]
		took := time.Duration(float64(n) / float64(p.rate) * float64(time.Second))
		now := time.Now()
		if p.due.Before(now) {
			p.due = now
		}
		p.due = p.due.Add(took)
	}
	return nil
}

// paces reports whether the response takes its time, so that its beginning says
// nothing about its end.
func (p plan) paces() bool {
	_, ok := p.get(SlowHeaders, SlowBody, StallInBody)
	return ok
}

// answered enters the response as complete, unless it is none.
func (x *exchange) answered() {
	if !x.plan.garbles(x.request.Method, x.w.status) {
		x.c.srv.journal.answered(x.row, true)
	}
}

// paced is the exchange's wire, slowed down if a fault says so.
func (x *exchange) paced() wire {
	if !x.plan.paces() {
		return x.wire
	}
	w := &pacedWire{wire: x.wire, x: x}
	if f, ok := x.plan.get(SlowBody); ok {
		p := newPacer(x, f)
		w.slow = &p
	}
	if f, ok := x.plan.get(StallInBody); ok {
		w.stall, w.stalls = f, true
	}
	return w
}

// pacedWire lets the body out slowly, or stops in it.
type pacedWire struct {
	wire
	x      *exchange
	slow   *pacer // nil: no limit
	stall  Fault
	stalls bool // stall is still to come
	sent   int64
}

func (w *pacedWire) head(status int, h http.Header, length int64, end bool) error {
	if end && !w.stalls && !w.x.plan.has(SlowHeaders) {
		w.x.answered()
	}
	if err := w.wire.head(status, h, length, end && !w.stalls); err != nil {
		return err
	}
	return w.wire.flush()
}

func (w *pacedWire) body(p []byte, last bool) error {
	if w.stalls && w.sent+int64(len(p)) > w.stall.Bytes {
		before := p[:w.stall.Bytes-w.sent]
		p = p[len(before):]
		if err := w.portions(before, false); err != nil {
			return err
		}
		if err := w.stand(); err != nil {
			return err
		}
	}
	return w.portions(p, last && !w.stalls)
}

func (w *pacedWire) portions(p []byte, last bool) error {
	write := func(part []byte, end bool) error {
		if end && last {
			w.x.answered()
		}
		w.sent += int64(len(part))
		if err := w.wire.body(part, end && last); err != nil {
			return err
		}
		return w.wire.flush()
	}
	switch {
	case len(p) == 0:
		return nil
	case w.slow == nil:
		return write(p, true)
	}
	return w.slow.portions(p, write)
}

// stand stops in the middle of the response.
func (w *pacedWire) stand() error {
	w.stalls = false
	if err := w.wire.flush(); err != nil {
		return err
	}
	if w.stall.After > 0 {
		if !w.x.pause(w.x.c.srv.rules.delay(w.stall)) {
			return w.x.request.Context().Err()
		}
		return nil
	}
	w.wire.awaitClient()
	return errCut
}

func (w *pacedWire) end(trailers http.Header) error {
	// A client that knows the length has it all, and nothing is left to withhold.
	h1, ok := w.wire.(*http1Wire)
	if whole := ok && !h1.chunked; w.stalls && !whole {
		if err := w.stand(); err != nil {
			return err
		}
	}
	w.x.answered()
	return w.wire.end(trailers)
}
