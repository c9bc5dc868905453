package idlewise

import (
	"net/http"
	"slices"
	"time"
)

// A lease is a connection on which the holder may send one request.
type lease struct {
	c       *conn
	at      time.Time     // when it was got
	reused  bool          // it carried a request before
	wasIdle bool          // it was idle, for idleAge
	idleAge time.Duration // by both clocks
	limit   idleLimit     // of its idle age
	late    bool          // its idle age may be more than is known
	took    time.Duration // by as much as this, for that long took the last request
	doubt   bool          // its socket was looked at
	until   time.Time     // when it becomes too late to write a request; zero: never

	provable bool // what becomes of the request is to be found out, should the connection fail
}

// kept reports whether the server had a reason of its own to close the
// connection before the request came: it had served one, or waited for one.
func (l *lease) kept() bool { return l.reused || l.wasIdle }

// farDeadline is how far off a deadline may be for a request not to be asked
// whether it is written in time: no machine is that busy.
const farDeadline = 5 * time.Second

// doubtful reports whether the connection's socket is to be looked at before
// it is used. A machine that is short of processor time may have read the
// last response late and noticed nothing of a FIN yet; the nearer the
// deadline, the more that matters.
func (l *lease) doubtful(pol *Policy) bool {
	if !l.kept() || l.c.h2 || l.c.tcp == nil || pol.LivenessCheckAfter < 0 {
		return false // an HTTP/2 connection may rightly have unread data
	}
	return l.late || l.idleAge >= pol.LivenessCheckAfter || l.nearDeadline()
}

// nearDeadline reports whether half the time until the deadline has passed, or
// may have.
func (l *lease) nearDeadline() bool { return l.limit.reached(2 * (l.idleAge + l.took)) }

// lookAt looks at the socket of a reserved HTTP/1 connection. If it is not
// silent, or has been for longer than the connection may be idle, it is closed
// and another must be found.
func (p *pool) lookAt(l *lease, now time.Time) bool {
	c := l.c
	l.doubt = true
	why := ClosedLiveness
	var silent bool
	var since time.Duration
	if l.nearDeadline() {
		silent, since = c.tcp.lookLonger()
	} else {
		silent = c.tcp.look()
	}
	if silent {
		// A program short of processor time reads a response late, and then
		// takes its connection for younger than the server does.
		if !l.limit.reached(since) {
			if l.limit.source != DeadlineNone {
				l.until = earlier(l.until, now.Add(l.limit.age-since))
			}
			return true
		}
		why = ClosedIdleDeadline
	}
	p.bury(c, c.round.Load(), why)
	p.mu.Lock()
	if why == ClosedLiveness {
		p.closedLocked(c, c.trustedAge(now), now)
	}
	p.unuseLocked(c)
	p.mu.Unlock()
	return false
}

// acquire gets a connection for req, and describes it in l: one that is idle or
// can be shared, one that a dial under way will bring or that becomes free
// before, or a new one. One that began before notBefore does not count.
//
// What most requests do not need is in functions of its own, here and wherever a
// request passes: goroutines begin with small stacks, and one that sends a single
// request pays for what its stack must grow (a third of a request's processor
// time, when this was one function, and call.attempts another).
func (p *pool) acquire(l *lease, req *http.Request, now, notBefore time.Time) error {
	var w *waiter
	for {
		var doomed doomedList
		pol := p.u.policy()
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return ErrClosed
		}
		c := p.checkOutLocked(l, pol, now, notBefore, &doomed)
		var unasked []*conn
		if c == nil && w != nil {
			unasked = p.queueLocked(w, &doomed)
		}
		p.mu.Unlock()
		doomed.shut()
		for _, old := range unasked {
			old.reviewShared() // it may only end its streams, and then does not count
		}

		switch {
		case c != nil:
			if c.reserve() && (!l.doubtful(pol) || p.lookAt(l, now)) {
				return nil
			}
		case w == nil:
			// Before a connection is dialed for it in vain.
			if err := p.u.t.validator.check(req); err != nil {
				return err
			}
			w = newWaiter(req.Context(), now, notBefore)
		default:
			if got, err := p.await(l, w, req); got || err != nil {
				return err
			}
			now = time.Now() // what it got had just died
		}
	}
}

// checkOutLocked takes a connection and describes it in l, if there is one.
func (p *pool) checkOutLocked(l *lease, pol *Policy, now, notBefore time.Time, doomed *doomedList) *conn {
	p.lastUse, p.closeFreed = now, false
	if p.taught != p.u.group().taught.Load() {
		p.relimitLocked(now) // another member of the group has learned
	}
	if pol.Probe.Every > 0 {
		p.wantProbeLocked(now, pol)
	}
	c := p.takeLocked(now, notBefore, pol, doomed)
	if c == nil {
		return nil
	}
	leaseLocked(l, c, now)
	if p.nIdle < pol.MinIdleConns {
		p.replenishLocked(now, pol)
	} else if c.endsSoonLocked(now) {
		p.succeedLocked(now, pol)
	}
	return c
}

// queueLocked lets w wait for a connection, and sees to it that there will be one. It
// returns the HTTP/2 connections that leave no room for one, and that w does not ask
// for a stream, since it needs a newer one.
func (p *pool) queueLocked(w *waiter, doomed *doomedList) (unasked []*conn) {
	if w.counted {
		p.waiters.pushFront(w) // what it was given had died
	} else {
		p.waiters.push(w)
		p.counts.waits++
		w.counted = true
	}
	now, coming := time.Now(), p.reliableDialsLocked()
	if coming >= p.waiters.n { // else at least one is lacking, and nothing need be counted
		coming = p.comingLocked(now)
	}
	if p.dialForLocked(w, coming, now) == othersComing {
		p.watchDialsLocked(now)
	}
	if !w.dialing && !w.notBefore.IsZero() {
		p.makeRoomLocked(now, doomed)
		p.watchDialsLocked(now) // for which none was made
		unasked = slices.Clone(p.shared)
	}
	if !w.dialing {
		p.makeWayLocked(doomed)
	}
	return unasked
}

// leaseLocked describes a connection just taken.
func leaseLocked(l *lease, c *conn, now time.Time) {
	*l = lease{c: c, at: now, reused: c.uses > 1, wasIdle: c.wasIdle}
	c.pool.attendLocked(c, now)
	if c.wasIdle {
		c.idledFor = c.trustedAge(now)
	} else if !c.h2 { // another stream's may still be to be learned from
		c.idledFor = 0
	}
	if l.wasIdle || l.reused && !c.h2 {
		// Also one that was handed on at once: the server's clock may have
		// run for as long as the last request took.
		l.idleAge, l.limit = c.idleAge(now), c.limit
		l.late, l.took = c.readLate, c.took
		if left := l.limit.age - l.idleAge; l.limit.source != DeadlineNone && left < farDeadline {
			l.until = now.Add(left)
		}
	}
}

// await waits for w's delivery, and describes it in l. It reports false and no
// error if the connection was found dead.
func (p *pool) await(l *lease, w *waiter, req *http.Request) (bool, error) {
	select {
	case d := <-w.ready:
		return p.accept(l, w, d, req)
	case <-req.Context().Done():
	case <-cancelOf(req):
	}
	err := canceled(req)
	p.mu.Lock()
	queued := w.queued
	if queued {
		p.waiters.remove(w)
	}
	for _, d := range p.dials {
		if d.owner == w {
			p.abandonLocked(d) // it may never end; nobody is to count on it
			if d.held {
				d.cancel()
			}
		}
	}
	p.dialWantedLocked()
	p.mu.Unlock()
	if !queued {
		// It was served at the same moment: what it got goes to the next.
		if d := <-w.ready; d.c != nil {
			p.release(d.c)
		}
	}
	return false, err
}

func (p *pool) accept(l *lease, w *waiter, d delivery, req *http.Request) (bool, error) {
	if d.err != nil {
		if err := canceled(req); err != nil {
			return false, err // the reason, where both came at once
		}
		return false, d.err
	}
	if !d.c.h2 && !d.c.reserve() {
		return false, p.hungUpOn(w, d.c)
	}
	now := time.Now()
	p.mu.Lock()
	leaseLocked(l, d.c, now)
	doubtful := l.doubtful(p.u.policy())
	if !doubtful {
		p.counts.waitTime.observe(now.Sub(w.since))
	}
	p.mu.Unlock()
	if !doubtful {
		return true, nil
	}
	if !p.lookAt(l, now) {
		return false, nil
	}
	p.mu.Lock()
	p.counts.waitTime.observe(now.Sub(w.since))
	p.mu.Unlock()
	return true, nil
}

// hungUpOn takes note that c, which was delivered to w, was found dead. If that is
// once too often, it returns the error that the caller gets.
func (p *pool) hungUpOn(w *waiter, c *conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.uses > 0 || c.wasIdle {
		return nil // it served before
	}
	p.hungUpLocked(c)
	return w.hungUpLocked(c)
}

// release returns a connection that was delivered and not used.
func (p *pool) release(c *conn) {
	if !c.h2 {
		p.putBack(c)
		return
	}
	p.mu.Lock()
	p.unuseLocked(c)
	p.mu.Unlock()
	p.streamEnded(c, stream{epoch: -1})
}
