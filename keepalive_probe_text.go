package idlewise

import (
	"fmt"
	"strings"
	"time"
)

// roundDuration leaves four digits, which is what a measurement is good for,
// and no less than a microsecond.
func roundDuration(d time.Duration) time.Duration {
	unit := time.Microsecond
	for unit*10_000 <= d && unit < time.Millisecond {
		unit *= 10
	}
	return d.Round(unit)
}

// Summary says what was found in one sentence, for people.
func (r *ProbeReport) Summary() string {
	switch r.Finding {
	case ProbeTimeout:
		if r.Reuse != nil && r.Reuse.Dead > 0 && r.Upper == r.Reuse.Dead {
			return fmt.Sprintf("idle connections are dead, though nothing shows it, after more than %s and at most %s (%v)",
				readable(r.Lower), readable(r.Upper), r.End)
		}
		s := fmt.Sprintf("idle connections end after %s, by %v", readable(r.Lower), r.End)
		if r.Upper > r.Lower {
			s = fmt.Sprintf("idle connections end after %s to %s, by %v", readable(r.Lower), readable(r.Upper), r.End)
		}
		return s
	case ProbeOutlasted:
		return fmt.Sprintf("connections are still open after %s: a timeout, if there is one, is longer", readable(r.AtLeast))
	case ProbeMassClose:
		return fmt.Sprintf("connections of different ages were closed at one instant, as by a restart: the timeout is not known, but more than %s", readable(r.AtLeast))
	case ProbeClosesAtOnce:
		return "the server closes connections behind its response, without announcing it: they cannot be reused"
	case ProbeNotKept:
		return "the server announces with each response that it closes the connection"
	case ProbeUnanswered:
		return "no complete response: " + r.detail(ProbeEndNoAnswer, ProbeEndUnfinished)
	case ProbeUnreachable:
		return "no connection could be opened: " + r.detail(ProbeEndUnreachable)
	}
	return "the probe ended before anything was known"
}

// detail returns the first connection's that ended in one of the ways.
func (r *ProbeReport) detail(ends ...ProbeEnd) string {
	for i := range r.Conns {
		for _, end := range ends {
			if c := &r.Conns[i]; c.End == end && c.Detail != "" {
				return c.Detail
			}
		}
	}
	return "no reason is known"
}

// String puts the report into a few lines for people.
func (r *ProbeReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r.URL)
	if r.Proxy != "" {
		fmt.Fprintf(&b, " via %s", r.Proxy)
	}
	fmt.Fprintf(&b, ": %s\n", r.Summary())
	if r.Cut {
		fmt.Fprintf(&b, "  cut short after %s\n", readable(r.Took))
	}
	if r.Announced > 0 {
		fmt.Fprintf(&b, "  announced: %v\n", r.Announced)
	}
	for i := range r.Conns {
		fmt.Fprintf(&b, "  %s\n", r.Conns[i].String())
	}
	if q := r.Requests; q != nil {
		fmt.Fprintf(&b, "  %s\n", q.String())
	}
	if r.Reuse != nil {
		for _, y := range r.Reuse.Tries {
			fmt.Fprintf(&b, "  used after %s: %s\n", readable(y.Idle), y.result())
		}
		if r.Reuse.Inconsistent {
			fmt.Fprint(&b, "  longer idle times were survived too: several servers, or a restart\n")
		}
	}
	return b.String()
}

func (y ProbeTry) result() string {
	if y.Answered {
		return "answered"
	}
	return "dead, " + y.End.String()
}

// String describes the connection in one line.
func (c ProbeConn) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "connection %d", c.N)
	if c.Remote != "" {
		fmt.Fprintf(&b, " to %s", c.Remote)
	}
	if c.Status != 0 {
		fmt.Fprintf(&b, ", %s %s %d", c.Proto, c.Method, c.Status)
	}
	switch {
	case c.End == ProbeEndOpen:
		fmt.Fprintf(&b, ": still open after %s", readable(c.Age))
	case c.End.byServer():
		fmt.Fprintf(&b, ": %v after %s", c.End, readable(c.Age))
	case c.End == ProbeEndAnnounced:
		fmt.Fprint(&b, ": the response announced the end")
	default:
		fmt.Fprintf(&b, ": %v", c.End)
	}
	if c.MassClose {
		fmt.Fprint(&b, ", together with others")
	}
	if c.Suspended {
		fmt.Fprint(&b, ", but the machine was suspended meanwhile")
	}
	if c.Detail != "" {
		fmt.Fprintf(&b, " (%s)", c.Detail)
	}
	return b.String()
}

// String says in a sentence what the limit is.
func (q ProbeRequests) String() string {
	switch {
	case q.Limit > 0 && q.Announced:
		return fmt.Sprintf("a connection ends after %d requests, announced", q.Limit)
	case q.Limit > 0:
		return fmt.Sprintf("a connection ends after %d requests, unannounced (%v)", q.Limit, q.End)
	case q.Detail != "":
		return fmt.Sprintf("no limit within %d requests, then given up: %s", q.Answered, q.Detail)
	}
	return fmt.Sprintf("no limit within %d requests on one connection", q.Answered)
}
