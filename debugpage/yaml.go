package debugpage

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/idlewise/idlewise"
)

// A setting is a policy's field as policyfile's YAML has it. A value that
// cannot be written so, such as a function, is none.
type setting struct {
	key   string // "retry.max" is max within retry
	value string
}

// settings lists p's, a policy with everything inherited filled in.
func settings(p *idlewise.Policy) []setting {
	all := []setting{
		{"server_keep_alive", duration(p.ServerKeepAlive)},
		{"max_idle_time", duration(p.MaxIdleTime)},
		{"idle_margin", duration(p.IdleMargin)},
		{"hint", toggle(p.Hint)},
		{"learning", toggle(p.Learning)},
		{"canary", toggle(p.Canary)},
		{"evidence", toggle(p.Evidence)},
		{"elicit_hint", toggle(p.ElicitHint)},
		{"liveness_check_after", duration(p.LivenessCheckAfter)},
		{"unacked_timeout", duration(p.UnackedTimeout)},
		{"tcp_keep_alive", keepAlive(p.TCPKeepAlive)},
		{"ping_after", duration(p.PingAfter)},
		{"ping_timeout", duration(p.PingTimeout)},
		{"body_idle_timeout", duration(p.BodyIdleTimeout)},
		{"max_conn_age", duration(p.MaxConnAge)},
		{"max_requests_per_conn", number(p.MaxRequestsPerConn)},
		{"max_conns", number(p.MaxConns)},
		{"max_idle_conns", number(p.MaxIdleConns)},
		{"min_idle_conns", number(p.MinIdleConns)},
		{"dial_rate", number(p.DialRate)},
		{"dial_burst", burst(p)},
		{"group", text(p.Group)},
		{"retry", retry(&p.Retry)},
		{"breaker", breaker(p.Breaker)},
		{"probe", probe(&p.Probe)},
	}
	set := all[:0]
	for _, s := range all {
		if s.value != "" {
			set = append(set, s)
		}
	}
	return set
}

func duration(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < 0:
		return "off"
	}
	return trimZeros(d.String())
}

// trimZeros makes 10m of 10m0s, and 1h of 1h0m0s.
func trimZeros(s string) string {
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func toggle(t idlewise.Toggle) string {
	if t == idlewise.Inherit {
		return ""
	}
	return t.String()
}

func number[N int | int64 | float64](n N) string {
	switch {
	case n == 0:
		return ""
	case n < 0:
		return "off"
	}
	return strconv.FormatFloat(float64(n), 'f', -1, 64)
}

// burst is the one in force. With a rate there always is one: where none is set,
// idlewise takes the rate, rounded up, and its bound.
func burst(p *idlewise.Policy) string {
	if p.DialRate > 0 && p.DialBurst <= 0 {
		return number(math.Ceil(min(p.DialRate, math.MaxInt32)))
	}
	return number(p.DialBurst)
}

// text quotes as JSON does, which YAML understands.
func text(s string) string {
	if s == "" {
		return ""
	}
	quoted, _ := json.Marshal(s) // strings can always be marshalled
	return string(quoted)
}

// flow is {key: value, …} of pairs with a value.
func flow(pairs ...setting) string {
	var parts []string
	for _, p := range pairs {
		if p.value != "" {
			parts = append(parts, p.key+": "+p.value)
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func keepAlive(k net.KeepAliveConfig) string {
	if k.Idle < 0 {
		return "off"
	}
	return flow(setting{"idle", duration(k.Idle)}, setting{"interval", duration(k.Interval)}, setting{"count", number(k.Count)})
}

// retry leaves out CheckRetry and Backoff, which are functions.
func retry(r *idlewise.Retry) string {
	return flow(
		setting{"max", number(r.Max)},
		setting{"wait_min", duration(r.WaitMin)},
		setting{"wait_max", duration(r.WaitMax)},
		setting{"per_try_timeout", duration(r.PerTryTimeout)},
		setting{"max_replay_body", number(r.MaxReplayBody)},
		setting{"auto_idempotency_key", toggle(r.AutoIdempotencyKey)},
		setting{"attempt_header", text(r.AttemptHeader)},
		setting{"non_idempotent", toggle(r.NonIdempotent)},
	)
}

// breaker leaves out what opens it, which is a function.
func breaker(b *idlewise.Breaker) string {
	if b == nil || b == idlewise.NoBreaker {
		return "off"
	}
	var statuses []string
	for _, s := range b.Statuses {
		statuses = append(statuses, strconv.Itoa(s))
	}
	list := ""
	if statuses != nil {
		list = "[" + strings.Join(statuses, ", ") + "]"
	}
	return flow(
		setting{"max_requests", number(int64(b.Settings.MaxRequests))},
		setting{"interval", duration(b.Settings.Interval)},
		setting{"bucket_period", duration(b.Settings.BucketPeriod)},
		setting{"timeout", duration(b.Settings.Timeout)},
		setting{"statuses", list},
	)
}

func probe(p *idlewise.ProbePolicy) string {
	if p.Every <= 0 {
		return "off"
	}
	return flow(
		setting{"every", duration(p.Every)}, setting{"timeout", duration(p.Timeout)},
		setting{"method", text(p.Method)}, setting{"path", text(p.Path)},
	)
}

// defaults are the settings of who sets nothing.
type defaults struct{ value map[string]string }

func newDefaults() *defaults {
	p, _ := idlewise.Policies{}.For(&url.URL{})
	d := &defaults{make(map[string]string)}
	for _, s := range settings(&p) {
		d.value[s.key] = s.value
	}
	return d
}

// policyYAML writes p as the policy of the upstream in a policy file: all of it,
// and only what differs from the defaults ("" if nothing does).
func policyYAML(name string, p *idlewise.Policy, d *defaults) (all, set string) {
	var a, b strings.Builder
	for _, s := range settings(p) {
		line := fmt.Sprintf("    %s: %s\n", s.key, s.value)
		a.WriteString(line)
		if d.value[s.key] != s.value {
			b.WriteString(line)
		}
	}
	head := upstreamHead(name)
	if b.Len() > 0 {
		set = head + b.String()
	}
	return head + a.String(), set
}

// upstreamHead is what comes before an upstream's settings.
func upstreamHead(name string) string { return "upstreams:\n  " + text(patternFor(name)) + ":\n" }

// patternFor is the pattern that selects the upstream of that name, and only it.
// Through a proxy without CONNECT that is the proxy's.
func patternFor(name string) string {
	name = strings.TrimSuffix(name, " (HTTP/1 only)")
	target, proxy, ok := strings.Cut(name, " via ")
	if ok && target == "http://*" {
		return proxy
	}
	return target
}
