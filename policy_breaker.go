package idlewise

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/sony/gobreaker/v2"
)

// A Breaker says when requests to an upstream are not sent at all, since it
// fails: a circuit breaker, by gobreaker.
//
// Each upstream has its own. While it is open requests get ErrCircuitOpen at
// once; when it is half-open, Settings.MaxRequests are let through to find out
// whether the upstream is well again. Attempts count, retries included.
//
// A Breaker must not be changed once it is in a Policy. Its state outlives
// SetPolicies as long as the settings stay the same. Functions are compared by
// their code: name them, since the compiler may make several of a literal.
type Breaker struct {
	// Settings are gobreaker's, as they are. OnStateChange is called with the
	// upstream's name where Name is empty, while gobreaker's lock is held, so that it
	// must not use the Transport, whose Stats would wait for that lock.
	// IsSuccessful and IsExcluded are asked about attempts that failed, by an
	// error, or by a *StatusError for one of Statuses.
	// They are not asked about, and no breaker counts, what says nothing about the
	// upstream: connections that it had closed while they were idle, streams that
	// it refused, the ends of contexts, and invalid requests. What is left are
	// connections that could not be opened or were lost, and timeouts.
	Settings gobreaker.Settings

	// Statuses are the response statuses that count as failures. Default: none.
	Statuses []int

	off bool
}

// NoBreaker as a Policy's Breaker means none, where Policies.Default has one.
var NoBreaker = &Breaker{off: true}

// MarshalJSON leaves out the functions. NoBreaker is null.
func (b *Breaker) MarshalJSON() ([]byte, error) {
	if b.off {
		return []byte("null"), nil
	}
	return json.Marshal(map[string]any{
		"max_requests": b.Settings.MaxRequests, "interval_ns": b.Settings.Interval,
		"bucket_period_ns": b.Settings.BucketPeriod, "timeout_ns": b.Settings.Timeout,
		"statuses": b.Statuses,
	})
}

func (b *Breaker) mistakes(path string) []error {
	if b == nil {
		return nil
	}
	var errs []error
	for i, s := range b.Statuses {
		if s < 100 || s > 599 {
			errs = append(errs, fmt.Errorf("%s.Breaker.Statuses[%d]: %d is no response status; use one from 100 to 599", path, i, s))
		}
	}
	for _, f := range []durationField{
		{"Interval", b.Settings.Interval}, {"BucketPeriod", b.Settings.BucketPeriod}, {"Timeout", b.Settings.Timeout},
	} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("%s.Breaker.Settings.%s: %v is negative; leave it 0 for gobreaker's default", path, f.name, f.value))
		} else if err := f.missingUnit(path + ".Breaker.Settings"); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// sameBreaker reports whether a state kept for a serves for b as well.
func sameBreaker(a, b *Breaker) bool {
	switch {
	case a == b:
		return true
	case a == nil || b == nil || a.off != b.off || !slices.Equal(a.Statuses, b.Statuses):
		return false
	}
	x, y := reflect.ValueOf(a.Settings), reflect.ValueOf(b.Settings)
	for i := range x.NumField() {
		p, q := x.Field(i), y.Field(i)
		if p.Kind() == reflect.Func {
			if p.Pointer() != q.Pointer() {
				return false
			}
		} else if p.Interface() != q.Interface() {
			return false
		}
	}
	return true
}
