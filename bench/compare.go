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
	url := srv.URL(w.protocol.overTLS())
	var rts [len(bothSides)]http.RoundTripper
	for i, s := range bothSides {
		rt, err := newTransport(s, w.protocol, &srv.Ready)
		if err != nil {
			return row{}, err
		}
		defer closeTransport(rt)
		rts[i] = rt
		// Opens the connections, which is not what is measured.
		if _, err := w.drive(ctx, rt, url, max(o.requests/4, w.callers), false); err != nil {
			return row{}, fmt.Errorf("%s: %w", s, err)
		}
	}

	r := row{workload: w}
	for i, s := range bothSides {
		var allocs, bytes []float64
		for range allocRuns {
			c, err := w.drive(ctx, rts[i], url, max(o.requests/4, w.callers), true)
			if err != nil {
				return row{}, fmt.Errorf("%s: %w", s, err)
			}
			allocs = append(allocs, float64(c.allocs)/float64(c.requests))
			bytes = append(bytes, float64(c.bytes)/float64(c.requests))
		}
		r.sides[i].allocs, r.sides[i].bytes = median(allocs), median(bytes)
	}

	var times, cpus [len(bothSides)][]time.Duration
	var ratios, cpuRatios []float64
	for ; r.pairs < o.pairs; r.pairs++ {
		if r.pairs >= leastPairs && time.Now().After(until) {
			break
		}
		var pair, cpu [len(bothSides)]time.Duration
		for turn := range bothSides {
			i := (turn + r.pairs) % len(bothSides) // who begins alternates
			c, err := w.drive(ctx, rts[i], url, o.perRun(w), false)
			if err != nil {
				return row{}, fmt.Errorf("%s: %w", bothSides[i], err)
			}
			pair[i] = c.time / time.Duration(c.requests)
			cpu[i] = c.cpu / time.Duration(c.requests)
			times[i], cpus[i] = append(times[i], pair[i]), append(cpus[i], cpu[i])
		}
		ratios = append(ratios, float64(pair[1])/float64(pair[0]))
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

// median returns the middle one, or the mean of the two in the middle.
func median[T ~int64 | ~float64](xs []T) T {
	xs = slices.Sorted(slices.Values(xs))
	n := len(xs)
	if n == 0 {
		return 0
	}
	return (xs[(n-1)/2] + xs[n/2]) / 2
}
