package idlewise

import (
	"cmp"
	"slices"
	"time"
)

const (
	// oneInstant is how far apart ends may lie that have one cause. Servers
	// need a while to close what they have.
	oneInstant = 50 * time.Millisecond

	// atOnce is the idle age up to which a close belongs to the response. No
	// server has a timeout so short.
	atOnce = 5 * time.Millisecond
)

// markMassCloses finds the connections that were closed at one instant though
// they had been idle for different times, and reports whether there are any.
//
// A server that looks at its connections now and then also closes two at once,
// but never one much younger than others it keeps: where another connection
// lived, its age decides.
func markMassCloses(conns []ProbeConn) bool {
	byEnd := make([]*ProbeConn, 0, len(conns))
	for i := range conns {
		if conns[i].End.byServer() && !conns[i].Suspended {
			byEnd = append(byEnd, &conns[i])
		}
	}
	slices.SortFunc(byEnd, func(a, b *ProbeConn) int { return cmp.Compare(a.Ended, b.Ended) })
	found := false
	for len(byEnd) > 0 {
		n := 1
		for n < len(byEnd) && byEnd[n].Ended-byEnd[0].Ended <= oneInstant {
			n++
		}
		if isMassClose(byEnd[:n], conns) {
			found = true
			for _, c := range byEnd[:n] {
				c.MassClose = true
			}
		}
		byEnd = byEnd[n:]
	}
	return found
}

// isMassClose judges connections that ended at one instant, among all.
func isMassClose(group []*ProbeConn, all []ProbeConn) bool {
	youngest, oldest := group[0].Age, group[0].Age
	for _, c := range group {
		youngest, oldest = min(youngest, c.Age), max(oldest, c.Age)
	}
	if oldest-youngest <= oneInstant {
		return false // of one age: a timeout, or there is no telling
	}
	at := group[len(group)-1].Ended
	for i := range all {
		c := &all[i]
		lived := (c.End == ProbeEndOpen || c.End.byServer()) && c.Ended > at && c.Ended-c.Age < at
		if lived && c.Age < oldest+max(oldest/4, 2*time.Second) {
			return false // spared, though not for being another server's
		}
	}
	return true
}

// conclude fills in what follows from the connections.
func (r *ProbeReport) conclude() {
	if r.Conns == nil {
		r.Conns = []ProbeConn{} // not null in JSON
	}
	markMassCloses(r.Conns)
	var seen [len(probeEndNames)]int
	massClosed := false
	for i := range r.Conns {
		c := &r.Conns[i]
		if c.Hint > 0 && (r.Announced == 0 || c.Hint < r.Announced) {
			r.Announced = c.Hint
		}
		if c.RTT > 0 && (r.RTT == 0 || c.RTT < r.RTT) {
			r.RTT = c.RTT
		}
		if c.Suspended {
			continue
		}
		if c.End == ProbeEndOpen || c.End.byServer() {
			r.AtLeast = max(r.AtLeast, c.Age)
		}
		if c.MassClose {
			massClosed = true
			continue
		}
		seen[c.End]++
		if !c.End.byServer() {
			continue
		}
		if r.Measured == 0 || c.Age < r.Lower {
			r.Lower = c.Age
		}
		r.Upper = max(r.Upper, c.Age)
		r.Measured++
		if r.Measured == 1 || seen[c.End] > seen[r.End] {
			r.End = c.End
		}
	}
	if r.Measured == 0 {
		r.bracket()
	}
	switch {
	case r.Measured > 0 && r.Upper <= atOnce:
		r.Finding = ProbeClosesAtOnce
	case r.Measured > 0:
		r.Finding = ProbeTimeout
	case seen[ProbeEndOpen] > 0 || r.Reuse != nil && r.Reuse.Answered > 0:
		r.Finding = ProbeOutlasted
	case massClosed:
		r.Finding = ProbeMassClose
	case seen[ProbeEndAnnounced] > 0:
		r.Finding = ProbeNotKept
	case seen[ProbeEndNoAnswer]+seen[ProbeEndUnfinished] > 0:
		r.Finding = ProbeUnanswered
	case seen[ProbeEndUnreachable] > 0:
		r.Finding = ProbeUnreachable
	}
}

// bracket takes over a silent drop.
func (r *ProbeReport) bracket() {
	u := r.Reuse
	if u == nil {
		return
	}
	r.AtLeast = max(r.AtLeast, u.Answered)
	if u.Dead == 0 {
		return
	}
	r.Lower, r.Upper = u.Answered, u.Dead
	for _, y := range u.Tries {
		if !y.Answered {
			r.Measured++
			if y.Idle == u.Dead {
				r.End = y.End
			}
		}
	}
}

// SuggestedPolicy is what the measurement says of a Policy; fields that it
// says nothing of are zero. It is the zero Policy where idlewise's defaults
// are as good, as with a server that outlasted the probe.
func (r *ProbeReport) SuggestedPolicy() Policy {
	var p Policy
	switch {
	case r.Finding == ProbeClosesAtOnce, r.Finding == ProbeTimeout && r.Lower <= atOnce:
		// Nothing announces it, so that every second request would be stale.
		p.MaxRequestsPerConn = 1
	case r.Finding == ProbeTimeout:
		p.ServerKeepAlive = r.safeTimeout()
	}
	if q := r.Requests; q != nil && q.Limit > 0 && !q.Announced && p.MaxRequestsPerConn == 0 {
		p.MaxRequestsPerConn = q.Limit // an announced limit needs no setting
	}
	return p
}

// safeTimeout is the measured timeout as it should be configured: its lower
// edge. The margin is not subtracted here; the Transport does that.
//
// What was seen counts for more than what was announced, in both directions:
// Node keeps connections a second longer than it says.
//
// The least of a few samples lies above the true least, the farther the more
// they spread and the fewer they are. Three times the spread over their number
// is the rule that the learner applies inside a cluster. Below a promise that
// no sample broke, there is no need to go. Of a silent drop the
// lower edge is a time after which requests were answered, and stays. Three
// digits are what a reader wants, rounded down, but for a thousandth: timers
// are that coarse, and the margin is wider by far.
func (r *ProbeReport) safeTimeout() time.Duration {
	t := r.Lower
	if spread := r.Upper - r.Lower; r.Reuse == nil && r.Measured > 1 && spread > max(r.Lower/50, oneInstant) {
		t = max(t/2, t-3*spread/time.Duration(r.Measured), min(r.Announced, t))
	}
	t += min(t/1000, time.Millisecond)
	unit := time.Microsecond
	for unit*1000 <= t {
		unit *= 10
	}
	return max(t.Truncate(unit), time.Millisecond)
}
