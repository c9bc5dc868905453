package idlewise

import (
	"context"
	"math/rand/v2"
	"time"
)

// MinIdleConns are kept ready, while the upstream is in use, by dials in the
// background; without them only a connection's MaxConnAge is seen to in time. A
// successor is dialed so early before a connection is retired that it is there in
// time: at no instant are fewer ready, if MaxConns has room for both and the server
// lets itself be dialed.

// leadMargin is added to how long a dial takes, for a machine that is busy.
const leadMargin = 50 * time.Millisecond

// leastReplaced is how soon a connection that was never used is replaced, counted
// from its dial, and how soon after a dial that failed the next is made in
// advance. Without it a deadline, a MaxConnAge or a server that ends connections
// sooner than they can be dialed would keep dials going without a pause.
const leastReplaced = time.Second

// A readiness is what a pool keeps for it; guarded by pool.mu.
type readiness struct {
	dialTook time.Duration // lately, from when a connection was wanted
	from     time.Time     // no dial is made in advance before it
}

// dialedLocked takes note of how d ended.
func (r *readiness) dialedLocked(d *dial, failed bool, now time.Time) {
	if failed {
		r.from = later(r.from, now.Add(leastReplaced/2+rand.N(leastReplaced)))
		return
	}
	took := now.Sub(d.wanted)
	r.dialTook = max(took, r.dialTook-(r.dialTook-took)/4)
}

// lead is how long before a connection is retired its successor is dialed.
func (r *readiness) lead() time.Duration { return r.dialTook + r.dialTook/4 + leadMargin }

// successionLocked is when c's successor is to be dialed: in time before c is
// retired, but not before half of its time is over. It is zero if c may stay for
// ever.
func (p *pool) successionLocked(c *conn) time.Time {
	from, due := c.idleSince, c.due
	if !c.idle {
		if c.maxAge <= 0 {
			return time.Time{}
		}
		from, due = c.born, c.born.Add(c.maxAge)
	}
	if due.IsZero() {
		return due
	}
	at := due.Add(-min(p.readiness.lead(), due.Sub(from)/2))
	if c.isYoungLocked(at) {
		at = c.born.Add(leastReplaced)
	}
	return at
}

// isYoungLocked reports whether c was not used, and was dialed so lately that it
// is not to be replaced yet, whatever its deadline.
func (c *conn) isYoungLocked(now time.Time) bool {
	return c.uses == 0 && now.Before(c.born.Add(leastReplaced))
}

// staysLocked reports whether c need not be replaced yet.
func (p *pool) staysLocked(c *conn, now time.Time) bool {
	at := p.successionLocked(c)
	return at.IsZero() || now.Before(at)
}

// lacksLocked is how many connections must be dialed until n are ready. One
// HTTP/2 connection serves all, whether it is idle or not.
func (p *pool) lacksLocked(n int, now time.Time, pol *Policy) int {
	if p.multi {
		for _, c := range p.shared {
			spent := c.spentLocked(now, pol) != reasonNone || c.idle && c.expiredLocked(now, pol) != reasonNone
			if !spent && p.staysLocked(c, now) || c.isYoungLocked(now) {
				return 0
			}
		}
		return min(n, 1)
	}
	for c := p.newest; c != nil && n > 0; c = c.next {
		if c.expiredLocked(now, pol) == reasonNone && p.staysLocked(c, now) || c.isYoungLocked(now) {
			n--
		}
	}
	return n
}

// inUseFor is for how long after its last request an upstream is in use.
func (p *Policy) inUseFor() time.Duration {
	if p.MaxIdleTime > 0 {
		return p.MaxIdleTime
	}
	return defaultMaxIdleTime
}

// replenishLocked opens connections until MinIdleConns are ready or coming, if
// the upstream is in use.
func (p *pool) replenishLocked(now time.Time, pol *Policy) {
	t := p.u.t
	lacking := p.lackingLocked(now, pol)
	if lacking <= 0 {
		return
	}
	if now.Before(p.readiness.from) {
		p.wakeAtLocked(p.readiness.from, now)
		return
	}
	if p.u.group().breaker.isUnwell() {
		p.wakeAtLocked(now.Add(leastReplaced), now)
		return
	}
	if p.dialsFailLocked() || p.mayShareLocked() {
		// One shows whether the server is back, or serves all.
		lacking = min(lacking, 1-p.reliableDialsLocked())
	}
	if idleLimitFor(pol, 0, 0, p.knownLocked("")).reached(0) {
		return // nothing can be kept
	}
	for ; lacking > 0 && p.mayOpenLocked() && t.mayIdle(p.dialing+p.nConns-p.nIdle); lacking-- {
		p.startDialLocked(nil, context.Background()).wanters++
	}
	if lacking > 0 && !p.mayOpenLocked() {
		p.yieldCanaryLocked() // its socket's end leads here again
	}
}

// lackingLocked is how many connections must be dialed until MinIdleConns are ready
// or coming. It is 0 while the upstream is not in use.
func (p *pool) lackingLocked(now time.Time, pol *Policy) int {
	if pol.MinIdleConns <= 0 || p.closed || p.closeFreed || p.u.t.ending.Load() || elapsed(p.lastUse, now) > pol.inUseFor() {
		return 0
	}
	return max(0, p.lacksLocked(pol.MinIdleConns, now, pol)-max(0, p.reliableDialsLocked()-p.waiters.n))
}

// dialsFailLocked reports whether the last dial failed.
func (p *pool) dialsFailLocked() bool {
	g := p.u.group()
	g.lock()
	defer g.unlock()
	return g.pacing.failures > 0
}

// missLocked sees to a successor of c, which has left the pool.
func (p *pool) missLocked(c *conn, now time.Time) {
	if c.uses == 0 {
		p.readiness.from = later(p.readiness.from, c.born.Add(leastReplaced))
	}
	if p.u.policy().MinIdleConns > 0 && !p.closed {
		p.wakeAtLocked(later(now, p.readiness.from), now)
	}
}

// lastMoments is how long before its MaxConnAge a connection has a successor
// dialed if a request still comes to it, but no more than a tenth of its time.
const lastMoments = 5 * time.Second

// endsSoonLocked reports whether c is in its last moments.
func (c *conn) endsSoonLocked(now time.Time) bool {
	return c.maxAge > 0 && now.Sub(c.born) > c.maxAge-min(lastMoments, c.maxAge/10)
}

// succeedLocked dials a connection if all will soon be too old. It is asked when a
// request was given one of these, whatever the policy's MinIdleConns: an upstream
// in such use will want the next one, too, and is not to wait for it.
func (p *pool) succeedLocked(now time.Time, pol *Policy) {
	if p.reliableDialsLocked() > 0 || now.Before(p.readiness.from) || !p.mayOpenLocked() || p.u.t.ending.Load() {
		return
	}
	for c := p.last; c != nil; c = c.older {
		if !c.endsSoonLocked(now) && c.spentLocked(now, pol) == reasonNone {
			return
		}
	}
	p.startDialLocked(nil, context.Background()).wanters++
}

// mayIdle reports whether the whole Transport may have one idle connection more
// than it has and will have when so many more come. Beyond, each would cost
// another one its life.
func (t *Transport) mayIdle(more int) bool {
	return t.maxIdle <= 0 || t.idleConns.Load()+int64(more) < t.maxIdle
}
