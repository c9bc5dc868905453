package faultserver

import "sync/atomic"

// gate holds up whoever passes while it is closed.
type gate struct {
	// closed is nil while the gate is open, else a channel that is closed when
	// it opens.
	closed atomic.Pointer[chan struct{}]
}

func (g *gate) close() {
	ch := make(chan struct{})
	g.closed.CompareAndSwap(nil, &ch)
}

func (g *gate) open() {
	if ch := g.closed.Swap(nil); ch != nil {
		close(*ch)
	}
}

func (g *gate) isClosed() bool { return g.closed.Load() != nil }

// pass waits until the gate is open; it is false if done came first.
func (g *gate) pass(done <-chan struct{}) bool { return g.passBefore(done, nil) }

// passBefore is pass with two ways of coming first.
func (g *gate) passBefore(done, expired <-chan struct{}) bool {
	for {
		ch := g.closed.Load()
		if ch == nil {
			return true
		}
		select {
		case <-*ch:
		case <-done:
			return false
		case <-expired:
			return false
		}
	}
}
