package idlewise

import (
	"errors"
	"fmt"
	"maps"
	"time"
)

// A ruling is the policy in force for an upstream.
type ruling struct {
	policy  Policy // with everything filled in
	pattern string // that selected it; "" for the default
	retries bool   // the policy asks for more than attempts do by themselves
	group   *group // that the policy names, or the upstream's own
}

// Policies returns the policies in force, as they were given.
func (t *Transport) Policies() Policies {
	if t.ready() != nil {
		return Policies{}
	}
	t.policyMu.Lock()
	defer t.policyMu.Unlock()
	return t.given.clone()
}

func (p Policies) clone() Policies {
	p.Upstreams = maps.Clone(p.Upstreams)
	return p
}

// SetPolicies replaces all policies while requests are under way. All mistakes
// are reported, as by New, and then nothing changes.
//
// No request is lost. Limits apply from the next request on: idle connections
// beyond them are closed, busy ones when their requests are through. A raised
// MaxConns lets those in who wait. What was learned about servers, counted, and
// remembered about failed dials stays; a DialRate goes on from where the old one
// was, and holds for the dials that wait. What is settled when a connection is
// dialed stays with the connection.
//
// It may be called at any time and by any number of callers; the last call
// counts. It locks each upstream in turn for as long as it takes to look at its
// idle connections.
func (t *Transport) SetPolicies(p Policies) error {
	if err := t.ready(); err != nil {
		return err
	}
	table, err := t.compile(p)
	if err != nil {
		return fmt.Errorf("idlewise: %w", err)
	}
	t.policyMu.Lock()
	defer t.policyMu.Unlock()
	t.given = p.clone()
	t.policies.Store(table)
	all := t.registry.all()
	for _, u := range all {
		u.rule(table)
	}
	if t.groups.leaderless() {
		for _, u := range all { // one that was looked at before the first member left
			u.rule(table)
		}
	}
	return nil
}

// compile finds every mistake in p, also beside the Base's settings.
func (t *Transport) compile(p Policies) (*policyTable, error) {
	table, err := p.compile(t.defaults)
	if own := p.Default.MaxConns; own > 0 && t.baseMaxConns > 0 && own != t.baseMaxConns {
		differs := &PolicyError{Field: "MaxConns", path: defaultPath}
		differs.Message = fmt.Sprintf("%d differs from the Base's MaxConnsPerHost, %d; set only one of them", own, t.baseMaxConns)
		err = errors.Join(differs, err)
	}
	return table, err
}

// rule puts the policy that table has for u in force.
func (u *upstream) rule(table *policyTable) {
	r := &ruling{}
	r.policy, r.pattern = table.find(u.policyFor)
	r.retries = r.policy.retries()
	r.group = u.t.groups.of(u, &r.policy)
	switch g := r.group; {
	case g.name == "":
		g.breaker.set(u.name, r.policy.Breaker, u.t)
	case g.ruledBy(&r.policy):
		g.breaker.set(g.name, r.policy.Breaker, u.t)
	}
	if old := u.ruling.Swap(r); old != nil {
		u.pool.rulingChanged(old, r)
	}
}

// rulingChanged makes the connections keep to a policy that has just come into
// force.
func (p *pool) rulingChanged(from, to *ruling) {
	old, pol := &from.policy, &to.policy
	now := time.Now()
	var doomed doomedList
	p.mu.Lock()
	p.regroupLocked(from.group, to.group)
	if old.MaxConnAge != pol.MaxConnAge {
		for c := p.first; c != nil; c = c.newer {
			c.maxAge = jittered(pol.MaxConnAge)
		}
	}
	p.taught = to.group.taught.Load()
	for c := p.oldest; c != nil; c = c.prev {
		c.limit = p.limitLocked(c)
		p.dueLocked(c, now)
	}
	for over(p.nIdle, pol.MaxIdleConns) {
		p.removeLocked(p.oldest, ClosedPoolFull, &doomed)
	}
	if pol.Canary == Off || pol.Learning == Off || p.excessLocked(pol) > 0 {
		p.dropCanaryLocked(&doomed)
	}
	for p.oldest != nil && p.excessLocked(pol) > 0 {
		p.removeLocked(p.oldest, ClosedPoolFull, &doomed)
	}
	p.noteDeadlineLocked(now)
	to.group.lock()
	to.group.pacing.policyChangedLocked(to.group.rulesLocked(pol))
	to.group.unlock()
	p.dialWantedLocked()
	p.replenishLocked(now, pol)
	p.mu.Unlock()
	doomed.shut()
}

// excessLocked is by how many the connections exceed MaxConns since a policy that
// allowed more was replaced. Those that have left the pool are not closed for it a
// second time, though they count until their sockets are closed: over TLS that
// can take seconds.
func (p *pool) excessLocked(pol *Policy) int {
	excess := p.countedLocked() - pol.MaxConns
	if pol.MaxConns <= 0 || excess <= 0 {
		return 0
	}
	stay := p.nConns + p.dialing
	if p.canary != nil {
		stay++
	}
	for _, c := range p.shared {
		if c.draining {
			stay--
		}
	}
	return max(0, min(excess, stay-pol.MaxConns))
}
