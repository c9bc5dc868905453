package idlewise

import (
	"cmp"
	"slices"
	"time"
)

// counts are what a pool counts; guarded by its mu.
type counts struct {
	requests        uint64 // the upstream's atomic, when a snapshot is taken
	opened          uint64
	warmed          uint64
	dialErrors      uint64
	dialWaits       uint64
	waits           uint64
	closed          [closeReasons]uint64
	evidence        [evidenceKinds]uint64
	resent          [evidenceKinds]uint64
	answered        [evidenceKinds]uint64
	lost            [evidenceKinds]uint64
	staleIdempotent uint64
	staleOther      uint64
	upgradesEnded   [endedByKinds]uint64
	probes          uint64
	probesFailed    uint64
	retries         uint64
	budgetEmpty     uint64
	circuitOpen     uint64
	canariesClosed  uint64
	canariesOutlast uint64

	idleAtReuse       idleHistogram // as requests
	idleAtStaleHit    idleHistogram
	idleAtServerClose idleHistogram
	idleAtRetirement  idleHistogram
	dialTime          tripHistogram
	waitTime          tripHistogram
}

// count changes the counts; no lock is held.
func (p *pool) count(change func(*counts)) {
	p.mu.Lock()
	change(&p.counts)
	p.mu.Unlock()
}

func (c *counts) add(o *counts) {
	c.requests += o.requests
	c.opened += o.opened
	c.warmed += o.warmed
	c.dialErrors += o.dialErrors
	c.dialWaits += o.dialWaits
	c.waits += o.waits
	for i := range c.closed {
		c.closed[i] += o.closed[i]
	}
	for i := range c.evidence {
		c.evidence[i] += o.evidence[i]
		c.resent[i] += o.resent[i]
		c.answered[i] += o.answered[i]
		c.lost[i] += o.lost[i]
	}
	c.staleIdempotent += o.staleIdempotent
	c.staleOther += o.staleOther
	for i := range c.upgradesEnded {
		c.upgradesEnded[i] += o.upgradesEnded[i]
	}
	c.probes += o.probes
	c.probesFailed += o.probesFailed
	c.retries += o.retries
	c.budgetEmpty += o.budgetEmpty
	c.circuitOpen += o.circuitOpen
	c.canariesClosed += o.canariesClosed
	c.canariesOutlast += o.canariesOutlast
	c.idleAtReuse.add(&o.idleAtReuse)
	c.idleAtStaleHit.add(&o.idleAtStaleHit)
	c.idleAtServerClose.add(&o.idleAtServerClose)
	c.idleAtRetirement.add(&o.idleAtRetirement)
	c.dialTime.add(&o.dialTime)
	c.waitTime.add(&o.waitTime)
}

// Counters count what happened since the Transport, or the upstream's record,
// was made. They only grow.
type Counters struct {
	Requests   uint64 `json:"requests"`    // attempts that got a connection, resends included
	Opened     uint64 `json:"opened"`      // connections
	Warmed     uint64 `json:"warmed"`      // of these, those opened in advance: for MinIdleConns, by Warm, or before MaxConnAge ended the last one
	DialErrors uint64 `json:"dial_errors"` // dials that failed
	DialWaits  uint64 `json:"dial_waits"`  // dials that were held back: by DialRate, or because others had failed
	Waits      uint64 `json:"waits"`       // requests that found no free connection

	// Closed counts connections that left the pool, by reason.
	Closed map[CloseReason]uint64 `json:"closed"`

	// Failed counts attempts whose connection failed, by what is known about
	// the request's delivery; Resent those of them that were sent again; and
	// ResendsAnswered those of these where that brought a response.
	Failed          map[Evidence]uint64 `json:"failed"`
	Resent          map[Evidence]uint64 `json:"resent"`
	ResendsAnswered map[Evidence]uint64 `json:"resends_answered"`

	// Lost counts requests that failed for good since their connection did, by what
	// is known about the delivery of their last attempt: those of RequestLost.
	Lost map[Evidence]uint64 `json:"lost"`

	// Retries counts the policy's retries (Policy.Retry); BudgetEmpty the retries
	// and resends that the budget did not allow; CircuitOpen the attempts that were
	// not made since the breaker was open.
	Retries     uint64 `json:"retries"`
	BudgetEmpty uint64 `json:"budget_empty"`
	CircuitOpen uint64 `json:"circuit_open"`

	// StaleIdempotent and StaleOther count requests that met a reused
	// connection which the server had closed.
	StaleIdempotent uint64 `json:"stale_idempotent"`
	StaleOther      uint64 `json:"stale_other"`

	// UpgradesEnded counts connections that a 101 response handed to the
	// program and that have ended since, by who ended them; see
	// Trace.UpgradeDone. Closed counts their handover as ClosedUpgraded.
	UpgradesEnded map[EndedBy]uint64 `json:"upgrades_ended"`
	// Probes counts background probes that have ended (Policy.Probe), and
	// ProbesFailed those of them that the server did not answer; Explain tells
	// why.
	Probes       uint64 `json:"probes"`
	ProbesFailed uint64 `json:"probes_failed"`

	// CanariesClosed counts canaries that the server closed while they were
	// watched, and CanariesOutlasted those that were watched to the end; see
	// Policy.Canary. One that was given up counts as neither.
	CanariesClosed    uint64 `json:"canaries_closed"`
	CanariesOutlasted uint64 `json:"canaries_outlasted"`

	// How long connections had been idle when a request was sent on them
	// (IdleAtReuse), and those of these requests that met a stale connection
	// (IdleAtStaleHit); when the server closed them, as canaries too, or was
	// found to have done so (IdleAtServerClose); and when idlewise closed them
	// or made them canaries (IdleAtRetirement).
	IdleAtReuse       Histogram `json:"idle_at_reuse,omitzero"`
	IdleAtStaleHit    Histogram `json:"idle_at_stale_hit,omitzero"`
	IdleAtServerClose Histogram `json:"idle_at_server_close,omitzero"`
	IdleAtRetirement  Histogram `json:"idle_at_retirement,omitzero"`

	// DialTime is how long it took to open a connection, from the name's
	// look-up to the end of the TLS handshake; pauses before, and dials that
	// failed, do not count. WaitTime is how long requests waited for a
	// connection that found none free and got one in the end.
	DialTime Histogram `json:"dial_time,omitzero"`
	WaitTime Histogram `json:"wait_time,omitzero"`
}

func (c *counts) export() Counters {
	out := Counters{
		Requests: c.requests, Opened: c.opened, Warmed: c.warmed, DialErrors: c.dialErrors, DialWaits: c.dialWaits, Waits: c.waits,
		Closed: make(map[CloseReason]uint64),
		Failed: byEvidence(&c.evidence), Resent: byEvidence(&c.resent), ResendsAnswered: byEvidence(&c.answered),
		Lost:            byEvidence(&c.lost),
		StaleIdempotent: c.staleIdempotent, StaleOther: c.staleOther, UpgradesEnded: make(map[EndedBy]uint64),
		Probes: c.probes, ProbesFailed: c.probesFailed,
		Retries: c.retries, BudgetEmpty: c.budgetEmpty, CircuitOpen: c.circuitOpen,
		CanariesClosed: c.canariesClosed, CanariesOutlasted: c.canariesOutlast,
		IdleAtReuse: c.idleAtReuse.export(), IdleAtStaleHit: c.idleAtStaleHit.export(),
		IdleAtServerClose: c.idleAtServerClose.export(), IdleAtRetirement: c.idleAtRetirement.export(),
		DialTime: c.dialTime.export(), WaitTime: c.waitTime.export(),
	}
	for i, n := range c.upgradesEnded {
		if n > 0 {
			out.UpgradesEnded[EndedBy(i)] = n
		}
	}
	for i, n := range c.closed {
		if n > 0 {
			out.Closed[CloseReason(i)] = n
		}
	}
	return out
}

func byEvidence(counts *[evidenceKinds]uint64) map[Evidence]uint64 {
	out := make(map[Evidence]uint64)
	for i, n := range counts {
		if n > 0 {
			out[Evidence(i)] = n
		}
	}
	return out
}

// Stats is a snapshot of a Transport. Each upstream's part is consistent in
// itself; the whole is not taken at one instant.
type Stats struct {
	// Total counts for all upstreams, those that were forgotten included.
	Total Counters `json:"total"`

	// Upstreams are those remembered, by name.
	Upstreams []UpstreamStats `json:"upstreams"`

	// EventsDropped is how many events were not told since too many waited;
	// see Config.OnEvent.
	EventsDropped uint64 `json:"events_dropped"`

	// Passthrough means that Config.Passthrough hands every request on, so that
	// there is nothing to count.
	Passthrough bool `json:"passthrough,omitempty"`
}

// UpstreamStats is a snapshot of one upstream.
type UpstreamStats struct {
	Name    string    `json:"name"`    // such as "https://api.example.com:443", and the proxy
	Pattern string    `json:"pattern"` // of the policy in force, "" for the default
	Since   time.Time `json:"since"`   // when the record was made; its Counters count from then on

	Open     int `json:"open"`      // connections whose socket is open or being dialed
	Dialing  int `json:"dialing"`   // of these, those being dialed
	Idle     int `json:"idle"`      // of these, those without a request
	InUse    int `json:"in_use"`    // of these, those with a request, or with streams
	Draining int `json:"draining"`  // of those that are open, HTTP/2 connections that only end their streams, and do not count against MaxConns
	Canaries int `json:"canaries"`  // of these, those kept only to see when the server closes them
	Closing  int `json:"closing"`   // of these, those that left the pool and whose socket is not closed yet
	Probing  int `json:"probing"`   // connections that a background probe may have open; they do not count in Open
	Waiting  int `json:"waiting"`   // requests that wait for a connection
	InFlight int `json:"in_flight"` // calls of RoundTrip and Warm that have not returned

	Budget  int    `json:"budget"`  // how many retries there could be at once
	Breaker string `json:"breaker"` // "closed", "half-open" or "open"; "" if there is none

	// How long the connection that was opened last may be idle, or, if there
	// is none, one that were opened now. Explain has the strictest.
	ServerKeepAlive time.Duration  `json:"server_keep_alive_ns"` // what the server allows, 0 if unknown
	Margin          time.Duration  `json:"margin_ns"`            // what is subtracted from it
	IdleLimit       time.Duration  `json:"idle_limit_ns"`        // when a connection is retired
	Source          DeadlineSource `json:"source"`               // where IdleLimit comes from

	Counters
}

// Stats returns a snapshot. It may be called at any time and by any number of
// callers; it costs the requests to an upstream one short lock.
func (t *Transport) Stats() Stats {
	if t.ready() != nil {
		return Stats{}
	}
	// The program may be told of a breaker's change, and is not to find locks held.
	breakers := make(map[*upstream]string)
	for _, u := range t.registry.all() {
		breakers[u] = u.group().breaker.text()
	}
	var total counts
	s := Stats{Passthrough: t.passthrough != nil}
	// Under the registry's lock, lest a record that is dropped meanwhile is
	// counted twice or not at all.
	t.registry.mu.RLock()
	defer t.registry.mu.RUnlock()
	total.add(&t.registry.past)
	now := time.Now()
	for _, u := range t.registry.upstreams {
		us, c := u.stats()
		us.Budget, us.Breaker = u.group().budget.remaining(now), breakers[u]
		us.Counters = c.export()
		total.add(&c)
		s.Upstreams = append(s.Upstreams, us)
	}
	slices.SortFunc(s.Upstreams, func(a, b UpstreamStats) int { return cmp.Compare(a.Name, b.Name) })
	s.Total = total.export()
	s.EventsDropped = t.news.lost()
	return s
}

// stats returns a snapshot of the upstream, without its Counters, and its
// counts.
func (u *upstream) stats() (UpstreamStats, counts) {
	p := &u.pool
	p.mu.Lock()
	us := UpstreamStats{
		Name: u.name, Pattern: u.ruling.Load().pattern, Since: u.since,
		Open: p.open, Dialing: p.dialing, Idle: p.nIdle, InUse: p.nConns - p.nIdle, Draining: p.draining,
		Probing: p.probeSlots, Waiting: p.waiters.n, InFlight: int(u.inFlight.Load()),
	}
	if p.canary != nil {
		us.Canaries = 1
	}
	l := p.inForceLocked()
	c := p.counts
	p.mu.Unlock()
	us.ServerKeepAlive, us.Margin, us.IdleLimit, us.Source = l.server, l.margin, l.age, l.source
	// A dial that fails frees its place before it ends.
	us.Closing = max(0, us.Open-us.Dialing-us.Idle-us.InUse-us.Canaries)
	u.sent.addTo(&c)
	return us, c
}

// inForceLocked is how long the connection that was opened last may be idle, or,
// if there is none, one that were opened now.
func (p *pool) inForceLocked() idleLimit {
	c := p.last
	switch {
	case c == nil:
		return p.firstLimitLocked()
	case c.idle:
		return p.limitLocked(c)
	}
	// What it was announced itself is its caller's to know, for the time being.
	return idleLimitFor(p.u.policy(), p.lastAnnouncedLocked(), c.rtt, p.knownLocked(c.peer))
}

// firstLimitLocked is how long a connection may be idle that were opened now.
func (p *pool) firstLimitLocked() idleLimit {
	return idleLimitFor(p.u.policy(), p.lastAnnouncedLocked(), 0, p.knownLocked(""))
}

// lastAnnouncedLocked is the server's last Keep-Alive timeout, if it counts.
func (p *pool) lastAnnouncedLocked() time.Duration {
	if p.u.policy().Hint == Off {
		return 0
	}
	return p.announced
}

// A ConnInfo describes a pooled connection.
type ConnInfo struct {
	ID       uint64        `json:"id"`
	Local    string        `json:"local"`
	Remote   string        `json:"remote"`
	Proto    string        `json:"proto"` // "HTTP/1" or "HTTP/2"
	Age      time.Duration `json:"age_ns"`
	Requests int           `json:"requests"`
	RTT      time.Duration `json:"rtt_ns"` // as measured when it was dialed, 0 if unknown
	Idle     bool          `json:"idle"`
	IdleAge  time.Duration `json:"idle_age_ns"`  // while idle
	RetireAt time.Duration `json:"retire_at_ns"` // the idle age at which it is retired, while idle; 0 if never
}
