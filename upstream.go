package idlewise

import (
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// An upstreamKey identifies an upstream. Through an HTTP proxy without
// CONNECT the peer is the proxy, whatever the target, and addr is empty.
//
// onlyHTTP1 is for requests that HTTP/2 cannot carry, of upstreams that may
// speak it.
type upstreamKey struct {
	scheme, addr, proxy string
	onlyHTTP1           bool
}

// An upstream is the record of a server: its policy, its pool, its counts.
type upstream struct {
	// Assigned once.
	t         *Transport
	key       upstreamKey
	name      string   // for people: scheme://host:port, and the proxy
	addr      string   // what a connection is asked for
	host      string   // as the first request named it, for the probe
	dialTo    string   // where it is dialed to: addr, or the proxy's
	proxy     *url.URL // or nil
	policyFor hostPort // whose policy it has

	ruling atomic.Pointer[ruling] // replaced by SetPolicies

	pool pool

	// inFlight counts RoundTrips that have not returned.
	inFlight atomic.Int64

	sent sent

	since time.Time // when it joined the registry; assigned once

	spellings int // in the registry; guarded by its lock

	own        group  // where the policy names none
	registered bool   // this and memberOf are guarded by t.groups.mu
	memberOf   *group // by the policy's name
}

// policy is the one in force. It is not changed but replaced.
func (u *upstream) policy() *Policy { return &u.ruling.Load().policy }

// A spelling is how a request names its upstream.
type spelling struct {
	scheme, host, proxy string
	onlyHTTP1           bool
}

// A spelt upstream is one with one of its spellings.
type spelt struct {
	spelling
	up *upstream
}

// spelledLocked returns the upstream that s is known to mean, or nil. r.mu is held,
// for reading at least.
func (r *registry) spelledLocked(s spelling) *upstream {
	if l := r.latest.Load(); l != nil && l.spelling == s {
		return l.up // no hash is needed
	}
	known := r.spelled[s]
	if known == nil {
		return nil
	}
	r.latest.Store(known)
	return known.up
}

// A registry holds the upstreams' records.
type registry struct {
	mu        sync.RWMutex
	spelled   map[spelling]*spelt
	latest    atomic.Pointer[spelt] // of spelled; most programs ask for the same again
	upstreams map[upstreamKey]*upstream
	past      counts // of records that were dropped

	// crowded is how many records there must be before unused ones are looked
	// for again: beyond the limit where nearly all were in use the last time.
	// Else every new upstream would ask all the others in vain.
	crowded int
}

// maxSpellings bounds how many spellings of one upstream are remembered; a
// host's letters can be in upper or lower case in very many ways.
const maxSpellings = 8

// upstreamFor finds or makes the record for u through proxy. Its inFlight is
// already counted up, so that the record is not dropped before the request is
// through.
func (t *Transport) upstreamFor(u, proxy *url.URL, onlyHTTP1 bool) *upstream {
	s := spelling{scheme: u.Scheme, host: u.Host, onlyHTTP1: onlyHTTP1}
	if proxy != nil {
		s.proxy = proxy.String()
	}
	r := &t.registry
	r.mu.RLock()
	up := r.spelledLocked(s)
	if up != nil {
		up.inFlight.Add(1)
	}
	r.mu.RUnlock()
	if up != nil {
		return up
	}

	made := t.newUpstream(u, proxy, s.proxy, onlyHTTP1)
	r.mu.Lock()
	defer r.mu.Unlock()
	up = r.upstreams[made.key]
	if up == nil {
		if len(r.upstreams) >= max(t.maxUpstreams, r.crowded) {
			r.dropUnusedLocked(t.maxUpstreams)
		}
		up = made
		t.groups.mu.Lock()
		up.registered = true
		t.groups.mu.Unlock()
		up.since = time.Now()
		up.rule(t.policies.Load()) // SetPolicies may have come in between
		r.upstreams[up.key] = up
	}
	if up.spellings < maxSpellings && r.spelled[s] == nil {
		r.spelled[s] = &spelt{s, up}
		up.spellings++
	}
	up.inFlight.Add(1)
	return up
}

func (t *Transport) newUpstream(u, proxy *url.URL, proxyText string, onlyHTTP1 bool) *upstream {
	target := hostOf(u)
	up := &upstream{
		t:     t,
		key:   upstreamKey{target.scheme, target.addr(), proxyText, onlyHTTP1},
		addr:  addrOf(u),
		host:  u.Host,
		proxy: proxy,
	}
	up.dialTo = up.addr
	up.name = target.scheme + "://" + target.addr()
	up.policyFor = target
	if proxy != nil {
		peer := hostOf(proxy)
		up.dialTo = addrOf(proxy)
		if target.scheme == "http" && (peer.scheme == "http" || peer.scheme == "https") {
			up.key.addr = ""
			up.policyFor = peer
			up.name = "http://* via " + peer.scheme + "://" + peer.addr()
		} else {
			up.name += " via " + peer.scheme + "://" + peer.addr()
		}
	}
	if onlyHTTP1 {
		up.name += " (HTTP/1 only)"
	}
	up.pool.u = up
	up.rule(t.policies.Load())
	up.own.learned = t.learnedBefore(up)
	up.pool.told = up.pool.firstLimitLocked() // nobody else has it yet
	return up
}

// dropUnusedLocked drops records without connections and requests, those
// unused for longest first, until a sixteenth of the room is free. If all are
// in use, more are kept than the limit says: requests must be served. Then it
// is time to look again when there are a sixteenth more.
func (r *registry) dropUnusedLocked(limit int) {
	type candidate struct {
		up   *upstream
		used time.Time
	}
	sixteenth := max(1, limit/16)
	target := limit - sixteenth
	var unused []candidate
	for _, up := range r.upstreams {
		if used, ok := up.unused(); ok {
			unused = append(unused, candidate{up, used})
		}
	}
	// A selection of the oldest few would do; this runs once per sixteenth
	// of the limit.
	slices.SortFunc(unused, func(a, b candidate) int { return a.used.Compare(b.used) })
	for _, c := range unused {
		if len(r.upstreams) <= target {
			break
		}
		if c.up.retire(&r.past) {
			delete(r.upstreams, c.up.key)
		}
	}
	for s, known := range r.spelled {
		if r.upstreams[known.up.key] != known.up {
			delete(r.spelled, s)
		}
	}
	r.latest.Store(nil)
	r.crowded = 0
	if left := len(r.upstreams); left > target {
		r.crowded = left + sixteenth
	}
}

// unused reports when the record was last used, if nothing holds it now.
func (u *upstream) unused() (time.Time, bool) {
	p := &u.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastUse, u.inFlight.Load() == 0 && p.open == 0 && p.nConns == 0 && p.probeSlots == 0
}

// retire marks the record as dropped, if it is still unused, and adds its
// counts to past.
func (u *upstream) retire(past *counts) bool {
	p := &u.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if u.inFlight.Load() != 0 || p.open != 0 || p.nConns != 0 || p.probeSlots != 0 {
		return false
	}
	// Nothing can come to it any more but the ends of connections that the
	// program was handed. A timer would hold the record until it fires.
	p.closed, p.dropped = true, true
	p.stopTimerLocked()
	p.endVigilLocked(true)
	past.add(&p.counts)
	u.t.groups.leave(u)
	u.sent.addTo(past)
	return true
}

// all returns the records there are.
func (r *registry) all() []*upstream {
	r.mu.RLock()
	defer r.mu.RUnlock()
	ups := make([]*upstream, 0, len(r.upstreams))
	for _, up := range r.upstreams {
		ups = append(ups, up)
	}
	return ups
}
