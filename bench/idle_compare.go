package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/idlewise/idlewise/bench/internal/server"
)

// An idleRow compares the sides with a number of idle connections: medians of
// the samples.
type idleRow struct {
	conns   int
	skipped string // why it was
	sides   [len(bothSides)]idleSample
}

// measureMemory measures the memory of an idle connection; nil if that was
// skipped.
func measureMemory(ctx context.Context, o *options, progress io.Writer) (*idleRow, error) {
	r, err := compareIdle(ctx, o, o.idle, 0, progress)
	if err != nil || r.skipped != "" {
		return nil, err
	}
	return &r, nil
}

// measureCheckouts measures how long it takes to get one of the idle
// connections.
func measureCheckouts(ctx context.Context, o *options, progress io.Writer) ([]idleRow, error) {
	var rows []idleRow
	for _, n := range o.checkout {
		r, err := compareIdle(ctx, o, n, o.requests, progress)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func compareIdle(ctx context.Context, o *options, conns, requests int, progress io.Writer) (idleRow, error) {
	r := idleRow{conns: conns, skipped: tooMany(conns)}
	if r.skipped != "" {
		fmt.Fprintf(progress, "skipped %d idle connections: %s\n", conns, r.skipped)
		return r, nil
	}
	var bytes [len(bothSides)][]float64
	var checkout, request [len(bothSides)][]time.Duration
	for n := range o.samples {
		for turn := range bothSides {
			i := (turn + n) % len(bothSides)
			s, err := ask[idleSample](ctx, roleIdle, func(srv server.Ready) any {
				return idleOrder{Side: bothSides[i], Conns: conns, Requests: requests, Server: srv}
			})
			if err != nil {
				return r, fmt.Errorf("%d idle connections of %s: %w", conns, bothSides[i], err)
			}
			bytes[i] = append(bytes[i], s.Bytes)
			checkout[i] = append(checkout[i], s.Checkout)
			request[i] = append(request[i], s.Request)
		}
	}
	for i := range bothSides {
		r.sides[i] = idleSample{median(bytes[i]), median(checkout[i]), median(request[i])}
	}
	fmt.Fprintf(progress, "%d idle connections done\n", conns)
	return r, nil
}
