package idlewise

import (
	"sync"
	"sync/atomic"
)

// A group is what upstreams share whose policies name the same Group. An upstream
// without one has a record of its own, which its pool's lock guards, so that it
// pays for no other.
type group struct {
	name  string // assigned once; "": an upstream's own
	first *upstream
	size  int // members; this and first are guarded by groups.mu

	// mu guards what follows where there is a name. It may be taken with a
	// pool's lock held, not the other way round, and nothing else is locked while
	// it is held.
	mu      sync.Mutex
	policy  *Policy     // of the member that was used first; nil in an upstream's own
	learned *experience // nil: nothing yet
	pacing  dialPace    // of dials

	// These see to themselves.
	budget  budget
	breaker breaker

	// taught counts what changed learned deadlines, so that each member notices
	// what another has learned.
	taught atomic.Uint64
}

// lock and unlock are called with the lock of the upstream's pool held.
func (g *group) lock() {
	if g.name != "" {
		g.mu.Lock()
	}
}

func (g *group) unlock() {
	if g.name != "" {
		g.mu.Unlock()
	}
}

// rulesLocked is the policy that holds for what is shared, own being that of the
// upstream that asks.
func (g *group) rulesLocked(own *Policy) *Policy {
	if g.policy != nil {
		return g.policy
	}
	return own
}

// ruledBy reports whether pol is the policy that holds for what is shared.
func (g *group) ruledBy(pol *Policy) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.policy == pol
}

// group is the record that u shares, or its own. It changes only with the policy.
func (u *upstream) group() *group { return u.ruling.Load().group }

// groups are those that have members. Its lock may be taken with a pool's or the
// registry's held.
type groups struct {
	mu    sync.Mutex
	named map[string]*group
}

// of returns the group that u is in by its policy pol, and makes u a member if it
// is in the registry. Others only look.
func (gs *groups) of(u *upstream, pol *Policy) *group {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if !u.registered {
		if g := gs.named[pol.Group]; g != nil {
			return g
		}
		return &u.own
	}
	if u.memberOf != nil && u.memberOf.name != pol.Group {
		gs.leaveLocked(u)
	}
	if pol.Group == "" {
		return &u.own
	}
	g := u.memberOf
	if g == nil {
		if g = gs.named[pol.Group]; g == nil {
			g = &group{name: pol.Group}
			if gs.named == nil {
				gs.named = make(map[string]*group)
			}
			gs.named[pol.Group] = g
		}
		u.memberOf = g
		g.size++
	}
	if g.first == nil || g.first == u {
		g.first = u
		g.mu.Lock()
		g.policy = pol
		g.mu.Unlock()
	}
	return g
}

// leave is called when u's record is dropped.
func (gs *groups) leave(u *upstream) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	u.registered = false
	gs.leaveLocked(u)
}

func (gs *groups) leaveLocked(u *upstream) {
	g := u.memberOf
	if g == nil {
		return
	}
	u.memberOf = nil
	if g.first == u {
		g.first = nil // the next whose policy is put in force takes its place
	}
	if g.size--; g.size == 0 {
		delete(gs.named, g.name)
	}
}

// leaderless reports whether there is a group whose first member has left it, and
// whose policy is still that one's.
func (gs *groups) leaderless() bool {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for _, g := range gs.named {
		if g.first == nil {
			return true
		}
	}
	return false
}

// regroupLocked is called when the upstream has come from one group to another.
// What it knew is what a group without knowledge begins with, and what the group
// knew goes with who leaves it.
func (p *pool) regroupLocked(from, to *group) {
	if from == to {
		return
	}
	for _, d := range p.dials {
		if d.turn != nil {
			d.turn.askAnew()
		}
	}
	from.lock()
	known := from.learned.clone()
	from.unlock()
	if known == nil {
		return
	}
	to.lock()
	if to.learned == nil || to.name == "" {
		to.learned = known
		to.taught.Add(1)
	}
	to.unlock()
}
