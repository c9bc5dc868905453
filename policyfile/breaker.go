package policyfile

import (
	"fmt"

	"github.com/sony/gobreaker/v2"
	"go.yaml.in/yaml/v3"

	"github.com/idlewise/idlewise"
)

// A trip says when a breaker opens: where any of its parts that are set holds.
type trip struct {
	consecutive uint32  // failures in a row
	ratio       float64 // of failures
	least       uint32  // requests from which on the ratio counts
}

// breaker is the draft's own, which no other policy has.
func (d *draft) breaker() *idlewise.Breaker {
	if d.Breaker == nil {
		d.Breaker = new(idlewise.Breaker)
	}
	return d.Breaker
}

func (d *draft) tripRule() *trip {
	d.breaker()
	return &d.trip
}

// finish makes the function that opens the breaker.
//
// A function cannot be compared with another of the same code, so the rule
// stands in the breaker's name as well: whether a breaker's settings have changed,
// so that a new one is needed, is seen there. Nobody else sees the name, as a
// breaker from a file has no OnStateChange.
func (d *draft) finish() idlewise.Policy {
	if d.trip != (trip{}) {
		d.breaker().Settings.Name = d.trip.String()
		d.breaker().Settings.ReadyToTrip = d.trip.ready
	}
	return d.Policy
}

func (t trip) String() string {
	return fmt.Sprintf("consecutive_failures %d, failure_ratio %v of %d", t.consecutive, t.ratio, t.least)
}

func (t trip) ready(c gobreaker.Counts) bool {
	if t.consecutive > 0 && c.ConsecutiveFailures >= t.consecutive {
		return true
	}
	known := c.TotalSuccesses + c.TotalFailures
	return t.ratio > 0 && known >= max(t.least, 1) && float64(c.TotalFailures) >= t.ratio*float64(known)
}

func readBreakerStatuses(r *reader, n *yaml.Node, path string) func(*draft) {
	statuses, ok := r.statuses(n, path, 100)
	if !ok {
		return nil
	}
	return func(d *draft) { d.breaker().Statuses = statuses }
}

// maxBuckets bounds the memory of a breaker: gobreaker keeps counts for each
// bucket_period of an interval.
const maxBuckets = 1000

// breakerMistakes reports what is wrong with the breaker of a policy in which
// everything is filled in.
func (r *reader) breakerMistakes(path string, all settings, d *draft) {
	if d.Breaker == nil || d.Breaker == idlewise.NoBreaker {
		return
	}
	wrong := func(key, format string, args ...any) {
		r.add(all[key].at, path+"."+key, format, args...)
	}
	has := func(key string) bool { _, ok := all[key]; return ok }
	s := d.Breaker.Settings
	if has("breaker.failure_ratio") && !has("breaker.min_requests") {
		wrong("breaker.failure_ratio", "needs min_requests, so that the first failure alone does not open the breaker; write min_requests: 20, for example")
	}
	if has("breaker.failure_ratio") && !has("breaker.interval") {
		wrong("breaker.failure_ratio", "needs interval, or it is the ratio of all requests ever made; write interval: 60s, for example")
	}
	if has("breaker.min_requests") && !has("breaker.failure_ratio") {
		wrong("breaker.min_requests", "means nothing without failure_ratio; add that, or remove this")
	}
	switch {
	case !has("breaker.bucket_period"):
	case !has("breaker.interval"):
		wrong("breaker.bucket_period", "means nothing without interval; add that, or remove this")
	case s.BucketPeriod > 0 && s.Interval > 0 && s.BucketPeriod > s.Interval:
		wrong("breaker.bucket_period", "%v is longer than interval, %v; lower it", s.BucketPeriod, s.Interval)
	case s.BucketPeriod > 0 && s.Interval/s.BucketPeriod > maxBuckets:
		wrong("breaker.bucket_period", "%v is less than interval, %v, divided by %d; raise it", s.BucketPeriod, s.Interval, maxBuckets)
	}
}
