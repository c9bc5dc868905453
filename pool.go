package idlewise

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/idlewise/idlewise/internal/deadline"
)

// A pool holds the connections to one upstream, the callers that wait for
// one, and the dials under way.
type pool struct {
	u *upstream // assigned once

	// idleFrom mirrors oldest.idleSince (Unix nanoseconds, 0 if none is idle),
	// for the transport-wide cap.
	idleFrom atomic.Int64

	// mu guards everything below and the fields of conns and waiters that
	// say so. Nothing of net/http is called while it is held but the Err of
	// an HTTP/1 ClientConn, and nothing of the program's; so it may be taken
	// under locks of net/http.
	mu     sync.Mutex
	closed bool // no connection is handed out or kept

	// dropped: so was the upstream's record, and its counts are in registry.past.
	dropped bool

	// closeFreed: CloseIdleConnections was called, and no request has come
	// since. As with net/http, what was in use then is not kept.
	closeFreed bool

	newest, oldest *conn // idle connections by idleSince
	nIdle          int
	first, last    *conn   // all connections in the pool, by age
	nConns         int     // their number
	shared         []*conn // the HTTP/2 ones among them

	open     int // sockets that are or may be open, dials included
	draining int // of these, connections that are draining
	dialing  int
	dials    []*dial
	astray   int           // of dials, those that were abandoned
	dialTook time.Duration // those that succeed; see tookLocked
	waiters  waiterQueue
	multi    bool // the last connection negotiated HTTP/2
	known    bool // whether there was a last connection

	streamLimit int // how many streams the server's connections permit; 0 if unknown

	watch    *time.Timer // over the dials that callers rely on; nil: there was none
	watching bool        // it is running

	timer   *time.Timer
	timerAt time.Time // when it fires; zero: it is not running
	lastUse time.Time
	vigil   vigil // over the requests in flight

	slack     deadline.Slack // in the automatic margin
	taught    uint64         // of the group's, what the idle connections' limits follow
	canary    *conn          // it left the pool, and its socket is open
	announced time.Duration  // by the server's last Keep-Alive header
	told      idleLimit      // by the last DeadlineChanged

	readiness readiness

	probe      *probing // nil: none was wanted yet
	probeSlots int      // connections that a background probe may have open

	serverEnded time.Time // when the server last ended a connection on which it had answered

	// The last connections that broke under a request, for isEnding.
	broke [2]breakage

	counts   counts
	closings *closeHistory // nil: there was none
}

// A breakage is the end of the connection with that id.
type breakage struct {
	id uint64
	at time.Time
}

// take returns an idle or shared connection for a request, or nil. A
// connection that began before notBefore is not eligible. What must be
// closed is added to doomed. An HTTP/1 connection it returns is the caller's.
func (p *pool) takeLocked(now, notBefore time.Time, pol *Policy, doomed *doomedList) *conn {
	for _, c := range p.shared {
		why := c.spentLocked(now, pol)
		if why == reasonNone && c.idle {
			why = c.expiredLocked(now, pol)
		}
		if why != reasonNone {
			if c.idle {
				c.ending = why
				p.expireLocked(c, why, now, doomed)
				return p.takeLocked(now, notBefore, pol, doomed) // p.shared changed
			}
			p.drainLocked(c, why)
			continue
		}
		if c.full || c.born.Before(notBefore) {
			continue
		}
		p.useLocked(c)
		return c
	}
	for c := p.newest; c != nil; {
		older := c.next
		switch {
		case c.h2 || c.born.Before(notBefore):
		default:
			why := c.expiredLocked(now, pol)
			if why == reasonNone {
				p.useLocked(c)
				return c
			}
			p.expireLocked(c, why, now, doomed)
		}
		c = older
	}
	return nil
}

// expireLocked takes out an idle connection that must not be used any more.
func (p *pool) expireLocked(c *conn, why CloseReason, now time.Time, doomed *doomedList) {
	if why == ClosedIdleDeadline {
		p.retireLocked(c, now, doomed)
		return
	}
	p.removeLocked(c, why, doomed)
}

// useLocked hands c to a caller.
func (p *pool) useLocked(c *conn) {
	c.wasIdle = c.idle || c.h2 && c.streams == 0 && c.uses > 0
	if c.idle {
		p.unidleLocked(c)
	}
	c.uses++
	c.picks++
	if c.h2 {
		c.streams++
		c.entering++
	} else {
		c.silence = silence{deaf: c.silence.deaf} // until its caller has it
		c.enter(phaseBusy)
	}
}

// unuseLocked takes back what useLocked counted: no request was sent.
func (p *pool) unuseLocked(c *conn) {
	c.uses--
	if c.h2 {
		c.entering--
	}
}

// keepLocked takes a free connection: it goes to the first caller that waits
// for it, or becomes idle, or is closed because it must not be reused.
func (p *pool) keepLocked(c *conn, now time.Time, doomed *doomedList) {
	pol := p.u.policy()
	why := c.spentLocked(now, pol)
	wanted := p.waiters.peek(c.born) != nil
	if why == reasonNone && (p.closed || p.closeFreed && !wanted) {
		why = ClosedShutdown
	}
	if why == reasonNone {
		c.limit = p.limitLocked(c)
		if !(wanted && c.uses == 0) && c.limit.reached(now.Sub(c.idleSince)) {
			why = ClosedIdleDeadline
		}
	}
	if why == reasonNone && p.excessLocked(pol) > 0 {
		why = ClosedPoolFull
	}
	if why == reasonNone && p.roomWantedLocked(c, now) {
		why = ClosedPoolFull
	}
	if why != reasonNone {
		p.removeLocked(c, why, doomed)
		return
	}
	if !c.h2 {
		if w := p.waiters.pop(c.born); w != nil {
			p.useLocked(c)
			w.deliver(c, nil)
			return
		}
	}
	if !c.h2 {
		if c.tcp != nil && c.uses == 0 {
			c.tcp.quiet() // what was held for a first request has nobody now
		}
		c.enter(phaseIdle)
	}
	p.idleLocked(c, now)
	if over(p.nIdle, pol.MaxIdleConns) {
		p.removeLocked(p.oldest, ClosedPoolFull, doomed)
	}
}

// idleLocked puts c at the new end of the idle list.
func (p *pool) idleLocked(c *conn, now time.Time) {
	c.idle = true
	c.prev, c.next = nil, p.newest
	if p.newest != nil {
		p.newest.prev = c
	} else {
		p.oldest = c
		p.idleFrom.Store(c.idleSince.UnixNano())
	}
	p.newest = c
	p.nIdle++
	p.u.t.idleConns.Add(1)

	p.dueLocked(c, now)
	p.u.t.noteQuiet()
}

// dueLocked says when c is to be retired, and sees to it.
func (p *pool) dueLocked(c *conn, now time.Time) {
	c.due = time.Time{}
	if c.limit.source != DeadlineNone {
		c.due = c.idleSince.Add(c.limit.age)
	}
	if c.maxAge > 0 {
		c.due = earlier(c.due, c.born.Add(c.maxAge))
	}
	p.scheduleLocked(c, now)
}

func (p *pool) unidleLocked(c *conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		p.newest = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		p.oldest = c.prev
		from := int64(0)
		if p.oldest != nil {
			from = p.oldest.idleSince.UnixNano()
		}
		p.idleFrom.Store(from)
	}
	c.prev, c.next, c.idle = nil, nil, false
	p.nIdle--
	p.u.t.idleConns.Add(-1)
}

// addLocked registers a connection that was just opened.
func (p *pool) addLocked(c *conn) {
	c.added = true
	c.maxAge = jittered(p.u.policy().MaxConnAge) // the policy may have been replaced during the dial
	c.older = p.last
	if p.last != nil {
		p.last.newer = c
	} else {
		p.first = c
	}
	p.last = c
	p.nConns++
	if c.h2 {
		p.shared = append(p.shared, c)
	}
	p.counts.opened++
}

// removeLocked takes c out of the pool, counts why, and adds it to the
// connections to close. Its slot is free once its socket is closed.
func (p *pool) removeLocked(c *conn, why CloseReason, doomed *doomedList) {
	if c.gone {
		return
	}
	now := time.Now()
	p.countEndLocked(c, why, now)
	if c.idle {
		if why.endsIdleness() {
			p.closedLocked(c, c.trustedAge(now), now)
		}
		p.unidleLocked(c)
	}
	c.gone = true
	c.handedOver = why == ClosedUpgraded
	// In one step with the change: its caller may be about to hand it on.
	c.endOnShut = c.enter(phaseGone) == phaseReturned && !c.h2
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		p.first = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		p.last = c.older
	}
	c.older, c.newer = nil, nil
	if p.nConns--; p.nConns == 0 {
		p.endVigilLocked(false)
	}
	for i, other := range p.shared {
		if other == c {
			p.shared = append(p.shared[:i:i], p.shared[i+1:]...)
			break
		}
	}
	if why == ClosedStaleOnUse || why == ClosedFailed && (c.tcp == nil || c.tcp.ended() != endNone) {
		p.broke[1], p.broke[0] = p.broke[0], breakage{c.id, now}
	}
	if why.byServer() && c.served {
		p.serverEnded = now
	}
	p.missLocked(c, now)
	doomed.add(c)
	p.u.t.noteQuiet()
}

// giveBack returns a connection whose response has ended, if it is still in
// the given round and its request is not being canceled, and reports whether it
// did. The attempt that it returns, if there is one, is to be let go of.
func (p *pool) giveBack(c *conn, round uint32, now time.Time) (*attemptContext, bool) {
	if now.IsZero() {
		now = time.Now()
	}
	var doomed doomedList
	var attempt *attemptContext
	p.mu.Lock()
	ok := c.round.Load() == round && phase(round&3) == phaseReturned && c.attempt.settle()
	if ok {
		attempt = c.attempt
		if c.tcp != nil {
			c.tcp.rest()
		}
		c.ctx, c.attempt = nil, nil
		c.served = c.served || !c.unseen
		if c.hint.timeout > 0 && c.hint.timeout != p.announced {
			p.announced = c.hint.timeout
			p.noteDeadlineLocked(now)
		}
		if !c.unseen || c.idleSince.IsZero() { // else the server's clock goes on
			p.slack.Held(c.limit.server, c.limit.margin, c.idledFor)
			p.survivedLocked(c, c.idledFor, now)
			c.idleSince, c.took = now, elapsed(c.sentAt, now)
			// The server's clock may have started when it had written the
			// response, which can be long before it was read here.
			if c.readLate = now != c.headerAt && p.slowlyRead(c, c.headerAt, now); c.readLate {
				c.idleSince = c.headerAt
			}
		}
		p.keepLocked(c, now, &doomed)
	}
	p.mu.Unlock()
	doomed.shut()
	p.u.t.capIdle()
	return attempt, ok
}

// slowlyRead reports whether reading the response took longer than half the
// margin that its server's deadline leaves.
func (p *pool) slowlyRead(c *conn, headerAt, now time.Time) bool {
	l := p.limitLocked(c)
	margin := l.margin
	if l.server == 0 {
		margin = unknownMargin
	}
	return elapsed(headerAt, now) > margin/2
}

// unknownMargin stands for the margin where no deadline of the server is known.
const unknownMargin = 500 * time.Millisecond

// putBack returns a connection that a caller got and did not use.
func (p *pool) putBack(c *conn) {
	var doomed doomedList
	p.mu.Lock()
	p.unuseLocked(c)
	if !c.gone {
		p.keepLocked(c, time.Now(), &doomed)
	}
	p.mu.Unlock()
	doomed.shut()
	if c.cc.Err() != nil {
		// It died while it was the caller's, so that the hook left it alone.
		c.settle(time.Time{})
	}
}

// bury removes an HTTP/1 connection that is of no use any more, if it is still
// in the given round.
func (p *pool) bury(c *conn, round uint32, why CloseReason) {
	var doomed doomedList
	p.mu.Lock()
	if c.round.Load() == round && !c.gone {
		if why == reasonNone {
			why = c.deathReason(phase(round&3) == phaseIdle)
		}
		p.removeLocked(c, why, &doomed)
	}
	p.mu.Unlock()
	doomed.shut()
}

// evictSiblings closes the idle connections that must be expected to be
// closed by the server too, after a request met hit, which it had closed at
// idle age age.
//
// Those to the same address that have idled as long are past the server's
// deadline too. If the age is far below the deadline it was no deadline but a
// restart, and every connection opened before is gone.
func (p *pool) evictSiblings(hit *conn, age time.Duration, now time.Time) {
	var doomed doomedList
	p.mu.Lock()
	l := p.limitLocked(hit)
	restart := l.server > 0 && age < l.server/2
	for c := p.oldest; c != nil; {
		newer := c.prev
		if c.peer == hit.peer && (restart || c.idleAge(now) >= age) {
			p.removeLocked(c, ClosedSibling, &doomed)
		}
		c = newer
	}
	p.mu.Unlock()
	doomed.shut()
}

// closeIdle closes every idle connection and cancels the dials that nobody
// waits for any more.
func (p *pool) closeIdle(why CloseReason) {
	var doomed doomedList
	p.mu.Lock()
	p.closeFreed = true
	for p.oldest != nil {
		p.removeLocked(p.oldest, why, &doomed)
	}
	p.dropCanaryLocked(&doomed)
	p.stopTimerLocked() // nothing is left that it was for; see endVigilLocked
	if p.nConns == 0 {
		p.endVigilLocked(true)
	}
	p.endProbeLocked(errProbeClosed)
	for _, c := range slices.Clone(p.shared) {
		if c.held && c.streams == 0 && c.uses > 0 {
			// Whoever it was dialed for is served, only the dial has not
			// come round to calling it idle.
			p.removeLocked(c, why, &doomed)
		}
	}
	spare := p.dialing - p.waiters.n
	for _, d := range p.dials {
		if spare <= 0 {
			break
		}
		if d.owner == nil || !d.owner.queued {
			p.abandonLocked(d)
			d.cancel()
			spare--
		}
	}
	shared := slices.Clone(p.shared)
	p.mu.Unlock()
	doomed.shut()
	for _, c := range shared {
		c.reviewShared() // some may be idle without anyone having been told
	}
}

// shutNow closes everything at once; callers that wait get err.
func (p *pool) shutNow(err error) {
	var doomed doomedList
	p.mu.Lock()
	p.closed = true
	for w := p.waiters.popAny(); w != nil; w = p.waiters.popAny() {
		w.deliver(nil, err)
	}
	p.dropCanaryLocked(&doomed)
	p.endProbeLocked(errProbeClosed)
	for p.first != nil {
		p.removeLocked(p.first, ClosedShutdown, &doomed)
	}
	for _, d := range p.dials {
		d.cancel()
	}
	p.stopTimerLocked()
	p.mu.Unlock()
	doomed.shut()
}

// stopTimerLocked lets go of the timer, if there is one.
func (p *pool) stopTimerLocked() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer, p.timerAt = nil, time.Time{}
	}
}

// closeOldest closes the connection idle for longest, if there is one.
func (p *pool) closeOldest() bool {
	var doomed doomedList
	p.mu.Lock()
	c := p.oldest
	if c != nil {
		p.removeLocked(c, ClosedPoolFull, &doomed)
	}
	p.mu.Unlock()
	doomed.shut()
	return c != nil
}

// busy reports whether a connection is in use, being opened or not yet closed.
func (p *pool) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nConns > p.nIdle || p.open > p.nIdle || p.probeSlots > 0
}

// A doomedList collects connections under pool.mu that are closed after it
// was released. The zero value is empty.
type doomedList struct{ head *conn }

func (d *doomedList) add(c *conn) { c.doomed, d.head = d.head, c }

// shut closes the connections. Over TLS this may take 5 s if the peer has
// vanished, since crypto/tls tries to say goodbye: that must not keep a
// request waiting.
func (d *doomedList) shut() {
	for c := d.head; c != nil; {
		next := c.doomed
		c.doomed = nil
		if c.endOnShut {
			c.attempt.giveUp()
		}
		if c.pool.u.key.scheme == "https" && c.cc.Err() == nil {
			go c.shut()
		} else {
			c.shut()
		}
		c = next
	}
	d.head = nil
}

// jittered varies d by ±10 %.
func jittered(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}

// earlier returns the earlier of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
