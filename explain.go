package idlewise

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An Explanation says how requests to a URL are treated, and why.
type Explanation struct {
	Upstream string `json:"upstream"` // such as "https://api.example.com:443", and the proxy
	Pattern  string `json:"pattern"`  // that selected the policy, "" for the default
	Policy   Policy `json:"policy"`   // with everything inherited filled in

	// How long a connection may be idle, if it were opened now or, if there
	// are some, by the strictest of those there are.
	ServerKeepAlive time.Duration  `json:"server_keep_alive_ns"` // what the server allows, 0 if unknown
	Margin          time.Duration  `json:"margin_ns"`            // what is subtracted from it
	IdleLimit       time.Duration  `json:"idle_limit_ns"`        // when a connection is retired
	Source          DeadlineSource `json:"source"`               // where IdleLimit comes from

	Conns []ConnInfo `json:"conns"` // the oldest first

	// Learned is what was learned about the upstream; nil if nothing was.
	Learned *UpstreamKnowledge `json:"learned,omitempty"`

	// ClosedLastHour counts the connections that left the pool in the last 55
	// to 60 minutes, by reason.
	ClosedLastHour map[CloseReason]uint64 `json:"closed_last_hour,omitempty"`

	// IdleCloses are the last ends that the server gave to idle connections, at
	// most 24, the oldest first.
	IdleCloses []IdleClose `json:"idle_closes,omitempty"`

	// Probe says what Policy.Probe has come to; nil if there was none yet.
	Probe *BackgroundProbe `json:"probe,omitempty"`

	// Passthrough means that nothing of this is in force: Config.Passthrough
	// hands every request to the Base, or to what Wrap was given.
	Passthrough bool `json:"passthrough,omitempty"`

	// Problem says why there is nothing to explain, as with an invalid URL.
	Problem string `json:"problem,omitempty"`
}

// String puts the explanation into a few lines for people.
func (e Explanation) String() string {
	var b strings.Builder
	if e.Problem != "" {
		return e.Problem + "\n"
	}
	fmt.Fprintf(&b, "%s\n", e.Upstream)
	if e.Passthrough {
		fmt.Fprint(&b, "  Config.Passthrough is set: requests go to the Base, or to what was wrapped, as they are; no policy is in force\n")
		return b.String()
	}
	if e.Pattern == "" {
		fmt.Fprint(&b, "  policy: Policies.Default\n")
	} else {
		fmt.Fprintf(&b, "  policy: Policies.Upstreams[%q]\n", e.Pattern)
	}
	if e.Policy.Group != "" {
		fmt.Fprintf(&b, "  group: %q\n", e.Policy.Group)
	}
	switch e.Source {
	case DeadlineNone:
		fmt.Fprint(&b, "  idle connections: kept without a limit\n")
	case DeadlineMaxIdleTime:
		fmt.Fprintf(&b, "  idle connections: retired at %s (MaxIdleTime)\n", readable(e.IdleLimit))
	default:
		fmt.Fprintf(&b, "  idle connections: retired at %s, %s before the server's %s (%v)\n", readable(e.IdleLimit), readable(e.Margin), readable(e.ServerKeepAlive), e.Source)
	}
	e.Probe.print(&b)
	for _, c := range e.Conns {
		state := "busy"
		if c.Idle {
			state = fmt.Sprintf("idle for %v", c.IdleAge.Round(time.Millisecond))
		}
		requests := "requests"
		if c.Requests == 1 {
			requests = "request"
		}
		fmt.Fprintf(&b, "  connection %d: %s to %s, %d %s in %v, %s\n", c.ID, c.Proto, c.Remote, c.Requests, requests, c.Age.Round(time.Millisecond), state)
	}
	return b.String()
}

// Explain says how a GET request to rawURL would be treated now. It opens no
// connection and remembers no upstream. Of the URL only scheme, host and port
// count, unless the Base's Proxy function looks at more.
func (t *Transport) Explain(rawURL string) Explanation {
	u, err := t.upstreamToExplain(rawURL)
	if err != nil {
		return Explanation{Problem: err.Error()}
	}
	e := u.explain(time.Now())
	e.Passthrough = t.passthrough != nil
	return e
}

// ExplainAll explains every upstream that is remembered, sorted by name. Of one
// for requests through a proxy the name is no URL that Explain would take.
func (t *Transport) ExplainAll() []Explanation {
	if t.ready() != nil {
		return nil
	}
	now := time.Now()
	var all []Explanation
	for _, u := range t.registry.all() {
		all = append(all, u.explain(now))
	}
	slices.SortFunc(all, func(a, b Explanation) int { return cmp.Compare(a.Upstream, b.Upstream) })
	return all
}

func (t *Transport) upstreamToExplain(rawURL string) (*upstream, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, err
	}
	if s := req.URL.Scheme; s != "http" && s != "https" || req.URL.Host == "" {
		return nil, fmt.Errorf("%q is no http or https URL with a host, such as https://api.example.com", rawURL)
	}
	proxy, err := t.proxyFor(req)
	if err != nil {
		return nil, fmt.Errorf("the Base's Proxy function: %w", err)
	}
	proxyText := ""
	if proxy != nil {
		proxyText = proxy.String()
	}
	u := t.newUpstream(req.URL, proxy, proxyText, false)
	t.registry.mu.RLock()
	defer t.registry.mu.RUnlock()
	if known := t.registry.upstreams[u.key]; known != nil {
		return known, nil
	}
	return u, nil
}

func (u *upstream) explain(now time.Time) Explanation {
	r := u.ruling.Load()
	pol := &r.policy
	e := Explanation{Upstream: u.name, Pattern: r.pattern, Policy: *pol}
	if k, ok := u.knowledge(now); ok {
		e.Learned = &k
	}
	p := &u.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	e.ClosedLastHour, e.IdleCloses = p.closings.lastHour(now), p.closings.idleCloses()
	strictest := p.firstLimitLocked()
	e.Probe = p.probe.export()
	for c := p.first; c != nil; c = c.newer {
		info := ConnInfo{ID: c.id, Remote: c.peer, Proto: "HTTP/1", Age: elapsed(c.born, now), Requests: c.uses, RTT: c.rtt, Idle: c.idle}
		if c.local != nil {
			info.Local = c.local.String()
		}
		if c.h2 {
			info.Proto = "HTTP/2"
		}
		if c.idle {
			info.IdleAge = c.idleAge(now)
			info.RetireAt = c.limit.age
			if strictest.source == DeadlineNone || c.limit.source != DeadlineNone && c.limit.age < strictest.age {
				strictest = c.limit
			}
		}
		e.Conns = append(e.Conns, info)
	}
	e.ServerKeepAlive, e.Margin, e.IdleLimit, e.Source = strictest.server, strictest.margin, strictest.age, strictest.source
	return e
}
