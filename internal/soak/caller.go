package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/idlewise/idlewise"
)

// A traffic is what the callers did, in all.
type traffic struct {
	client *client
	next   atomic.Uint64 // the last request's number

	answered, unavailable, abandoned, refused, failed atomic.Int64

	bodies      sync.Map     // the requests' own that are not closed
	closedAgain atomic.Int64 // bodies

	mu     sync.Mutex
	wrongs []string // at most maxWrongs
}

const maxWrongs = 10

// wrong notes a promise that was broken.
func (t *traffic) wrong(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.wrongs) < maxWrongs {
		t.wrongs = append(t.wrongs, fmt.Sprintf(format, args...))
	}
}

// call sends requests, one after the other, until ctx ends. Its pauses are about as
// long as the servers let a connection idle, and long enough for two processors: what
// is in use is not to depend on what else the machine does.
func (t *traffic) call(ctx context.Context, rng *rand.Rand) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		d := time.Duration(rng.ExpFloat64() * float64(200*time.Millisecond))
		if rng.IntN(2) == 0 {
			d = time.Duration(rng.Float64() * 2 * float64(idleTimeout))
		}
		pause.Reset(d)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		t.one(rng)
	}
}

// A request is one call of RoundTrip.
type request struct {
	n       uint64
	method  string
	http2   bool
	size    int // of its body
	want    int // bytes of the response's body, beside the answer
	abandon int // of twenty: 0 closes the response unread, 1 after a few bytes
	outcome string
}

// one sends a request as a careless program might: with a context that may end at
// any time, and a response that may not be read.
func (t *traffic) one(rng *rand.Rand) {
	r := &request{
		n: t.next.Add(1), http2: rng.IntN(2) == 0, want: rng.IntN(1000), abandon: rng.IntN(20),
		method: []string{"POST", "POST", "POST", "GET", "GET", "PUT", "DELETE", "HEAD"}[rng.IntN(8)],
	}
	if rng.IntN(10) == 0 {
		r.want = rng.IntN(40_000)
	}
	if r.method == "POST" || r.method == "PUT" {
		r.size = rng.IntN(1000)
		if rng.IntN(10) == 0 {
			r.size = rng.IntN(40_000)
		}
	}
	ctx := context.Background()
	if rng.IntN(10) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(20))*time.Millisecond)
		defer cancel()
	}
	req := t.request(ctx, r, rng)
	tr := t.client.http1
	if r.http2 {
		tr = t.client.http2
	}
	resp, err := tr.RoundTrip(req)
	if err == nil {
		err = t.take(r, resp)
	}
	r.outcome = fmt.Sprint(err)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		t.abandoned.Add(1)
	case errors.Is(err, idlewise.ErrCircuitOpen):
		t.refused.Add(1)
	default:
		t.failed.Add(1)
	}
}

func (t *traffic) request(ctx context.Context, r *request, rng *rand.Rand) *http.Request {
	urls := t.client.urls[0]
	if r.http2 {
		urls = t.client.urls[1]
	}
	url := urls[rng.IntN(len(urls))]
	if !r.http2 && rng.IntN(25) == 0 {
		url = "http://" + strconv.Itoa(rng.IntN(strangers)) + strangerHost
	}
	req, err := http.NewRequestWithContext(ctx, r.method, fmt.Sprint(url, pathPrefix, r.n), nil)
	if err != nil {
		panic(err)
	}
	req.Header.Set("X-Want", strconv.Itoa(r.want))
	req.Header.Set("X-Fault-Key", strconv.FormatUint(r.n, 10))
	if r.size == 0 {
		return req
	}
	payload := make([]byte, r.size)
	req.ContentLength = int64(r.size)
	switch rng.IntN(3) {
	case 0:
		req.Body = io.NopCloser(bytes.NewReader(payload))
	case 1:
		req.Body = t.body(r, payload, false)
	case 2:
		req.Body = t.body(r, payload, false)
		req.GetBody = func() (io.ReadCloser, error) { return t.body(r, payload, true), nil }
	}
	return req
}

// take reads a response as its request wants it, and sees whether it is the right
// one.
func (t *traffic) take(r *request, resp *http.Response) error {
	defer resp.Body.Close()
	if resp.Header.Get("X-Forged") != "" {
		t.wrong("request %d got a response that nobody had asked for", r.n)
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		t.unavailable.Add(1)
		return nil
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	switch r.abandon {
	case 0:
		t.answered.Add(1)
		return nil
	case 1:
		io.CopyN(io.Discard, resp.Body, 10)
		t.answered.Add(1)
		return nil
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	want := answer(r.n, int64(r.size))
	if r.method != http.MethodHead && (len(got) != len(want)+r.want || !strings.HasPrefix(string(got), want)) {
		t.wrong("request %d got a wrong response of %d bytes, %.60q", r.n, len(got), got)
	}
	t.answered.Add(1)
	return nil
}

// A body is a request's body that knows whether it was closed once.
type body struct {
	io.Reader
	of     *request
	again  bool // from GetBody
	t      *traffic
	closed atomic.Bool
}

func (t *traffic) body(r *request, payload []byte, again bool) *body {
	b := &body{Reader: bytes.NewReader(payload), of: r, again: again, t: t}
	t.bodies.Store(b, nil)
	return b
}

func (b *body) Close() error {
	if b.closed.Swap(true) {
		b.t.closedAgain.Add(1)
	}
	b.t.bodies.Delete(b)
	return nil
}
