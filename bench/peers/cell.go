package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/idlewise/idlewise/bench/internal/clients"
	"github.com/idlewise/idlewise/bench/internal/server"
)

type (
	protocol string
	body     string
)

const (
	http1 protocol = "http1"
	http2 protocol = "http2" // over TLS

	bodyEmpty body = "empty"
	body4KiB  body = "4KiB"
	body1MiB  body = "1MiB"
)

var (
	allProtocols = []protocol{http1, http2}
	allBodies    = []body{bodyEmpty, body4KiB, body1MiB}
)

var payload = slices.Repeat([]byte{'x'}, server.MaxBody)

// A cell is what all clients do in turns.
type cell struct {
	protocol protocol
	callers  int
	body     body
}

func (c cell) String() string { return fmt.Sprintf("%s-%d-%s", c.protocol, c.callers, c.body) }

// size is how many bytes of bodies are under way at the same time.
func (c cell) size() int { return c.callers * (1 + len(c.body.bytes())) }

func (b body) bytes() []byte {
	switch b {
	case body4KiB:
		return payload[:4<<10]
	case body1MiB:
		return payload[:1<<20]
	}
	return nil
}

// request is what every caller sends, again and again: a GET that is answered with
// nothing, or a POST that is answered with as much as it has.
func (c cell) request(srv *server.Ready) *clients.Request {
	r := &clients.Request{Method: "GET", URL: srv.URL(c.protocol == http2)}
	if body := c.body.bytes(); body != nil {
		r.Method, r.Body = "POST", body
	}
	return r
}

// A sample is one client's turn.
type sample struct {
	requests int
	took     time.Duration
	cpu      time.Duration // of this process
	allocs   uint64
	bytes    uint64
	errors   int
	lastErr  error
	// each is how long every request took that had an answer, sorted.
	each []time.Duration
}

func (r *sample) perRequest() time.Duration { return r.took / time.Duration(r.requests) }

// A result is a client's part of a cell.
type result struct {
	cell   cell
	client string
	runs   []*sample
	conns  int64

	// Of each run's time to that of net/http's in the same round, and of the
	// processor time.
	ratios, cpuRatios []float64
}

// A summary is what is said of a result: medians of its runs, and quantiles of all
// their requests.
type summary struct {
	requests         int
	perRequest       time.Duration
	ratio, low, high float64 // with the quartiles
	cpuRatio         float64
	p50, p99, p999   time.Duration
	allocs, bytes    float64
	errors           int
}

func (r *result) summary() summary {
	var s summary
	var times []time.Duration
	var each []time.Duration
	var allocs, bytes []float64
	for _, run := range r.runs {
		s.requests += run.requests
		s.errors += run.errors
		times = append(times, run.perRequest())
		allocs = append(allocs, float64(run.allocs)/float64(run.requests))
		bytes = append(bytes, float64(run.bytes)/float64(run.requests))
		each = append(each, run.each...)
	}
	slices.Sort(each)
	s.perRequest, s.allocs, s.bytes = quantile(times, 0.5), quantile(allocs, 0.5), quantile(bytes, 0.5)
	s.ratio, s.low, s.high = quantile(r.ratios, 0.5), quantile(r.ratios, 0.25), quantile(r.ratios, 0.75)
	s.cpuRatio = quantile(r.cpuRatios, 0.5)
	s.p50, s.p99, s.p999 = ofSorted(each, 0.5), ofSorted(each, 0.99), ofSorted(each, 0.999)
	return s
}

// perSecond is how many requests all callers together made.
func (s summary) perSecond() float64 {
	return float64(time.Second) / float64(max(1, s.perRequest))
}

type number interface{ ~int64 | ~float64 }

func quantile[T number](xs []T, share float64) T {
	return ofSorted(slices.Sorted(slices.Values(xs)), share)
}

// ofSorted interpolates between the two nearest.
func ofSorted[T number](xs []T, share float64) T {
	if len(xs) == 0 {
		return 0
	}
	at := share * float64(len(xs)-1)
	i := int(at)
	j := min(i+1, len(xs)-1)
	return xs[i] + T((at-float64(i))*float64(xs[j]-xs[i]))
}
