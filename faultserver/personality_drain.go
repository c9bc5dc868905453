package faultserver

import (
	"cmp"
	"time"
)

// leaving is how a server ends its connections when it shuts down or reloads.
// Its zero value is how it should be done: idle connections are closed at once,
// ones without a request get a moment for it, the answer in flight says
// Connection: close, and HTTP/2 gets a GOAWAY in two steps.
type leaving struct {
	idle leavingIdle
	busy leavingBusy
	// freshClosed closes HTTP/1 connections that have not had a request at
	// once.
	freshClosed bool
	// freshFor is how long they may take for it else; 0: freshGrace.
	freshFor time.Duration
	// lateAnnounced says Connection: close in answers to requests that came
	// after the drain had begun, whatever busy says.
	lateAnnounced bool
	// hangsUp closes a connection without an answer to a request that arrives
	// when the drain has begun.
	hangsUp bool
	// oneGoAway sends a single GOAWAY that names the last stream, instead of
	// two.
	oneGoAway bool
	// gap is the time between two GOAWAYs; 0: until a PING has come back.
	gap time.Duration
	// patience is when everything that is left is closed; 0: never.
	patience time.Duration
}

// leavingIdle is what becomes of an idle HTTP/1 connection.
type leavingIdle uint8

const (
	idleClosed    leavingIdle = iota // at once, with a FIN
	idleServed                       // one more request is served
	idleReset                        // the next request is answered with a RST
	idleWhenQuiet                    // closed when the busy ones have ended
)

// leavingBusy is what becomes of an HTTP/1 connection after the answer in
// flight.
type leavingBusy uint8

const (
	busyAnnounced leavingBusy = iota // the answer says Connection: close
	busySilent                       // closed without a word
	busyKept                         // stays, until its idle timeout
)

// endsWithAnswer reports whether a draining connection's next answer is its
// last.
func (l *leaving) endsWithAnswer() bool { return l.busy != busyKept }

// drain ends a connection marked so in the server's way. busy are the
// connections that were busy when the drain began.
func (c *conn) drain(busy []*conn) {
	l := &c.srv.set.character.leaving
	if l.patience > 0 {
		c.srv.wg.Go(func() { c.closeAfter(l.patience) })
	}
	c.mu.Lock()
	h2, state := c.http2, c.state
	if state == fresh && h2 == nil && !l.freshClosed {
		c.idle.addTimer(time.AfterFunc(cmp.Or(l.freshFor, freshGrace), c.shutIfFresh))
	}
	c.mu.Unlock()
	switch {
	case h2 != nil:
		h2.leave(l)
	case state == fresh && l.freshClosed:
		c.shutIfFresh()
	case state != idle:
	case l.idle == idleClosed:
		c.closeIdle()
	case l.idle == idleWhenQuiet:
		c.srv.wg.Go(func() {
			for _, other := range busy {
				<-other.ctx.Done()
			}
			c.closeIdle()
		})
	}
}

func (c *conn) closeIdle() {
	if c.claimIdle() {
		c.shut(finBecause(Draining))
	}
}

func (c *conn) closeAfter(patience time.Duration) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-t.C:
		c.shut(finBecause(Draining))
	case <-c.ctx.Done():
	}
}

func (c *conn) shutIfFresh() {
	c.mu.Lock()
	still := c.state == fresh && c.http2 == nil
	c.mu.Unlock()
	if still {
		c.shut(finBecause(Draining))
	}
}

// turnedAway is how a draining connection ends in place of its nth request; it
// is false if the request is served.
func (c *conn) turnedAway(nth int) (ending, bool) {
	l := &c.srv.set.character.leaving
	switch {
	case !l.hangsUp && l.idle != idleReset, !c.isDraining():
		return ending{}, false
	case l.hangsUp:
		return finBecause(Draining), true
	}
	return ending{how: closeRST, by: ServerRST, reason: Draining}, nth > 1
}

// isLate reports whether a request that begins now is told that its answer is
// the connection's last.
func (c *conn) isLate() bool { return c.srv.set.character.leaving.lateAnnounced && c.isDraining() }

// leave ends an HTTP/2 connection.
func (h *http2Conn) leave(l *leaving) {
	e := lingerBecause(Draining)
	e.wait = h.c.srv.set.character.goAway
	switch {
	case l.busy == busyKept:
		// Nothing is said; the idle timeout or patience ends it.
	case l.oneGoAway:
		h.mu.Lock()
		gone := h.leaving || h.goneAway
		h.leaving = true
		h.mu.Unlock()
		if !gone {
			h.c.srv.wg.Go(func() { h.goAwayForGood(e) })
		}
	default:
		h.goAwayGracefully(e, l.gap)
	}
}
