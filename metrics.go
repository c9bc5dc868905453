package idlewise

import (
	"sync/atomic"
	"time"
)

// sent counts the requests that are sent to an upstream. It is beside the pool's
// counts since it is only known without the pool's lock that a connection which
// was taken can be used: what its lock guards would have to be taken back, and
// counters never go down.
type sent struct {
	onIdle   atomicHistogram // requests on connections that were idle
	onOthers atomic.Uint64   // and on new and shared ones
}

// count counts the request that is about to be sent on l.
func (s *sent) count(l *lease) {
	if l.wasIdle {
		s.onIdle.observe(l.idleAge)
	} else {
		s.onOthers.Add(1)
	}
}

func (s *sent) addTo(c *counts) {
	ages := s.onIdle.load()
	c.idleAtReuse.add(&ages)
	c.requests += s.onOthers.Load()
	for _, n := range ages.n {
		c.requests += n
	}
}

// countEndLocked counts that c leaves the pool, and why, and tells who wants to
// know.
func (p *pool) countEndLocked(c *conn, why CloseReason, now time.Time) {
	p.counts.closed[why]++
	p.historyLocked().add(why, now)
	idle, age := c.idle || c.wasIdle && why.foundIdle(), time.Duration(0)
	if idle {
		age = c.idleAge(now)
		if why.byServerWhileIdle() {
			p.counts.idleAtServerClose.observe(age)
			p.historyLocked().addIdle(IdleClose{now, age, why.String()})
		} else {
			p.counts.idleAtRetirement.observe(age)
		}
	}
	if n := p.u.t.news; n != nil {
		n.tell(ConnectionClosed{p.u.info(now), c.event(), why, elapsed(c.born, now), c.uses, idle, age})
	}
}

// historyLocked makes the history when there is something to put into it.
func (p *pool) historyLocked() *closeHistory {
	if p.closings == nil {
		p.closings = new(closeHistory)
	}
	return p.closings
}
