package idlewise

import (
	"time"

	"github.com/idlewise/idlewise/internal/deadline"
)

// What an upstream's idle connections have come to teaches how long the next
// ones may be kept. It is learned from what passes by: a connection that the
// server closed at some age, one that was alive at another. Only canaries are
// kept for the purpose.

// maxAddresses is of how many of an upstream's addresses more is remembered
// than goes into the upstream's own experience.
const maxAddresses = 16

// An experience is what was learned about an upstream, and about each of its
// addresses, since several servers may answer to one name. Its group guards it.
type experience struct {
	name      deadline.Learner
	first     string                       // the first address that was met
	addresses map[string]*deadline.Learner // nil as long as there is no other
	retired   int                          // connections that reached their deadline
}

// clone copies e, which may be nil.
func (e *experience) clone() *experience {
	if e == nil {
		return nil
	}
	c := *e
	c.addresses = nil
	for address, l := range e.addresses {
		if c.addresses == nil {
			c.addresses = make(map[string]*deadline.Learner)
		}
		own := *l
		c.addresses[address] = &own
	}
	return &c
}

// at returns what is remembered of the address, nil if it is the only one: then
// it is the name's.
func (e *experience) at(address string) *deadline.Learner {
	if e.first == "" {
		e.first = address
	}
	if e.addresses == nil && address == e.first {
		return nil
	}
	if l := e.addresses[address]; l != nil {
		return l
	}
	if len(e.addresses) >= maxAddresses {
		for old := range e.addresses {
			delete(e.addresses, old) // any; it will be met again, or never
			break
		}
	}
	if e.addresses == nil {
		e.addresses = make(map[string]*deadline.Learner)
	}
	l := new(deadline.Learner)
	e.addresses[address] = l
	return l
}

// known returns the deadline of connections to the address: its own if that is
// confirmed, else the upstream's.
func (e *experience) known(address string) (time.Duration, deadline.Confidence) {
	if l := e.addresses[address]; l != nil {
		if d, sure := l.Deadline(); sure == deadline.Confirmed {
			return d, sure
		}
	}
	return e.name.Deadline()
}

// watch is until which age a connection to the address must be watched to say
// something about its deadline.
func (e *experience) watch(address string) time.Duration {
	if l := e.addresses[address]; l != nil {
		if _, sure := l.Deadline(); sure == deadline.Confirmed {
			return l.Watch()
		}
	}
	return e.name.Watch()
}

// clockTolerance is by how much the clocks may disagree about an age that is
// learned from.
const clockTolerance = 100 * time.Millisecond

// trustedAge is how long c has been idle, by the monotonic clock; 0 if the wall
// clock says otherwise, as after a suspend: then neither can be learned from. Nor
// can a connection on which nothing was answered yet: for the first request
// servers wait by another clock than between requests, such as Go's
// ReadHeaderTimeout or nginx's client_header_timeout. pool.mu is held.
func (c *conn) trustedAge(now time.Time) time.Duration {
	if !c.served {
		return 0
	}
	mono := now.Sub(c.idleSince)
	wall := time.Duration(now.UnixNano() - c.idleSince.UnixNano()) // see elapsed
	if mono <= 0 || (mono-wall).Abs() > clockTolerance {
		return 0
	}
	return mono
}

// closedLocked learns that the server closed c when it had been idle for age.
func (p *pool) closedLocked(c *conn, age time.Duration, now time.Time) {
	if age <= 0 || p.u.policy().Learning == Off || c.silentEnd(now) != reasonNone {
		return
	}
	g := p.u.group()
	g.lock()
	if g.learned == nil {
		g.learned = new(experience)
	}
	g.learned.name.Closed(now, age)
	if own := g.learned.at(c.peer); own != nil {
		own.Closed(now, age)
	}
	g.taught.Add(1)
	g.unlock()
	p.relimitLocked(now)
}

// survivedLocked learns that c was alive when it had been idle for age.
func (p *pool) survivedLocked(c *conn, age time.Duration, now time.Time) {
	if age <= 0 {
		return
	}
	g := p.u.group()
	g.lock()
	heeded := g.learned.survived(c.peer, age)
	if heeded {
		g.taught.Add(1)
	}
	g.unlock()
	if heeded {
		p.relimitLocked(now)
	}
}

// survived learns that a connection to the address was alive at that age, and
// reports whether that says anything. e may be nil.
func (e *experience) survived(address string, age time.Duration) bool {
	if e == nil {
		return false
	}
	l := e.addresses[address]
	if !e.name.Heeds(age) && (l == nil || !l.Heeds(age)) {
		return false
	}
	e.name.Survived(age)
	if l != nil {
		l.Survived(age)
	}
	return true
}

// missedLocked learns that a request met a close on c, which had been idle for
// less than its limit: the margin may be too narrow.
func (p *pool) missedLocked(c *conn, now time.Time) {
	pol := p.u.policy()
	if pol.IdleMargin != 0 || pol.Learning == Off || c.idledFor <= 0 {
		return
	}
	if l := p.limitLocked(c); p.slack.Missed(l.server, l.margin, c.idledFor) {
		p.relimitLocked(now)
	}
}

// noteClosed is closedLocked for a connection that was taken and found closed.
func (p *pool) noteClosed(c *conn, now time.Time) {
	p.mu.Lock()
	p.closedLocked(c, c.trustedAge(now), now)
	p.mu.Unlock()
}

// limitLocked says how old c may get while idle.
func (p *pool) limitLocked(c *conn) idleLimit {
	pol := p.u.policy()
	hinted := c.hint.timeout
	if pol.Hint == Off {
		hinted = 0
	}
	return idleLimitFor(pol, hinted, c.rtt, p.knownLocked(c.peer))
}

// knownLocked returns what was learned about connections to the address.
func (p *pool) knownLocked(address string) lesson {
	r := p.u.ruling.Load()
	if r.policy.Learning == Off {
		return lesson{}
	}
	known := lesson{slack: p.slack}
	g := r.group
	g.lock()
	defer g.unlock()
	if g.learned != nil {
		known.deadline, known.sure = g.learned.known(address)
	}
	return known
}

// relimitLocked applies what was learned to the connections that are idle.
func (p *pool) relimitLocked(now time.Time) {
	p.taught = p.u.group().taught.Load()
	for c := p.oldest; c != nil; c = c.prev {
		if l := p.limitLocked(c); l != c.limit {
			c.limit = l
			p.dueLocked(c, now)
		}
	}
	p.noteDeadlineLocked(now)
}
