package policyfile

import (
	"net"
	"strings"
	"time"

	"github.com/idlewise/idlewise"
)

// A draft is a policy that is being put together.
type draft struct {
	idlewise.Policy
	trip trip
}

// A field is a setting as files and Go name it.
type field struct {
	key  string // such as retry.wait_min
	name string // such as Retry.WaitMin
	read readFunc
}

// fields are in the order of idlewise.Policy, and are applied in it.
var fields = []field{
	{"server_keep_alive", "ServerKeepAlive", duration(orOff, func(d *draft) *time.Duration { return &d.ServerKeepAlive })},
	{"max_idle_time", "MaxIdleTime", duration(orOff, func(d *draft) *time.Duration { return &d.MaxIdleTime })},
	{"idle_margin", "IdleMargin", duration(orOff, func(d *draft) *time.Duration { return &d.IdleMargin })},
	{"hint", "Hint", toggle(func(d *draft) *idlewise.Toggle { return &d.Hint })},
	{"learning", "Learning", toggle(func(d *draft) *idlewise.Toggle { return &d.Learning })},
	{"canary", "Canary", toggle(func(d *draft) *idlewise.Toggle { return &d.Canary })},
	{"evidence", "Evidence", toggle(func(d *draft) *idlewise.Toggle { return &d.Evidence })},
	{"elicit_hint", "ElicitHint", toggle(func(d *draft) *idlewise.Toggle { return &d.ElicitHint })},
	{"liveness_check_after", "LivenessCheckAfter", duration(orOff, func(d *draft) *time.Duration { return &d.LivenessCheckAfter })},
	{"unacked_timeout", "UnackedTimeout", duration(orOff, func(d *draft) *time.Duration { return &d.UnackedTimeout })},
	{"tcp_keep_alive.idle", "TCPKeepAlive.Idle", duration(orOff, func(d *draft) *time.Duration { return &d.keepAlive().Idle })},
	{"tcp_keep_alive.interval", "TCPKeepAlive.Interval", duration(noOff, func(d *draft) *time.Duration { return &d.keepAlive().Interval })},
	{"tcp_keep_alive.count", "TCPKeepAlive.Count", count(noOff, func(d *draft) *int { return &d.keepAlive().Count })},
	{"ping_after", "PingAfter", duration(orOff, func(d *draft) *time.Duration { return &d.PingAfter })},
	{"ping_timeout", "PingTimeout", duration(noOff, func(d *draft) *time.Duration { return &d.PingTimeout })},
	{"body_idle_timeout", "BodyIdleTimeout", duration(orOff, func(d *draft) *time.Duration { return &d.BodyIdleTimeout })},
	{"max_conn_age", "MaxConnAge", duration(orOff, func(d *draft) *time.Duration { return &d.MaxConnAge })},
	{"max_requests_per_conn", "MaxRequestsPerConn", count(orOff, func(d *draft) *int { return &d.MaxRequestsPerConn })},
	{"max_conns", "MaxConns", count(orOff, func(d *draft) *int { return &d.MaxConns })},
	{"max_idle_conns", "MaxIdleConns", count(orOff, func(d *draft) *int { return &d.MaxIdleConns })},
	{"dial_rate", "DialRate", rate(func(d *draft) *float64 { return &d.DialRate })},
	{"dial_burst", "DialBurst", count(orOff, func(d *draft) *int { return &d.DialBurst })},
	{"min_idle_conns", "MinIdleConns", count(orOff, func(d *draft) *int { return &d.MinIdleConns })},
	{"retry.max", "Retry.Max", count(orOff, func(d *draft) *int { return &d.Retry.Max })},
	{"retry.wait_min", "Retry.WaitMin", duration(noOff, func(d *draft) *time.Duration { return &d.Retry.WaitMin })},
	{"retry.wait_max", "Retry.WaitMax", duration(noOff, func(d *draft) *time.Duration { return &d.Retry.WaitMax })},
	{"retry.per_try_timeout", "Retry.PerTryTimeout", duration(orOff, func(d *draft) *time.Duration { return &d.Retry.PerTryTimeout })},
	{"retry.check", "Retry.CheckRetry", readCheck},
	{"retry.backoff", "Retry.Backoff", readBackoff},
	{"retry.max_replay_body", "Retry.MaxReplayBody", size(func(d *draft) *int64 { return &d.Retry.MaxReplayBody })},
	{"retry.auto_idempotency_key", "Retry.AutoIdempotencyKey", toggle(func(d *draft) *idlewise.Toggle { return &d.Retry.AutoIdempotencyKey })},
	{"retry.attempt_header", "Retry.AttemptHeader", text("a header's name such as X-Attempt, or off", "-", func(d *draft) *string { return &d.Retry.AttemptHeader })},
	{"retry.non_idempotent", "Retry.NonIdempotent", toggle(func(d *draft) *idlewise.Toggle { return &d.Retry.NonIdempotent })},
	{breakerOff, "Breaker", onlyOff(func(d *draft) { d.Breaker = idlewise.NoBreaker })},
	{"breaker.max_requests", "Breaker.Settings.MaxRequests", count(noOff, func(d *draft) *uint32 { return &d.breaker().Settings.MaxRequests })},
	{"breaker.interval", "Breaker.Settings.Interval", duration(noOff, func(d *draft) *time.Duration { return &d.breaker().Settings.Interval })},
	{"breaker.bucket_period", "Breaker.Settings.BucketPeriod", duration(noOff, func(d *draft) *time.Duration { return &d.breaker().Settings.BucketPeriod })},
	{"breaker.timeout", "Breaker.Settings.Timeout", duration(noOff, func(d *draft) *time.Duration { return &d.breaker().Settings.Timeout })},
	{"breaker.consecutive_failures", "Breaker.Settings.ReadyToTrip", count(noOff, func(d *draft) *uint32 { return &d.tripRule().consecutive })},
	{"breaker.failure_ratio", "Breaker.Settings.ReadyToTrip", share(func(d *draft) *float64 { return &d.tripRule().ratio })},
	{"breaker.min_requests", "Breaker.Settings.ReadyToTrip", count(noOff, func(d *draft) *uint32 { return &d.tripRule().least })},
	{"breaker.statuses", "Breaker.Statuses", readBreakerStatuses},
	{"group", "Group", text("a name", "", func(d *draft) *string { return &d.Group })},
	{"probe.every", "Probe.Every", duration(orOff, func(d *draft) *time.Duration { return &d.Probe.Every })},
	{"probe.timeout", "Probe.Timeout", duration(noOff, func(d *draft) *time.Duration { return &d.Probe.Timeout })},
	{"probe.method", "Probe.Method", text("a method such as HEAD", "", func(d *draft) *string { return &d.Probe.Method })},
	{"probe.path", "Probe.Path", text("a path such as /health", "", func(d *draft) *string { return &d.Probe.Path })},
}

// breakerOff is the setting that means idlewise.NoBreaker. It and the settings
// below it replace each other.
const breakerOff = "breaker"

// offAs names the setting that a group of them has where "off" stands in place
// of all.
var offAs = map[string]string{
	"tcp_keep_alive": "tcp_keep_alive.idle",
	"retry":          "retry.max",
	"breaker":        breakerOff,
	"probe":          "probe.every",
}

var (
	byKey  = make(map[string]*field)
	groups = make(map[string][]string) // the keys below each group; those of policies themselves below ""
)

func init() {
	for i := range fields {
		f := &fields[i]
		byKey[f.key] = f
		if f.key == breakerOff {
			continue
		}
		group, key, ok := strings.Cut(f.key, ".")
		if !ok {
			group, key = "", f.key
		} else if len(groups[group]) == 0 {
			groups[""] = append(groups[""], group)
		}
		groups[group] = append(groups[group], key)
	}
}

// keepAlive is where settings of TCP keep-alive go: any of them enables it.
func (d *draft) keepAlive() *net.KeepAliveConfig {
	d.TCPKeepAlive.Enable = true
	return &d.TCPKeepAlive
}
