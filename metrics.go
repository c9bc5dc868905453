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
	requests    atomic.Uint64
	idleAtReuse atomicHistogram
}

// count counts the request that is about to be sent on l.
func (s *sent) count(l *lease) {
	s.requests.Add(1)
	if l.wasIdle {
		s.idleAtReuse.observe(l.idleAge)
	}
}

func (s *sent) addTo(c *counts) {
	c.requests += s.requests.Load()
	ages := s.idleAtReuse.load()
	c.idleAtReuse.add(&ages)
}

// countEndLocked counts that c leaves the pool, and why.
func (p *pool) countEndLocked(c *conn, why CloseReason, now time.Time) {
	p.counts.closed[why]++
	if !c.idle && !(c.wasIdle && why.foundIdle()) {
		return
	}
	if why.byServerWhileIdle() {
		p.counts.idleAtServerClose.observe(c.idleAge(now))
	} else {
		p.counts.idleAtRetirement.observe(c.idleAge(now))
	}
}
