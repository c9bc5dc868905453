package idlewise

import (
	"sync/atomic"
	"time"
)

// A Histogram counts durations by size. In Stats its counts only grow.
type Histogram struct {
	// Bounds are the buckets' inclusive upper bounds, ascending. They are
	// shared by all snapshots and must not be changed.
	Bounds []time.Duration `json:"bounds_ns"`

	// Counts has one element more than Bounds: Counts[i] is how many were at
	// most Bounds[i] and above Bounds[i-1], the last how many were above all.
	// It is nil if there were none.
	Counts []uint64 `json:"counts"`

	// Sum is that of all durations. (As a time.Duration it could overflow
	// within months: a thousand idle connections add up to a thousand seconds
	// each second.)
	Sum float64 `json:"sum_seconds"`
}

// Count is how many durations there were.
func (h Histogram) Count() uint64 {
	n := uint64(0)
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// IsZero reports whether there were none, for JSON's omitzero.
func (h Histogram) IsZero() bool { return h.Counts == nil }

// Idle ages are of interest where servers' timeouts are: 5 s (uvicorn, Node,
// httpd), 60 s (load balancers), 75 s (nginx), 350 s and 600 s (clouds).
var idleBounds = []time.Duration{
	10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 5 * time.Second, 6 * time.Second,
	10 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second, 60 * time.Second,
	75 * time.Second, 90 * time.Second, 2 * time.Minute, 4 * time.Minute, 6 * time.Minute, 10 * time.Minute,
}

// Dials and waits for a connection take from a loopback's round trip to a
// dialer's timeout.
var tripBounds = []time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond,
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// The numbers of buckets.
const (
	idleBuckets = 21
	tripBuckets = 16
)

// bucket returns the index of the bucket that d belongs to.
func bucket(bounds []time.Duration, d time.Duration) int {
	for i, b := range bounds {
		if d <= b {
			return i
		}
	}
	return len(bounds)
}

// Idle ages and trips are counted by these; their owners guard them.
type (
	idleHistogram struct {
		n   [idleBuckets]uint64
		sum float64 // seconds
	}
	tripHistogram struct {
		n   [tripBuckets]uint64
		sum float64
	}
)

func (h *idleHistogram) observe(d time.Duration) {
	h.n[bucket(idleBounds, d)]++
	h.sum += d.Seconds()
}

func (h *tripHistogram) observe(d time.Duration) {
	h.n[bucket(tripBounds, d)]++
	h.sum += d.Seconds()
}

func (h *idleHistogram) add(o *idleHistogram) {
	for i, n := range o.n {
		h.n[i] += n
	}
	h.sum += o.sum
}

func (h *tripHistogram) add(o *tripHistogram) {
	for i, n := range o.n {
		h.n[i] += n
	}
	h.sum += o.sum
}

func (h *idleHistogram) export() Histogram { return exported(idleBounds, h.n[:], h.sum) }
func (h *tripHistogram) export() Histogram { return exported(tripBounds, h.n[:], h.sum) }

func exported(bounds []time.Duration, counts []uint64, sum float64) Histogram {
	out := Histogram{Bounds: bounds, Sum: sum}
	for _, n := range counts {
		if n > 0 {
			out.Counts = append([]uint64(nil), counts...)
			break
		}
	}
	return out
}

// An atomicHistogram counts idle ages on the way of a request, where no lock is
// held that could guard it.
type atomicHistogram struct {
	n   [idleBuckets]atomic.Uint64
	sum atomic.Uint64 // microseconds, which last for half a million years
}

func (h *atomicHistogram) observe(d time.Duration) {
	h.n[bucket(idleBounds, d)].Add(1)
	h.sum.Add(uint64(max(d, 0) / time.Microsecond))
}

func (h *atomicHistogram) load() (out idleHistogram) {
	for i := range h.n {
		out.n[i] = h.n[i].Load()
	}
	out.sum = float64(h.sum.Load()) / 1e6
	return out
}
