package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/bench/internal/child"
	"github.com/idlewise/idlewise/bench/internal/clients"
	"github.com/idlewise/idlewise/bench/internal/server"
)

// kinds are those that are compared, net/http first.
func kinds() []clients.Kind {
	return append(append([]clients.Kind(nil), clients.Peers...), clients.Idlewise("idlewise", idlewise.Policy{}))
}

// measureAll measures every cell, in about the time of the budget. The largest come
// first: what they take beyond their share is taken from the others' then, down to a
// quarter of what is theirs.
func measureAll(ctx context.Context, o *options, progress io.Writer) ([]*result, error) {
	srv, err := server.Start(ctx)
	if err != nil {
		return nil, err
	}
	defer srv.Stop()
	cells := slices.SortedStableFunc(slices.Values(o.cells()), func(a, b cell) int { return b.size() - a.size() })
	byCell := make(map[cell][]*result)
	until := time.Now().Add(o.budget)
	for i, c := range cells {
		if reason := tooMany(c, srv.Files); reason != "" {
			fmt.Fprintf(progress, "%d/%d %v skipped: %s\n", i+1, len(cells), c, reason)
			continue
		}
		share := max(time.Until(until)/time.Duration(len(cells)-i), o.budget/time.Duration(4*len(cells)))
		results, err := measure(ctx, o, srv, c, share)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", c, err)
		}
		fmt.Fprintf(progress, "%d/%d %v, %d rounds:", i+1, len(cells), c, len(results[0].runs))
		for _, r := range results {
			s := r.summary()
			fmt.Fprintf(progress, " %s %.2f", r.client, s.ratio)
			if s.errors > 0 {
				fmt.Fprintf(progress, " (%d errors, such as %v)", s.errors, r.anError())
			}
		}
		fmt.Fprintln(progress)
		byCell[c] = results
	}
	var all []*result
	for _, c := range o.cells() {
		all = append(all, byCell[c]...)
	}
	return all, nil
}

// A turn is a client that is about to be measured.
type turn struct {
	*result
	dials  atomic.Int64
	client clients.Client
}

// measure lets all clients do the cell's work in rounds. Their order rotates, and
// every second round is backwards, so that none always follows the same one.
func measure(ctx context.Context, o *options, srv *server.Server, c cell, share time.Duration) ([]*result, error) {
	began := time.Now()
	req := c.request(&srv.Ready)
	callers := make(crew, c.callers)
	var turns []*turn
	for _, k := range kinds() {
		if c.protocol == http2 && !k.HTTP2 {
			continue
		}
		t := &turn{result: &result{cell: c, client: k.Name}}
		var err error
		if t.client, err = k.Make(env(srv, c, &t.dials)); err != nil {
			return nil, fmt.Errorf("%s: %w", k.Name, err)
		}
		defer t.client.Close()
		turns = append(turns, t)
	}
	// Opens the connections and fills the pools, which is not what is measured.
	// net/http's last go tells how many requests fit into the time.
	n := max(c.callers, o.fewest)
	var speed time.Duration
	for _, t := range turns {
		for warm := time.Duration(0); warm == 0 || warm < share/time.Duration(20*len(turns)); {
			r, err := callers.drive(ctx, t.client, req, n)
			if err == nil && r.errors == r.requests {
				err = r.lastErr
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.result.client, err)
			}
			warm += r.took
			if t == turns[0] {
				speed = r.perRequest()
			}
		}
	}
	left := share - time.Since(began)
	n = int(left / time.Duration(len(turns)*o.rounds) / max(1, speed))
	n = min(max(n, o.fewest), o.most)
	n = max(1, n/c.callers) * c.callers // the same for each caller

	for round := range o.rounds {
		if took := time.Since(began); round >= o.least && took > share || round > 0 && took > 3*share {
			break
		}
		for i := range turns {
			t := turns[order(round, i, len(turns))]
			r, err := callers.drive(ctx, t.client, req, n)
			if err != nil {
				return nil, err
			}
			t.runs = append(t.runs, r)
		}
		base := turns[0].runs[round]
		for _, t := range turns {
			r := t.runs[round]
			t.ratios = append(t.ratios, float64(r.took)/float64(base.took))
			if base.cpu > 0 {
				t.cpuRatios = append(t.cpuRatios, float64(r.cpu)/float64(base.cpu))
			}
		}
	}
	var results []*result
	for _, t := range turns {
		t.conns = t.dials.Load()
		results = append(results, t.result)
	}
	return results, nil
}

// order says who is the i-th of a round.
func order(round, i, n int) int {
	if round%2 == 1 {
		i = n - 1 - i
	}
	return (i + round/2) % n
}

func env(srv *server.Server, c cell, dials *atomic.Int64) clients.Env {
	e := clients.Env{Address: srv.Plain, Dials: dials}
	if c.protocol == http2 {
		e.Address = srv.TLS
		e.TLS = srv.ClientTLS()
	}
	return e
}

func (r *result) anError() error {
	for _, run := range r.runs {
		if run.lastErr != nil {
			if u, ok := run.lastErr.(*url.Error); ok {
				return u.Err
			}
			return run.lastErr
		}
	}
	return nil
}

// spareFiles is what a process has open besides its connections.
const spareFiles = 100

// tooMany says why a cell's connections cannot all be open, or "".
func tooMany(c cell, serverMay uint64) string {
	need := uint64(spareFiles)
	if c.protocol == http1 {
		need += uint64(len(kinds()) * c.callers)
	}
	for _, limit := range []uint64{child.OpenFiles(), serverMay} {
		if limit > 0 && need > limit {
			return fmt.Sprintf("it needs %d open files in the client and in the server, but the limit (ulimit -n) is %d", need, limit)
		}
	}
	return ""
}
