package idlewise

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// A phase says who is responsible for an HTTP/1 connection.
type phase uint32

const (
	// phaseBusy: a caller has it and its RoundTrip has not returned. Whatever
	// happens to the connection, that caller deals with it.
	phaseBusy phase = iota
	// phaseReturned: RoundTrip returned, the response is being read. The
	// state hook deals with it.
	phaseReturned
	// phaseIdle: the pool has it.
	phaseIdle
	// phaseGone: it left the pool.
	phaseGone
)

// A conn is one pooled connection.
type conn struct {
	// Assigned before the connection is shared, never reassigned.
	id        uint64
	pool      *pool
	cc        *http.ClientConn
	tcp       *tracked // nil if the program's own DialTLSContext made it
	raw       net.Conn // what the program's dialer, or net's, returned; nil if unknown
	local     net.Addr
	remote    net.Addr
	peer      string // remote as text
	h2        bool
	rtt       time.Duration // 0 if unknown
	lostAfter time.Duration // HTTP/2: see pinging; 0 if no PING is sent
	born      time.Time     // when its dial began

	// round counts uses in its upper bits; the lower two are the phase.
	// Written under pool.mu, except for the step from busy to returned, which
	// its caller makes; read by the hook without the lock.
	round atomic.Uint32

	// These belong to the caller while it is busy; phaseReturned hands them on.
	ctx      context.Context // of the request
	attempt  *attemptContext // nil if the request went out as it was given
	sentAt   time.Time       // when its attempt began
	headerAt time.Time       // when the response header came
	ending   CloseReason     // it must not be reused, and why
	unseen   bool            // it turned out that nothing is sent
	hint     hint            // the last Keep-Alive header

	slotFree atomic.Bool // it no longer counts as open
	watched  atomic.Bool // it is the pool's canary

	upgrade atomic.Pointer[upgrade] // assigned when a 101 handed it over

	// HTTP/1, for requests that can be canceled: the round in which one would cut the
	// connection, 0, or cutOff; and why it was cut, if it was.
	cuttable atomic.Uint32
	wasCut   atomic.Pointer[cut]

	// Guarded by pool.mu.
	prev, next   *conn // in the idle list
	older, newer *conn // in the list of all connections
	idle         bool  // it is in the idle list
	wasIdle      bool  // it was when it was last taken
	added, gone  bool  // it joined the pool; it left it
	served       bool  // the server answered on it
	handedOver   bool  // a 101 response gave its socket to the program
	endOnShut    bool  // its last attempt is to be given up once it is closed
	idleSince    time.Time
	idledFor     time.Duration // before its last request, if that can be learned from
	watchedUntil time.Time     // as a canary
	took         time.Duration // the last request, to the end of its response
	readLate     bool          // the last response was read slowly
	limit        idleLimit     // how old it may get while idle
	maxAge       time.Duration // since born; 0 if there is none
	due          time.Time     // when the sweep retires it; zero: never
	silence      silence       // of its peer, while it is in use (HTTP/1)
	uses         int           // requests
	picks        uint64        // times it was chosen, to see that it was meanwhile
	streams      int           // HTTP/2: chosen and not ended
	epoch        int           // HTTP/2: how often streams was set anew
	entering     int           // HTTP/2: chosen, and RoundTrip has not returned
	failedAt     time.Time     // when a request on it first failed, if it was not closed at once
	held         bool          // HTTP/2: it was just dialed; callers that wait come first
	answered     bool          // HTTP/2: the server answered a stream, and so its SETTINGS are known
	full         bool          // HTTP/2: a reservation was refused
	draining     bool          // HTTP/2: see pool.drainLocked
	permits      int           // HTTP/2: how many streams it was seen to permit; 0: not yet
	doomed       *conn         // in a chain of connections to close once pool.mu is free
}

// enter moves the connection to another phase and returns the one it left; busy
// begins a new round. pool.mu is held.
func (c *conn) enter(ph phase) phase {
	for {
		r := c.round.Load()
		to := r&^3 | uint32(ph)
		if ph == phaseBusy {
			to += 4
		}
		if c.round.CompareAndSwap(r, to) {
			return phase(r & 3)
		}
	}
}

// returned ends the caller's part: RoundTrip has returned and everything
// about the response is noted. It reports false if the connection was closed
// by the pool in the meantime.
func (c *conn) returned() bool {
	r := c.round.Load()
	return phase(r&3) == phaseBusy && c.round.CompareAndSwap(r, r|uint32(phaseReturned))
}

// idleAge is how long the connection has been idle at now, on the monotonic
// or the wall clock, whichever says more: the monotonic one stands still
// while a machine is suspended, the wall clock may be set back.
func (c *conn) idleAge(now time.Time) time.Duration {
	return elapsed(c.idleSince, now)
}

func elapsed(since, now time.Time) time.Duration {
	mono := now.Sub(since)
	wall := time.Duration(now.UnixNano() - since.UnixNano()) // Sub of times without a monotonic reading takes four times as long
	return max(mono, wall, 0)
}

// spentLocked says why the connection must not get another request, busy or not,
// or reasonNone.
func (c *conn) spentLocked(now time.Time, p *Policy) CloseReason {
	switch {
	case c.ending != reasonNone:
		return c.ending
	case c.vanished():
		return ClosedVanished
	case c.uses == 0:
		// Whatever the limits, what was dialed for a request serves it.
	case c.h2 && c.pool.u.t.base.http.DisableKeepAlives:
		return ClosedConnectionClose // net/http permits it one stream
	case over(elapsed(c.born, now), c.maxAge):
		return ClosedMaxAge
	case p.MaxRequestsPerConn > 0 && c.uses >= p.MaxRequestsPerConn:
		return ClosedMaxRequests
	}
	return reasonNone
}

// expiredLocked says why the idle connection must not be used, or reasonNone.
func (c *conn) expiredLocked(now time.Time, p *Policy) CloseReason {
	if c.limit.reached(c.idleAge(now)) {
		return ClosedIdleDeadline
	}
	if c.tcp != nil && !c.h2 && c.tcp.tainted.Load() {
		return ClosedUnexpectedData
	}
	if c.hint.last && p.Hint != Off {
		return ClosedMaxRequests // it was not believed when it came
	}
	if over(elapsed(c.born, now), c.maxAge) {
		return ClosedMaxAge // also if it was never used
	}
	return c.spentLocked(now, p)
}

// stateChanged is the ClientConn's state hook.
//
// Trap: it runs synchronously inside Reserve, Release, RoundTrip, Close and
// Body.Close, so it must not be reached with pool.mu held: nothing of
// ClientConn is called under that lock but HTTP/1's Err, which takes no lock
// and runs no hook.
func (c *conn) stateChanged(*http.ClientConn) {
	if c.h2 {
		c.reviewShared()
		return
	}
	c.settle(time.Time{})
}

// settle gives an HTTP/1 connection back to the pool, or takes it out, if
// there is nothing left of its request. It is called after RoundTrip returned
// and whenever the state hook fires, and may come too early or twice.
//
// Trap: net/http makes a connection available before RoundTrip returns when
// the response has no body, and afterwards otherwise. Only when both have
// happened is it free, and only then are the response's headers taken note of.
//
// now is the time, or zero: then the clock is read if it is needed.
func (c *conn) settle(now time.Time) {
	round := c.round.Load()
	switch phase(round & 3) {
	case phaseGone:
		if c.watched.Load() {
			c.pool.lookAtCanary(c)
		}
		return
	case phaseBusy:
		return
	}
	if c.cc.Err() != nil {
		c.pool.bury(c, round, reasonNone)
		return
	}
	if phase(round&3) == phaseIdle {
		return
	}
	if c.cc.Available() == 0 {
		return // the body is still being read; the hook will fire again
	}
	// Available was seen in the round that was seen to have returned: it is
	// this response that ended, if the round is still the same.
	attempt, ok := c.pool.giveBack(c, round, now)
	if !ok {
		return // another did, or it is being cut and the hook will fire again
	}
	attempt.finish()
	if c.dead() {
		c.settle(time.Time{}) // it died meanwhile, and the hook came too early to see it idle
	}
}

// dead reports whether net/http has closed the connection: before the hook tells,
// that is, and without the lock that Err takes.
func (c *conn) dead() bool {
	if c.tcp != nil {
		return c.tcp.gone.Load()
	}
	return c.cc.Err() != nil
}

// closedErr is Err of an HTTP/1 connection, also while it is being closed. No lock is
// held.
//
// Trap: net/http closes the socket before Err tells of it. Both happen under its lock,
// which Available waits for.
func (c *conn) closedErr() error {
	err := c.cc.Err()
	if err == nil && c.dead() {
		c.cc.Available()
		err = c.cc.Err()
	}
	return err
}

// deathReason says why net/http closed the connection without having been
// asked to. pool.mu is held, or the caller has the connection.
func (c *conn) deathReason(wasIdle bool) CloseReason {
	if c.ending != reasonNone {
		return c.ending
	}
	if why := c.silentEnd(time.Now()); why != reasonNone {
		return why
	}
	if !wasIdle {
		if c.wasCut.Load() != nil || c.ctx != nil && c.ctx.Err() != nil {
			return ClosedCanceled
		}
		if c.tcp != nil && c.tcp.ended() == endNone {
			return ClosedBodyUnread
		}
		return ClosedFailed
	}
	if c.tcp == nil {
		return ClosedServerFIN
	}
	// No error yet: see closedErr; a socket that was read to its end has a reason.
	if err := c.cc.Err(); (err == nil || err.Error() != errTextServerClosedIdle) && (c.tcp.tainted.Load() || c.tcp.ended() == endNone) {
		return ClosedUnexpectedData // net/http closed it, for what it had read
	}
	if c.tcp.ended() == endRST {
		return ClosedServerRST
	}
	return ClosedServerFIN
}

// shut closes a connection that has left the pool. No lock is held.
func (c *conn) shut() {
	c.cc.Close()
	if c.h2 {
		// Trap: net/http does not stop the timer for the next PING when a
		// connection ends. Nothing of the Transport is to hang on that.
		c.cc.SetStateHook(nil)
	}
	if c.tcp == nil || c.handedOver {
		c.freeSlot() // nothing else will tell when the socket is closed
	}
}

// freeSlot lets another connection be opened instead of this one. It runs
// when the socket is closed, perhaps under locks of net/http.
func (c *conn) freeSlot() {
	if c.slotFree.CompareAndSwap(false, true) {
		c.pool.slotFreed(c)
	}
}
