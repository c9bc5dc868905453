package idlewise

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An ObserveReport says what an Observer has seen.
type ObserveReport struct {
	Since     time.Time          `json:"since"`
	Until     time.Time          `json:"until"`
	Total     ObservedCounters   `json:"total"`
	Upstreams []ObservedUpstream `json:"upstreams"` // the most stale hits first
}

// ObservedCounters count what was seen. A stale hit is a request that met a
// connection which had been kept for reuse and which the server had closed, so
// that no byte of a response came. The counters whose names begin with Would
// say what idlewise would have done about each of them, by default and by what
// it would have learned until then; they add up to the number of stale hits.
type ObservedCounters struct {
	Requests uint64 `json:"requests"` // calls of RoundTrip
	Attempts uint64 `json:"attempts"` // connections they got
	Reused   uint64 `json:"reused"`   // of these, connections kept for reuse

	StaleIdempotent uint64 `json:"stale_idempotent"` // stale hits, of requests that do no harm when repeated
	StaleOther      uint64 `json:"stale_other"`      // of others
	Repeated        uint64 `json:"repeated"`         // stale hits after which the RoundTripper sent the request again
	Failed          uint64 `json:"failed"`           // stale hits that the program got as an error, or as a 408

	// RepeatedHTTP2 counts requests that the RoundTripper sent again on
	// HTTP/2, as after a GOAWAY. They are not counted as stale hits.
	RepeatedHTTP2 uint64 `json:"repeated_http2"`

	WouldAvoid     uint64 `json:"would_avoid"`      // it would have closed the connection before
	WouldResend    uint64 `json:"would_resend"`     // it would have sent the request again
	WouldSeekProof uint64 `json:"would_seek_proof"` // it would have asked the kernel for a proof, and sent it again if there was one (docs/evidence.md)
	WouldFail      uint64 `json:"would_fail"`       // the error would have been the same
}

// Stale is the number of stale hits.
func (c ObservedCounters) Stale() uint64 { return c.StaleIdempotent + c.StaleOther }

func (c *ObservedCounters) add(o *ObservedCounters) {
	c.Requests += o.Requests
	c.Attempts += o.Attempts
	c.Reused += o.Reused
	c.StaleIdempotent += o.StaleIdempotent
	c.StaleOther += o.StaleOther
	c.Repeated += o.Repeated
	c.Failed += o.Failed
	c.RepeatedHTTP2 += o.RepeatedHTTP2
	c.WouldAvoid += o.WouldAvoid
	c.WouldResend += o.WouldResend
	c.WouldSeekProof += o.WouldSeekProof
	c.WouldFail += o.WouldFail
}

// An ObservedUpstream is what was seen of one upstream.
type ObservedUpstream struct {
	Name string `json:"name"` // such as "https://api.example.com:443", or "other"
	ObservedCounters

	// StaleByMethod are the stale hits by method; unusual ones count as
	// "other".
	StaleByMethod map[string]uint64 `json:"stale_by_method,omitempty"`

	// How long connections had been idle when requests got them, and when
	// they met them stale.
	IdleAtReuse    Histogram `json:"idle_at_reuse,omitzero"`
	IdleAtStaleHit Histogram `json:"idle_at_stale_hit,omitzero"`

	// ServerKeepAlive is after how long the server seems to close idle
	// connections, 0 if that is not known, and Source where that comes from;
	// IdleLimit is when idlewise would retire them.
	ServerKeepAlive time.Duration  `json:"server_keep_alive_ns"`
	IdleLimit       time.Duration  `json:"idle_limit_ns"`
	Source          DeadlineSource `json:"source"`
}

var observedMethods = [...]string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY", "POST", "PATCH", "other"}

func methodIndex(method string) int {
	if method == "" {
		return 0
	}
	if i := slices.Index(observedMethods[:len(observedMethods)-1], method); i >= 0 {
		return i
	}
	return len(observedMethods) - 1
}

// Report returns what was seen so far. It may be called at any time.
func (o *Observer) Report() ObserveReport {
	r := ObserveReport{Since: o.since, Until: time.Now()}
	o.mu.Lock()
	all := make([]*observed, 0, len(o.upstreams))
	for _, u := range o.upstreams {
		all = append(all, u)
	}
	o.mu.Unlock()
	for _, u := range all {
		ou := u.report()
		r.Total.add(&ou.ObservedCounters)
		r.Upstreams = append(r.Upstreams, ou)
	}
	slices.SortFunc(r.Upstreams, func(a, b ObservedUpstream) int {
		return cmp.Or(cmp.Compare(b.Stale(), a.Stale()), cmp.Compare(a.Name, b.Name))
	})
	return r
}

func (u *observed) report() ObservedUpstream {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.limit()
	out := ObservedUpstream{
		Name: u.name, ObservedCounters: u.counts, StaleByMethod: make(map[string]uint64),
		IdleAtReuse: u.reuse.export(), IdleAtStaleHit: u.stale.export(),
		ServerKeepAlive: l.server, IdleLimit: l.age, Source: l.source,
	}
	for i, n := range u.byMeth {
		if n > 0 {
			out.StaleByMethod[observedMethods[i]] = n
		}
	}
	return out
}

// mostReported is how many upstreams with stale hits String lists.
const mostReported = 20

// String puts the report into a few lines for people.
func (r ObserveReport) String() string {
	var b strings.Builder
	t := &r.Total
	fmt.Fprintf(&b, "In %v, by upstream (%d): %d requests, %d of %d attempts on connections that were reused.\n",
		r.Until.Sub(r.Since).Round(time.Second), len(r.Upstreams), t.Requests, t.Reused, t.Attempts)
	if t.Stale() == 0 {
		fmt.Fprint(&b, "None met a connection that the server had closed.\n")
		return b.String()
	}
	fmt.Fprintf(&b, "%d met a connection that the server had closed; the program got an error for %d of them.\n", t.Stale(), t.Failed)
	fmt.Fprintf(&b, "idlewise would have closed the connection before (%d), sent the request again (%d),\nlooked for the proof that permits it (%d), or failed as well (%d).\n",
		t.WouldAvoid, t.WouldResend, t.WouldSeekProof, t.WouldFail)
	for i := range r.Upstreams {
		u := &r.Upstreams[i]
		if u.Stale() == 0 {
			break
		}
		if i == mostReported {
			fmt.Fprint(&b, "Others had fewer.\n")
			break
		}
		fmt.Fprintf(&b, "\n%s\n  stale hits: %d in %d requests, %d errors; %s\n", u.Name, u.Stale(), u.Requests, u.Failed, byMethod(u.StaleByMethod))
		fmt.Fprintf(&b, "  idle age at stale hits: %s\n", ageText(u.IdleAtStaleHit))
		if u.ServerKeepAlive > 0 {
			fmt.Fprintf(&b, "  the server seems to close at %v (%v); idlewise would retire at %v\n",
				u.ServerKeepAlive.Round(10*time.Millisecond), u.Source, u.IdleLimit.Round(10*time.Millisecond))
		} else {
			fmt.Fprint(&b, "  no timeout is apparent: restarts, or too few stale hits to tell\n")
		}
	}
	return b.String()
}

func byMethod(n map[string]uint64) string {
	var parts []string
	for _, m := range observedMethods {
		if n[m] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", m, n[m]))
		}
	}
	return strings.Join(parts, ", ")
}

// ageText lists a histogram's buckets that are not empty.
func ageText(h Histogram) string {
	var parts []string
	for i, n := range h.Counts {
		switch {
		case n == 0:
		case i == len(h.Bounds):
			parts = append(parts, fmt.Sprintf("over %v: %d", h.Bounds[i-1], n))
		default:
			parts = append(parts, fmt.Sprintf("to %v: %d", h.Bounds[i], n))
		}
	}
	return strings.Join(parts, ", ")
}
