package faultserver

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// rule is an injected fault and what it has done so far.
type rule struct {
	fault   Fault
	id      int64 // counted from 1
	seen    int   // events that fitted, for Nth
	struck  int   // for Times
	removed bool

	// undo ends what the fault holds beside the rules; nil: nothing. Assigned
	// before the rule is in force.
	undo func()
}

// rules are the faults in force. Everything a request needs of them is decided
// in one go when its head is read, so that a fault removed later does not tear
// a request in two.
type rules struct {
	// armed counts the rules per stage, so that a server without faults, or
	// without faults of that stage, never takes the lock.
	armed [stageCount]atomic.Int32

	mu     sync.Mutex // guards what follows; held only for comparisons
	list   []*rule
	lastID int64
	rng    *rand.Rand
}

func newRules(seed uint64) *rules {
	return &rules{rng: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}
}

// event is the moment a fault is judged for.
type event struct {
	at        stage
	proto     protoSet
	request   *http.Request // nil if there is none
	nthOnConn int           // of this request; at idle: of the last one
	idle      time.Duration // before this request
	age       time.Duration // of the connection
	pings     int           // of the connection, with this one
	tls       bool
	host      string // that is looked up
}

// plan is what strikes one request.
type plan []Fault

// get returns the first fault of one of the kinds, in the order of injection.
func (p plan) get(kinds ...Kind) (Fault, bool) {
	for i := range p {
		for _, k := range kinds {
			if p[i].Kind == k {
				return p[i], true
			}
		}
	}
	return Fault{}, false
}

func (p plan) has(k Kind) bool {
	_, ok := p.get(k)
	return ok
}

// remove takes one rule out of force; one that is not in force yet never comes
// into it.
func (rs *rules) remove(r *rule) {
	rs.mu.Lock()
	r.removed = true
	i := slices.Index(rs.list, r)
	if i >= 0 {
		rs.list = append(rs.list[:i:i], rs.list[i+1:]...)
	}
	rs.mu.Unlock()
	if i >= 0 {
		rs.count(r.fault.Kind, -1)
	}
}

func (rs *rules) count(k Kind, by int32) {
	rs.armed[k.spec().at].Add(by)
	if k == CloseAfterAge {
		rs.armed[atIdle].Add(by)
	}
}

// judge returns the faults that strike the event, and counts them as struck.
func (rs *rules) judge(e event) plan { return rs.judgeBehind(nil, e) }

// judgeBehind is judge where the faults of p strike the event already, and are
// returned too. What p precludes is not asked, and so neither counted nor drawn.
func (rs *rules) judgeBehind(p plan, e event) plan {
	if rs.armed[e.at].Load() == 0 {
		return p
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.list {
		if r.fault.Kind.spec().at == e.at && r.fits(e) && !p.precludes(&r.fault) && rs.strikesLocked(r) {
			p = append(p, r.fault)
		}
	}
	return p
}

// waiting returns the rules that may strike a connection that is idle now, if
// it stays idle for long enough.
func (rs *rules) waiting(e event) []*rule {
	if rs.armed[atIdle].Load() == 0 {
		return nil
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var fit []*rule
	for _, r := range rs.list {
		if r.fault.Kind.judgedWhenIdle() && r.fits(e) {
			fit = append(fit, r)
		}
	}
	return fit
}

// strikesIdle decides for a rule of waiting whose time has come.
func (rs *rules) strikesIdle(r *rule) bool { return rs.strikes(r) }

// strikes decides for a rule that fits, and counts it as struck.
func (rs *rules) strikes(r *rule) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.strikesLocked(r)
}

// fits compares everything about the event but the counters.
func (r *rule) fits(e event) bool {
	f := &r.fault
	switch {
	case f.Kind.spec().protos&e.proto == 0,
		f.Kind.onlyUnderTLS() && !e.tls,
		f.NthOnConn > 0 && f.NthOnConn != e.nthOnConn,
		f.ReusedOnly && e.nthOnConn < 2,
		f.IdleAtLeast > 0 && e.at != atIdle && e.idle < f.IdleAtLeast:
		return false
	}
	if e.at == atLookup && !f.fitsHost(e.host) {
		return false
	}
	switch f.Kind {
	case CloseOnReuse:
		if e.nthOnConn < 2 {
			return false
		}
	case CloseAfterRequests:
		if e.nthOnConn < f.Requests {
			return false
		}
	case CloseAfterAge:
		if e.at == atRequest && e.age < f.After {
			return false
		}
	case TooManyPings:
		if e.pings <= f.Count {
			return false
		}
	}
	return f.fitsRequest(e.request)
}

func (rs *rules) strikesLocked(r *rule) bool {
	f := &r.fault
	if r.removed || f.Times > 0 && r.struck >= f.Times {
		return false
	}
	r.seen++
	if f.Nth > 0 && r.seen != f.Nth {
		return false
	}
	if f.Probability > 0 && f.Probability < 1 && rs.rng.Float64() >= f.Probability {
		return false
	}
	r.struck++
	return true
}

// delay draws a fault's After with its Jitter.
func (rs *rules) delay(f Fault) time.Duration { return f.After + rs.draw(f.Jitter) }

// draw returns a time in [0, span).
func (rs *rules) draw(span time.Duration) time.Duration {
	if span <= 0 {
		return 0
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return time.Duration(rs.rng.Int64N(int64(span)))
}
