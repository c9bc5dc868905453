package idlewise

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// retries reports whether the policy asks for more than attempts do by themselves.
func (p *Policy) retries() bool {
	r := &p.Retry
	return r.Max > 0 || r.PerTryTimeout > 0 || r.MaxReplayBody > 0 || r.AutoIdempotencyKey == On ||
		r.NonIdempotent == On || r.AttemptHeader != "-" || p.Breaker != nil && !p.Breaker.off
}

const (
	// A response that is not the caller's is read to its end, so that its
	// connection lives on, if it is not longer than maxDrain and its rest is there
	// within drainWait.
	maxDrain  = 64 << 10
	drainWait = 50 * time.Millisecond
)

// sendByPolicy sends the request as pol wants it.
func (c *call) sendByPolicy(pol *Policy) (*http.Response, error) {
	r := &pol.Retry
	c.applyRetry(r)
	sent := c.req // and marked
	resp, err := c.tries(pol, sent)
	c.req = c.given
	resp, err = c.end(resp, err)
	if resp != nil {
		resp.Request = c.given
	}
	return resp, err
}

// applyRetry lets the attempts be as r wants them.
func (c *call) applyRetry(r *Retry) {
	if r.AttemptHeader != "-" {
		c.mark.header = r.AttemptHeader
	}
	if r.NonIdempotent == On && c.opt.idempotency == vouchNone {
		c.opt.idempotency = vouchIdempotent
	}
	if r.AutoIdempotencyKey == On && (c.req.Method == "POST" || c.req.Method == "PATCH") &&
		c.opt.idempotency != vouchNotIdempotent && !spellsKey(c.req.Header) {
		c.req = c.req.WithContext(c.req.Context())
		c.req.Header = c.req.Header.Clone()
		c.req.Header.Set("Idempotency-Key", newKey())
		c.opt.idempotency = vouchIdempotent
	}
	if r.MaxReplayBody > 0 {
		c.body.record(&c.u.t.replays, r.MaxReplayBody)
	}
}

// spellsKey reports whether h has an idempotency key in whatever spelling, since it
// would be the server's first (RFC 9110 §5.1: names of fields are not case-sensitive).
func spellsKey(h http.Header) bool {
	for name := range h {
		if strings.EqualFold(name, "Idempotency-Key") || strings.EqualFold(name, "X-Idempotency-Key") {
			return true
		}
	}
	return false
}

// newKey is a random UUID (RFC 9562 §5.4), as a string of structured fields, which
// the Idempotency-Key header is to be (draft-ietf-httpapi-idempotency-key-header).
func newKey() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("\"%x-%x-%x-%x-%x\"", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// tries makes one try, and others as long as one is needed, wanted and allowed.
// What it returns is the last one's.
func (c *call) tries(pol *Policy, sent *http.Request) (*http.Response, error) {
	r := &pol.Retry
	caller := sent.Context()
	for number := 0; ; number++ {
		breaker := c.u.group().breaker.state.Load()
		done, err := breaker.allow(c.u.name)
		if err != nil {
			c.u.pool.count(func(n *counts) { n.circuitOpen++ })
			return nil, err
		}
		t := newTry(sent, r)
		c.req, c.body.lives[1] = t.req, t.life
		c.past, c.unknown, c.refusals = nil, 0, 0
		resp, err := c.attemptsFor(done)
		resp, err = t.ended(caller, resp, err)
		if done != nil {
			tell(done, breaker.verdict(c, resp, err), resp)
		}
		again, wait, err := c.wantsRetry(r, breaker, number, resp, err)
		if !again {
			if err != nil {
				t.end()
				return nil, err
			}
			t.keep(resp)
			return resp, nil
		}
		if resp != nil {
			discard(resp, t)
		} else if c.on != nil && c.evidence != Refused {
			c.notBefore = c.on.endedAt(time.Now()) // whatever it was that kept the answer back
		}
		t.end()
		c.u.pool.count(func(n *counts) { n.retries++ })
		if err := c.u.t.sleep(c.given, wait); err != nil {
			return nil, err
		}
	}
}

// attemptsFor makes the attempts that a breaker has let through, which done tells
// it the end of; nil if there is none. A hook of the program's that panics is not
// to keep the place of a half-open breaker's trial.
func (c *call) attemptsFor(done func(error)) (*http.Response, error) {
	if done == nil {
		return c.attempts(time.Now())
	}
	panics := true
	defer func() {
		if panics {
			done(uncounted{errHookPanicked})
		}
	}()
	resp, err := c.attempts(time.Now())
	panics = false
	return resp, err
}

// tell tells a breaker how an attempt ended. If its Settings' functions panic, the
// attempt does not keep the place of a trial, and resp is closed.
func tell(done func(error), verdict error, resp *http.Response) {
	panics := true
	defer func() {
		if panics {
			done(uncounted{errHookPanicked})
			if resp != nil {
				resp.Body.Close()
			}
		}
	}()
	done(verdict)
	panics = false
}

// wantsRetry decides whether what a try brought is to be retried, and after how
// long; then the body is ready for it. If not, it returns the error that the
// caller gets; if there is one, resp was closed.
//
// Promise P1 is kept by mayRetry, whatever CheckRetry says.
func (c *call) wantsRetry(r *Retry, b *breakerState, number int, resp *http.Response, err error) (bool, time.Duration, error) {
	if r.Max <= 0 || canceled(c.given) != nil || c.u.t.cut.Load() || err != nil && c.last == failedForGood {
		return false, 0, err
	}
	if resp != nil && resp.StatusCode == http.StatusSwitchingProtocols {
		return false, 0, nil // the connection is the program's now, and has no end to be read to
	}
	check := r.CheckRetry
	if check == nil {
		check = DefaultCheckRetry
	}
	told := c.asClient(err)
	again, checkErr := check(c.given.Context(), resp, told)
	switch {
	case !again && checkErr != nil && checkErr != told:
		if resp != nil {
			resp.Body.Close()
		}
		return false, 0, checkErr
	case !again, number >= r.Max, !c.mayRetry(resp), !c.body.replayable(c.bodyOver(resp)), b.isOpen():
		return false, 0, err
	}
	wait := r.wait(number, resp, time.Now())
	if deadline, ok := c.given.Context().Deadline(); ok && time.Until(deadline) <= wait {
		return false, 0, err // what there is is better than a timeout
	}
	if !c.u.group().budget.withdraw(time.Now()) {
		c.u.pool.count(func(n *counts) { n.budgetEmpty++ })
		if err != nil && !errors.Is(err, ErrRetryBudget) {
			err = budgetError{err}
		}
		return false, 0, err
	}
	if bodyErr := c.body.rewind(c.bodyOver(resp)); bodyErr != nil {
		if err != nil {
			err = fmt.Errorf("idlewise: not repeated (the body could not be had again: %w): %w", bodyErr, err)
		}
		return false, 0, err
	}
	return true, wait, nil
}

// mayRetry reports whether the request may be executed after what its last try
// brought: a response, or an error.
func (c *call) mayRetry(resp *http.Response) bool {
	unsent := resp == nil && (c.last == failedToConnect || c.evidence == Unsent)
	switch {
	case unsent:
		return true
	case c.opt.noRetry:
		return false // it was on the wire once
	case resp == nil && (c.evidence == Undelivered || c.evidence == Refused):
		return true
	}
	return isIdempotent(c.req, c.opt)
}

// bodyOver reports whether nothing of the request is being written any more. After
// a response or a canceled attempt net/http may still be at it.
func (c *call) bodyOver(resp *http.Response) bool {
	return resp == nil && (c.last == failedToConnect || c.over)
}

// discard reads the rest of a response that nobody wants, if there is not much of
// it, so that its connection can be used again.
func discard(resp *http.Response, t *try) {
	// Close would wait for a Read that waits.
	timer := time.AfterFunc(drainWait, t.end)
	io.CopyN(io.Discard, resp.Body, maxDrain)
	timer.Stop()
	resp.Body.Close()
}

// asClient returns err as http.Client gives it, which is what CheckRetry functions
// know.
func (c *call) asClient(err error) error {
	if err == nil {
		return nil
	}
	method := c.given.Method
	if method == "" {
		method = "GET"
	}
	return &url.Error{Op: method[:1] + strings.ToLower(method[1:]), URL: c.given.URL.Redacted(), Err: err}
}

// wait is how long to wait before the retry with that number, from 0 on.
func (r *Retry) wait(number int, resp *http.Response, now time.Time) time.Duration {
	if after, ok := retryAfter(resp, now); ok {
		// Not everybody at the same moment.
		return min(after+mathrand.N(r.WaitMin), r.WaitMax)
	}
	if r.Backoff == nil {
		return DefaultBackoff(r.WaitMin, r.WaitMax, number, resp)
	}
	return max(r.Backoff(r.WaitMin, r.WaitMax, number, resp), 0)
}

// retryAfter reads the Retry-After header of a response that says that its server
// has too much to do: seconds, or a date (RFC 9110 §10.2.3).
func retryAfter(resp *http.Response, now time.Time) (time.Duration, bool) {
	if resp == nil || resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	v := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if v == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseUint(v, 10, 63); err == nil {
		return time.Duration(min(seconds, 1<<32)) * time.Second, true
	} else if errors.Is(err, strconv.ErrRange) {
		return 1 << 32 * time.Second, true
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(now), 0), 1<<32*time.Second), true
	}
	return 0, false
}
