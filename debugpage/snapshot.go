package debugpage

import (
	"time"

	"github.com/idlewise/idlewise"
)

// A Snapshot is what the page shows. Durations are in nanoseconds in its JSON.
type Snapshot struct {
	At            time.Time  `json:"at"`
	Total         Counts     `json:"total"`     // of all upstreams, those that were forgotten included
	Upstreams     []Upstream `json:"upstreams"` // by name
	Recent        []Recent   `json:"recent"`    // the latest first
	EventsDropped uint64     `json:"events_dropped,omitempty"`
	Passthrough   bool       `json:"passthrough,omitempty"` // Config.Passthrough: there is nothing to show
}

// Counts count since the Transport, or the upstream's record, was made.
type Counts struct {
	Requests uint64 `json:"requests"` // attempts that got a connection
	Opened   uint64 `json:"opened"`   // connections
	Stale    uint64 `json:"stale"`    // requests that met a connection which the server had closed
	Failed   uint64 `json:"failed"`   // attempts whose connection failed
	Resent   uint64 `json:"resent"`   // of these, those sent again
	Lost     uint64 `json:"lost"`     // requests that failed for good since their connection did
	Answered uint64 `json:"answered"` // of these, those that brought a response
	Retries  uint64 `json:"retries"`  // by the policy's Retry

	DialErrors  uint64 `json:"dial_errors"`
	BudgetEmpty uint64 `json:"budget_empty"` // retries and resends that the budget did not allow
	CircuitOpen uint64 `json:"circuit_open"` // attempts that the breaker did not allow
}

// An Upstream is what the page's table has.
type Upstream struct {
	Name    string    `json:"name"`
	Pattern string    `json:"pattern"` // of the policy in force, "" for the default
	Group   string    `json:"group,omitempty"`
	Since   time.Time `json:"since"`

	Open     int `json:"open"`
	Dialing  int `json:"dialing"`
	Idle     int `json:"idle"`
	InUse    int `json:"in_use"`
	Draining int `json:"draining,omitempty"` // see idlewise.UpstreamStats
	Canaries int `json:"canaries"`
	Waiting  int `json:"waiting"`
	MaxConns int `json:"max_conns,omitempty"` // 0: no limit

	ServerKeepAlive time.Duration           `json:"server_keep_alive_ns"`
	Margin          time.Duration           `json:"margin_ns"`
	IdleLimit       time.Duration           `json:"idle_limit_ns"`
	Source          idlewise.DeadlineSource `json:"source"`
	Confidence      string                  `json:"confidence"` // of what was learned: "confirmed", "provisional" or "none"
	Closes          int                     `json:"closes"`     // that it was learned from

	Budget  int    `json:"budget"`
	Breaker string `json:"breaker,omitempty"`

	Counts

	ClosedLastHour map[idlewise.CloseReason]uint64 `json:"closed_last_hour"`
	Advice         []Advice                        `json:"advice,omitempty"`

	Detail *Detail `json:"detail,omitempty"`
}

// A Detail is what the page shows of an upstream that is opened.
type Detail struct {
	Conns   []idlewise.ConnInfo             `json:"conns"` // the oldest first
	Learned *idlewise.UpstreamKnowledge     `json:"learned,omitempty"`
	Ages    Ages                            `json:"ages"`
	Failed  map[idlewise.Evidence]uint64    `json:"failed"`
	Resent  map[idlewise.Evidence]uint64    `json:"resent"`
	Closed  map[idlewise.CloseReason]uint64 `json:"closed"`
	Probe   string                          `json:"probe,omitempty"`

	// MaxConnAge is the policy's, 0 if there is none.
	MaxConnAge time.Duration `json:"max_conn_age_ns"`
	// Policy is the one in force as policyfile's YAML, and PolicySet the part
	// of it that differs from idlewise's defaults.
	Policy    string `json:"policy"`
	PolicySet string `json:"policy_set"`
}

// Ages say how long connections had been idle: counts by Bounds, as in
// idlewise.Histogram, nil if there were none.
type Ages struct {
	Bounds  []time.Duration      `json:"bounds_ns"`
	Reused  []uint64             `json:"reused,omitempty"`  // when a request was sent
	Retired []uint64             `json:"retired,omitempty"` // when idlewise closed them
	Stale   []uint64             `json:"stale,omitempty"`   // when a request met a closed one
	Closed  []uint64             `json:"closed,omitempty"`  // when the server closed them
	Closes  []idlewise.IdleClose `json:"closes,omitempty"`  // the last ones, exactly
}

// Take makes a snapshot of t, with every upstream's details.
func Take(t *idlewise.Transport) Snapshot {
	return take(t, func(string) bool { return true })
}

// take makes a snapshot with the details that are wanted. Stats and explanations
// are not of one instant; an upstream that only one of them has is left out.
func take(t *idlewise.Transport, wanted func(name string) bool) Snapshot {
	stats := t.Stats()
	explained := make(map[string]*idlewise.Explanation)
	all := t.ExplainAll()
	for i := range all {
		explained[all[i].Upstream] = &all[i]
	}
	s := Snapshot{
		At: time.Now().Round(0), Total: countsOf(&stats.Total), Upstreams: make([]Upstream, 0, len(stats.Upstreams)),
		Recent: recentOf(t.RecentEvents()), EventsDropped: stats.EventsDropped, Passthrough: stats.Passthrough,
	}
	defaults := newDefaults()
	for i := range stats.Upstreams {
		us := &stats.Upstreams[i]
		e := explained[us.Name]
		if e == nil {
			continue
		}
		u := upstreamOf(us, e)
		if wanted(us.Name) {
			u.Detail = detailOf(us, e, defaults)
		}
		s.Upstreams = append(s.Upstreams, u)
	}
	return s
}

func upstreamOf(us *idlewise.UpstreamStats, e *idlewise.Explanation) Upstream {
	u := Upstream{
		Name: us.Name, Pattern: us.Pattern, Group: e.Policy.Group, Since: us.Since.Round(0),
		Open: us.Open, Dialing: us.Dialing, Idle: us.Idle, InUse: us.InUse, Draining: us.Draining, Canaries: us.Canaries, Waiting: us.Waiting,
		MaxConns:        max(0, e.Policy.MaxConns),
		ServerKeepAlive: e.ServerKeepAlive, Margin: e.Margin, IdleLimit: e.IdleLimit, Source: e.Source, Confidence: "none",
		Budget: us.Budget, Breaker: us.Breaker,
		Counts:         countsOf(&us.Counters),
		ClosedLastHour: e.ClosedLastHour,
		Advice:         advise(us, e),
	}
	if k := e.Learned; k != nil {
		u.Confidence = k.Confidence
		u.Closes = closesAt(k)
	}
	return u
}

// closesAt is how many closes stand behind the deadline that was learned.
func closesAt(k *idlewise.UpstreamKnowledge) int {
	for _, m := range k.Timeouts {
		if k.Deadline <= m.Upper {
			return m.Closes
		}
	}
	return 0
}

func countsOf(c *idlewise.Counters) Counts {
	return Counts{
		Requests: c.Requests, Opened: c.Opened, Stale: c.StaleIdempotent + c.StaleOther,
		Failed: sum(c.Failed), Resent: sum(c.Resent), Lost: sum(c.Lost), Answered: sum(c.ResendsAnswered), Retries: c.Retries,
		DialErrors: c.DialErrors, BudgetEmpty: c.BudgetEmpty, CircuitOpen: c.CircuitOpen,
	}
}

func sum[K comparable](m map[K]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

func detailOf(us *idlewise.UpstreamStats, e *idlewise.Explanation, d *defaults) *Detail {
	out := &Detail{
		Conns: e.Conns, Learned: e.Learned, Failed: us.Failed, Resent: us.Resent, Closed: us.Closed,
		MaxConnAge: max(0, e.Policy.MaxConnAge), Probe: probeText(e.Probe),
		Ages: Ages{
			Bounds: us.IdleAtReuse.Bounds, Reused: us.IdleAtReuse.Counts, Retired: us.IdleAtRetirement.Counts,
			Stale: us.IdleAtStaleHit.Counts, Closed: us.IdleAtServerClose.Counts, Closes: e.IdleCloses,
		},
	}
	if out.Conns == nil {
		out.Conns = []idlewise.ConnInfo{}
	}
	out.Policy, out.PolicySet = policyYAML(us.Name, &e.Policy, d)
	return out
}

func probeText(p *idlewise.BackgroundProbe) string {
	switch {
	case p == nil:
		return ""
	case p.Running:
		return "A background probe is measuring the server's idle timeout now."
	case p.Problem != "":
		return "The last background probe measured nothing: " + p.Problem
	case p.Report != nil:
		return "The last background probe found: " + p.Report.Summary() + "."
	}
	return ""
}
