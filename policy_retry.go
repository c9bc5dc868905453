package idlewise

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// A Retry says when a request is sent again although a response came, or no
// connection could be had: the retries of a policy, which are off unless Max is
// set. (The resend of a request whose idle connection had been closed is no part
// of it, and needs no setting.)
//
// Only requests that may be repeated are: idempotent ones, those proven not to
// have reached the server, and others where the operator says so by
// NonIdempotent. CheckRetry can refuse a retry, never cause one that this
// forbids.
//
// All retries to an upstream draw on one budget: a fifth of the requests of the
// last ten seconds, and ten a second. What the caller gets in the end, when Max
// or the budget is used up, is the last response, unread, or the last error.
//
// The zero value of a field means the value in Policies.Default, as in Policy,
// and there the default given below.
type Retry struct {
	// Max is how many times a request is sent again, the resends of stale
	// connections not counted.
	//
	// Default: off.
	Max int

	// WaitMin and WaitMax are what Backoff gets as its bounds, for it to keep to
	// (go-retryablehttp's linear jitter grows beyond them). A Retry-After header of
	// a response with status 429 or 503 is honoured up to WaitMax, whatever Backoff
	// is.
	//
	// Default: 100 ms, 5 s.
	WaitMin, WaitMax time.Duration

	// PerTryTimeout is how long one attempt may take, from its beginning until the
	// response's header has come; the wait for a connection counts. Then it fails
	// with an error whose Timeout method returns true, and may be retried.
	//
	// Default: off.
	PerTryTimeout time.Duration

	// CheckRetry says whether a response or an error is to be retried; one of the
	// two is nil, and an error is a *url.Error, as http.Client returns it. If it
	// says no with an error, that goes to the caller, and the response is closed.
	// It is not asked once the request's context has ended, nor about invalid
	// requests, nor about a 101, whose connection is the program's. It must not read
	// the response's body.
	//
	// go-retryablehttp's functions can be assigned.
	//
	// Default: DefaultCheckRetry.
	CheckRetry func(ctx context.Context, resp *http.Response, err error) (bool, error) `json:"-"`

	// Backoff says how long to wait before a retry, attempt counting from 0. resp
	// is nil where there was an error.
	//
	// go-retryablehttp's functions can be assigned.
	//
	// Default: DefaultBackoff.
	Backoff func(min, max time.Duration, attempt int, resp *http.Response) time.Duration `json:"-"`

	// MaxReplayBody is the size, in bytes, up to which the body of a request
	// without GetBody is kept, so that it can be sent again. It holds for
	// resends as well, and within Config.MaxReplayBytes for all requests together;
	// a body beyond either is sent, and not repeated.
	//
	// Default: off.
	MaxReplayBody int64

	// AutoIdempotencyKey gives a POST or PATCH that has no key an Idempotency-Key,
	// a random UUID, the same on every attempt, and takes the request for
	// idempotent. It is for servers that know the header.
	//
	// Default: Off.
	AutoIdempotencyKey Toggle

	// AttemptHeader is the name of a header that every attempt carries, with the
	// attempt's number, from 1 on, resends counted: so that a server's log can be
	// matched with the client's. "-" is for none.
	//
	// Default: none.
	AttemptHeader string

	// NonIdempotent takes every request for idempotent, whatever its method, but
	// those sent with WithNotIdempotent. It is for upstreams whose POSTs have no
	// effects, or can tell a repeated one.
	//
	// Default: Off.
	NonIdempotent Toggle
}

const (
	defaultWaitMin = 100 * time.Millisecond
	defaultWaitMax = 5 * time.Second
)

var defaultRetry = Retry{
	Max:                -1,
	WaitMin:            defaultWaitMin,
	WaitMax:            defaultWaitMax,
	PerTryTimeout:      -1,
	MaxReplayBody:      -1,
	AutoIdempotencyKey: Off,
	AttemptHeader:      "-",
	NonIdempotent:      Off,
}

func (r Retry) inherit(parent Retry) Retry {
	fill(&r.Max, parent.Max)
	fill(&r.WaitMin, parent.WaitMin)
	fill(&r.WaitMax, parent.WaitMax)
	fill(&r.PerTryTimeout, parent.PerTryTimeout)
	if r.CheckRetry == nil {
		r.CheckRetry = parent.CheckRetry
	}
	if r.Backoff == nil {
		r.Backoff = parent.Backoff
	}
	fill(&r.MaxReplayBody, parent.MaxReplayBody)
	fill(&r.AutoIdempotencyKey, parent.AutoIdempotencyKey)
	fill(&r.AttemptHeader, parent.AttemptHeader)
	fill(&r.NonIdempotent, parent.NonIdempotent)
	return r
}

// mistakesAlone reports what is wrong with r whatever it inherits. Durations and
// toggles are the Policy's to check.
func (r *Retry) mistakesAlone(path string) []error {
	var errs []error
	for _, f := range []durationField{{"WaitMin", r.WaitMin}, {"WaitMax", r.WaitMax}} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("%s.Retry.%s: %v is negative, and a wait cannot be off; give a duration, or 0 for the default", path, f.name, f.value))
		}
	}
	if h := r.AttemptHeader; h != "" && h != "-" && !validHeaderName(h) {
		errs = append(errs, fmt.Errorf("%s.Retry.AttemptHeader: %q is no name for a header of the program's; use one such as X-Attempt", path, h))
	}
	return errs
}

// validHeaderName reports whether a program may set a header with that name.
func validHeaderName(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Connection", "Upgrade":
		return false // it would change what the request is
	}
	req := &http.Request{URL: &url.URL{Scheme: "http", Host: "a"}, Header: http.Header{name: {"1"}}}
	return newValidator().check(req) == nil
}

// contradictions reports what is wrong with r when everything inherited is
// filled in.
func (r *Retry) contradictions(path string) []error {
	if r.WaitMin > r.WaitMax {
		return []error{fmt.Errorf("%s.Retry.WaitMin: %v is longer than WaitMax, %v; lower WaitMin or raise WaitMax", path, r.WaitMin, r.WaitMax)}
	}
	return nil
}
