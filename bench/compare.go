package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/idlewise/idlewise/bench/internal/server"
)

const (
	// leastPairs are run even if the time is up.
	leastPairs = 3
	// allocRuns are run for each side to count allocations.
	allocRuns = 3
)

// A sample is one side's part of a row: medians, each per request.
type sample struct {
	time   time.Duration
	cpu    time.Duration // of this process
	allocs float64
	bytes  float64
}

// A row compares the sides under one workload.
type row struct {
	workload workload
	pairs    int
	ratio    float64 // of idlewise's time to net/http's, the pairs' median
	cpuRatio float64 // of the processor time
	sides    [len(bothSides)]sample
}

// compareAll measures every workload.
func compareAll(ctx context.Context, o *options, progress io.Writer) ([]row, error) {
	srv, err := server.Start(ctx)
	if err != nil {
		return nil, err
	}
	defer srv.Stop()
	all := o.workloads()
	deadline := time.Now().Add(o.budget)
	var rows []row
	for i, w := range all {
		share := time.Until(deadline) / time.Duration(len(all)-i)
		r, err := compare(ctx, o, srv, w, share)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", w, err)
		}
		fmt.Fprintf(progress, "%d/%d %v: %.3f of net/http's time, %.3f of its processor time, %+.1f allocations\n",
			i+1, len(all), w, r.ratio, r.cpuRatio, r.sides[1].allocs-r.sides[0].allocs)
		rows = append(rows, r)
	}
	return rows, nil
}

// compare measures one workload, in about the time that share allows.
func compare(ctx context.Context, o *options, srv *server.Server, w workload, share time.Duration) (row, error) {
	until := time.Now().Add(share)
	r := row{workload: w}
	if err := r.countAllocs(ctx, o, srv); err != nil {
		return row{}, err
	}
	var times, cpus [len(bothSides)][]time.Duration
	var ratios, cpuRatios []float64
	for ; r.pairs < o.pairs; r.pairs++ {
		if r.pairs >= leastPairs && time.Now().After(until) {
			break
		}
		// Each pair has transports of its own, lest what is chance and lasts as long
		// as a transport, such as where it lies in memory, is taken for a difference.
		p, err := newPair(ctx, o, srv, w, r.pairs)
		if err != nil {
			return row{}, err
		}
		costs, err := p.run(ctx, o.perRun(w))
		p.close()
		if err != nil {
			return row{}, err
		}
		var each, cpu [len(bothSides)]time.Duration
		for i, c := range costs {
			each[i], cpu[i] = c.time/time.Duration(c.requests), c.cpu/time.Duration(c.requests)
			times[i], cpus[i] = append(times[i], each[i]), append(cpus[i], cpu[i])
		}
		ratios = append(ratios, float64(each[1])/float64(each[0]))
		if cpu[0] > 0 {
			cpuRatios = append(cpuRatios, float64(cpu[1])/float64(cpu[0]))
		}
	}
	r.ratio, r.cpuRatio = median(ratios), median(cpuRatios)
	for i := range bothSides {
		r.sides[i].time, r.sides[i].cpu = median(times[i]), median(cpus[i])
	}
	return r, nil
}

// countAllocs counts what a request allocates on each side.
func (r *row) countAllocs(ctx context.Context, o *options, srv *server.Server) error {
	p, err := newPair(ctx, o, srv, r.workload, 0)
	if err != nil {
		return err
	}
	defer p.close()
	for i := range bothSides {
		var allocs, bytes []float64
		for range allocRuns {
			c, err := p.drive(ctx, i, o.perShortRun(r.workload), true)
			if err != nil {
				return err
			}
			allocs = append(allocs, float64(c.allocs)/float64(c.requests))
			bytes = append(bytes, float64(c.bytes)/float64(c.requests))
		}
		r.sides[i].allocs, r.sides[i].bytes = median(allocs), median(bytes)
	}
	return nil
}

// A pair is a transport of each side, with its connections.
type pair struct {
	workload workload
	url      string
	sides    [len(bothSides)]side
	rts      [len(bothSides)]http.RoundTripper
	first    int // the side that was made first, and begins
}

// newPair makes the pair with the given number: who is first alternates.
func newPair(ctx context.Context, o *options, srv *server.Server, w workload, number int) (*pair, error) {
	p := &pair{workload: w, url: srv.URL(w.protocol.overTLS()), sides: bothSides, first: number % len(bothSides)}
	if o.control {
		p.sides[1] = p.sides[0]
	}
	for turn := range p.sides {
		i := p.turn(turn)
		rt, err := newTransport(p.sides[i], w.protocol, &srv.Ready)
		if err != nil {
			p.close()
			return nil, err
		}
		p.rts[i] = rt
		// Opens the connections, which is not what is measured.
		if _, err := p.drive(ctx, i, o.perShortRun(w), false); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

func (p *pair) turn(n int) int { return (n + p.first) % len(p.sides) }

// run drives each side once, the first one first.
func (p *pair) run(ctx context.Context, requests int) (costs [len(bothSides)]cost, err error) {
	for turn := range costs {
		i := p.turn(turn)
		if costs[i], err = p.drive(ctx, i, requests, false); err != nil {
			break
		}
	}
	return costs, err
}

func (p *pair) drive(ctx context.Context, i, requests int, countAllocs bool) (cost, error) {
	c, err := p.workload.drive(ctx, p.rts[i], p.url, requests, countAllocs)
	if err != nil {
		err = fmt.Errorf("%s: %w", p.sides[i], err)
	}
	return c, err
}

func (p *pair) close() {
	for _, rt := range p.rts {
		if rt != nil {
			closeTransport(rt)
		}
	}
}

// median returns the middle one, or the mean of the two in the middle.
func median[T ~int64 | ~float64](xs []T) T {
	xs = slices.Sorted(slices.Values(xs))
	n := len(xs)
	if n == 0 {
		return 0
	}
	return (xs[(n-1)/2] + xs[n/2]) / 2
}
