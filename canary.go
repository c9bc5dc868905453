package idlewise

import (
	"time"

	"github.com/idlewise/idlewise/internal/deadline"
)

// A canary is a connection that reached its deadline and is kept aside instead
// of being closed. It carries no request any more; it is watched until the
// server closes it, or long enough to say that the deadline could be later.
// Without it a client that always leaves in time could never notice that the
// server's timeout was raised, or is longer than announced.

const (
	// Of the connections that reach a confirmed deadline, one in so many
	// becomes a canary; before, every one that can.
	canaryEvery = 10

	// An announced deadline that nothing is known about is watched for so many
	// times as long: the truth is often somewhat later.
	watchHint = 3
)

// retireLocked takes the idle connection c out because of its age, perhaps as a
// canary.
func (p *pool) retireLocked(c *conn, now time.Time, doomed *doomedList) {
	age := c.trustedAge(now)
	until := p.watchLocked(c)
	if until <= age || age == 0 || !p.mayWatchLocked(now) {
		p.survivedLocked(c, age, now)
		p.removeLocked(c, ClosedIdleDeadline, doomed)
		return
	}
	var aside doomedList // it is not closed
	p.removeLocked(c, ClosedIdleDeadline, &aside)
	p.canary, c.watchedUntil = c, c.idleSince.Add(until)
	c.watched.Store(true)
	p.wakeAtLocked(p.canaryDueLocked(now), now)
}

// watchLocked returns until which idle age c should be watched once it is
// retired; 0: it should not.
func (p *pool) watchLocked(c *conn) time.Duration {
	pol := p.u.policy()
	if pol.Canary == Off || pol.Learning == Off {
		return 0
	}
	until := time.Duration(0)
	switch c.limit.source {
	case DeadlineHint:
		until = watchHint * c.limit.server
	case DeadlineProvisional, DeadlineLearned:
		g := p.u.group()
		g.lock()
		until = g.learned.watchRetired(c)
		g.unlock()
	}
	if pol.MaxIdleTime > 0 {
		until = min(until, pol.MaxIdleTime+deadline.Tolerance(pol.MaxIdleTime))
	}
	return until
}

// watchRetired is until which age the connection c, which has reached a deadline
// that was learned, is to be watched. e may be nil, if c's limit comes from a
// group that the upstream has just left.
func (e *experience) watchRetired(c *conn) time.Duration {
	if e == nil {
		return 0
	}
	if c.limit.source == DeadlineLearned {
		if e.retired++; e.retired%canaryEvery != 0 {
			return 0
		}
	}
	return e.watch(c.peer)
}

// mayWatchLocked reports whether there is room for a canary, and takes it.
func (p *pool) mayWatchLocked(now time.Time) bool {
	t, pol := p.u.t, p.u.policy()
	if p.canary != nil || p.closed || p.closeFreed || p.waiters.n > 0 && !p.mayOpenLocked() {
		return false
	}
	if pol.MaxConns > 0 && p.lackingLocked(now, pol) > pol.MaxConns-p.countedLocked()-p.probeSlots {
		return false // MinIdleConns need the room
	}
	if t.canaries.Add(1) > t.maxCanaries {
		t.canaries.Add(-1)
		return false
	}
	return true
}

// canaryDueLocked is when the sweep is to look at the canary.
func (p *pool) canaryDueLocked(now time.Time) time.Time {
	due := p.canary.watchedUntil
	if p.canary.h2 {
		due = earlier(due, now.Add(lookEvery(p.u.policy())))
	}
	return due
}

// dropCanaryLocked gives the canary up, if there is one.
func (p *pool) dropCanaryLocked(doomed *doomedList) {
	if p.canary != nil {
		p.endCanaryLocked(CanaryGivenUp, time.Now(), doomed)
	}
}

func (p *pool) endCanaryLocked(outcome CanaryOutcome, now time.Time, doomed *doomedList) {
	c := p.canary
	p.canary = nil
	c.watched.Store(false)
	p.u.t.canaries.Add(-1)
	p.u.t.note(CanaryEnded{p.u.info(now), c.event(), outcome, c.idleAge(now)})
	doomed.add(c)
}

// makeWayLocked gives the canary up, or else the probe, where only it keeps a
// caller from dialing.
func (p *pool) makeWayLocked(doomed *doomedList) {
	switch {
	case p.mayOpenLocked():
	case p.canary != nil:
		p.dropCanaryLocked(doomed)
	default:
		p.endProbeLocked(errProbeYielded)
	}
}

// yieldCanaryLocked gives the canary up, if there is one, for a connection that is to
// be opened once its socket is closed. The channel is closed then; it is nil if there
// was no canary.
func (p *pool) yieldCanaryLocked() <-chan struct{} {
	c := p.canary
	if c == nil {
		return nil
	}
	var aside doomedList // it is closed here
	p.endCanaryLocked(CanaryGivenUp, time.Now(), &aside)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		c.shut()
	}()
	return closed
}

// lookAtCanary takes note of the end of the canary c, if it has come. It is
// called by the state hook and the sweep, without locks.
func (p *pool) lookAtCanary(c *conn) {
	ended := c.cc.Err() != nil || c.h2 && c.cc.InFlight() == 0 && c.cc.Available() == 0
	now := time.Now()
	var doomed doomedList
	p.mu.Lock()
	if p.canary == c {
		switch {
		case ended:
			p.counts.canariesClosed++
			age := c.idleAge(now)
			p.counts.idleAtServerClose.observe(age)
			p.historyLocked().addIdle(IdleClose{now, age, "canary"})
			p.closedLocked(c, c.trustedAge(now), now)
			p.endCanaryLocked(CanaryClosed, now, &doomed)
		case !now.Before(c.watchedUntil):
			p.counts.canariesOutlast++
			p.survivedLocked(c, c.trustedAge(now), now)
			p.endCanaryLocked(CanaryOutlasted, now, &doomed)
		}
	}
	p.mu.Unlock()
	doomed.shut()
}
