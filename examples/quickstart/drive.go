package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
)

// A plan says what one caller sends, and when. Both transports get equal
// plans, so that luck favours neither.
type plan struct {
	rng      *rand.Rand
	deadline time.Duration
	methods  []string
}

func newPlan(caller int, deadline time.Duration, methods []string) *plan {
	return &plan{rand.New(rand.NewPCG(1, uint64(caller))), deadline, methods}
}

// A call is one request of a plan.
type call struct {
	gap    time.Duration // since the response before it
	long   bool          // the gap is one around the deadline
	method string
}

// spread is how far from the deadline a long gap may lie. The race is within a
// fraction of a millisecond, but both sides' timers may be late by one or two.
func spread(deadline time.Duration) time.Duration {
	return max(min(5*time.Millisecond, deadline/20), deadline/500)
}

// next draws a call. One gap in four is short, as in life: whoever keeps the
// connection can use it again.
func (p *plan) next() call {
	c := call{method: p.methods[p.rng.IntN(len(p.methods))], long: p.rng.IntN(4) > 0}
	if c.long {
		s := spread(p.deadline)
		c.gap = p.deadline - s + time.Duration(p.rng.Int64N(int64(2*s)))
	} else {
		c.gap = time.Duration(p.rng.Int64N(int64(p.deadline / 2)))
	}
	return c
}

// drive lets the callers of both contenders call at the same time, and returns
// when they are done, the time is up, or the context ends.
func drive(ctx context.Context, sc *scene) {
	until, cancel := context.WithTimeout(ctx, sc.opt.duration)
	defer cancel()
	var wg sync.WaitGroup
	for i := range sc.opt.callers {
		n := sc.opt.requests / sc.opt.callers
		if i < sc.opt.requests%sc.opt.callers {
			n++
		}
		for _, c := range sc.contenders {
			p := newPlan(i, sc.deadline, sc.methods)
			wg.Go(func() { c.calls(ctx, until, i, n, p) })
		}
	}
	wg.Wait()
}

// calls is one caller: n requests, one after the other. When until ends, a
// request in flight is finished; when ctx ends, it is given up.
func (c *contender) calls(ctx, until context.Context, caller, n int, p *plan) {
	client := newClient(c.transports[caller])
	for i := range n {
		next := p.next()
		if i == 0 {
			// There is no connection yet, so the gap means nothing: it only
			// keeps the callers from doing everything at the same time.
			next.gap, next.long = time.Duration(p.rng.Int64N(int64(p.deadline))), false
		}
		if !pause(until, next.gap) {
			return
		}
		key := ""
		if c.server != nil {
			key = fmt.Sprintf("caller %d, request %d", caller, i)
		}
		got := send(ctx, client, next.method, c.url, key)
		if ctx.Err() != nil {
			return // an error may be of our own making
		}
		c.tally.add(next, got)
	}
}

// pause waits for d and reports whether ctx lasted that long.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// An outcome is what became of a request: what its caller is told, and what
// httptrace adds.
type outcome struct {
	err      error
	status   int
	took     time.Duration // until the response was read to its end
	attempts int           // connections that the transport used
	reused   bool          // the first of them had carried a request before
}

func send(ctx context.Context, client *http.Client, method, url, key string) (got outcome) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		got.attempts++
		if got.attempts == 1 {
			got.reused = info.Reused
		}
	}})
	var body io.Reader
	if method == "PUT" || method == "POST" {
		body = strings.NewReader("{}")
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return outcome{err: err}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		// The journal counts executions by this key. An Idempotency-Key would
		// do as well, but would let both transports repeat POSTs.
		req.Header.Set("X-Fault-Key", key)
	}

	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		got.err = err
		return got
	}
	// Unless the body is read to its end, the connection is not used again.
	_, got.err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	got.status, got.took = resp.StatusCode, time.Since(began)
	return got
}

// newClient returns a client whose every call is one request, not a chain of
// redirects, and ends even if the server hangs.
func newClient(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
