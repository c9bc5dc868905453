package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"time"

	"github.com/idlewise/idlewise/bench/internal/child"
	"github.com/idlewise/idlewise/bench/internal/server"
	"github.com/idlewise/idlewise/bench/internal/table"
)

// What a connection costs that is not there any more: the price of closing
// one early.

// A redial is a way to open a connection.
type redial string

const (
	redialTCP          redial = "tcp"
	redialTLS12        redial = "tls1.2"
	redialTLS12Resumed redial = "tls1.2-resumed"
	redialTLS13        redial = "tls1.3"
	redialTLS13Resumed redial = "tls1.3-resumed"
	redialHTTP2        redial = "http2" // over TLS 1.3
	redialHTTP2Resumed redial = "http2-resumed"
)

var allRedials = []redial{redialTCP, redialTLS12, redialTLS12Resumed, redialTLS13, redialTLS13Resumed, redialHTTP2, redialHTTP2Resumed}

func (r redial) protocol() protocol {
	switch r {
	case redialTCP:
		return http1
	case redialHTTP2, redialHTTP2Resumed:
		return http2
	}
	return https1
}

func (r redial) resumed() bool {
	return r == redialTLS12Resumed || r == redialTLS13Resumed || r == redialHTTP2Resumed
}

// transport makes a side's. Sessions are resumed by idlewise as it does by
// itself, and by net/http with a cache as a program would give it one.
func (r redial) transport(s side, srv *server.Ready, m *meter) (http.RoundTripper, error) {
	base := newBase(r.protocol(), srv)
	if r == redialTLS12 || r == redialTLS12Resumed {
		base.TLSClientConfig.MaxVersion = tls.VersionTLS12
	}
	base.TLSClientConfig.SessionTicketsDisabled = !r.resumed()
	if r.resumed() && s == sideNetHTTP {
		base.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	if m != nil {
		base.DialContext = m.dial
	}
	return dress(s, base, -1)
}

// A redialCost is per request.
type redialCost struct {
	time      time.Duration
	clientCPU time.Duration
	serverCPU time.Duration
	allocs    float64
}

func (c redialCost) minus(d redialCost) redialCost {
	return redialCost{c.time - d.time, c.clientCPU - d.clientCPU, c.serverCPU - d.serverCPU, c.allocs - d.allocs}
}

// A redialSample is one side's part of a row: medians.
type redialSample struct {
	fresh redialCost // a connection for each request
	kept  redialCost // one for all
	wire  wire
}

// A redialRow compares the sides.
type redialRow struct {
	redial redial
	ratio  float64 // of the fresh requests' times, the pairs' median
	sides  [len(bothSides)]redialSample
}

func measureRedials(ctx context.Context, o *options, progress io.Writer) ([]redialRow, error) {
	var rows []redialRow
	for _, r := range o.redials {
		row, err := compareRedials(ctx, o, r)
		if err != nil {
			return nil, fmt.Errorf("redials, %s: %w", r, err)
		}
		fmt.Fprintf(progress, "redials, %s: %.3f of net/http's time\n", r, row.ratio)
		rows = append(rows, row)
	}
	return rows, nil
}

func compareRedials(ctx context.Context, o *options, r redial) (redialRow, error) {
	srv, err := server.Start(ctx) // each has ports of its own, none of which is used up
	if err != nil {
		return redialRow{}, err
	}
	defer srv.Stop()
	row := redialRow{redial: r}
	var rts [len(bothSides)]http.RoundTripper
	for i, s := range bothSides {
		if row.sides[i].wire, err = r.weigh(s, srv); err != nil {
			return row, fmt.Errorf("%s: %w", s, err)
		}
		if rts[i], err = r.transport(s, &srv.Ready, nil); err != nil {
			return row, err
		}
		defer closeTransport(rts[i])
		// The first connection has no session to resume.
		if _, err := r.drive(ctx, rts[i], srv, 2, true); err != nil {
			return row, fmt.Errorf("%s: %w", s, err)
		}
	}
	var fresh, kept [len(bothSides)][]redialCost
	var ratios []float64
	for n := range o.pairs {
		for turn := range bothSides {
			i := (turn + n) % len(bothSides) // who begins alternates
			f, err := r.drive(ctx, rts[i], srv, o.dials, true)
			if err == nil {
				fresh[i] = append(fresh[i], f)
				f, err = r.drive(ctx, rts[i], srv, o.dials, false)
				kept[i] = append(kept[i], f)
			}
			if err != nil {
				return row, fmt.Errorf("%s: %w", bothSides[i], err)
			}
		}
		ratios = append(ratios, float64(fresh[1][n].time)/float64(fresh[0][n].time))
	}
	row.ratio = median(ratios)
	for i := range bothSides {
		row.sides[i].fresh, row.sides[i].kept = medianCost(fresh[i]), medianCost(kept[i])
	}
	return row, nil
}

// drive sends n requests, one after the other, and ends each one's connection
// if they are to be fresh.
func (r redial) drive(ctx context.Context, rt http.RoundTripper, srv *server.Server, n int, fresh bool) (redialCost, error) {
	url := srv.URL(r.protocol().overTLS())
	if !fresh { // the one that all use
		if err := exchange(ctx, rt, http.MethodGet, url, nil, 0); err != nil {
			return redialCost{}, err
		}
	}
	serverBefore, err := srv.CPU()
	if err != nil {
		return redialCost{}, err
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began, cpu := time.Now(), child.CPUTime()
	resumed := 0
	for range n {
		state, err := exchangeTLS(ctx, rt, url)
		if err != nil {
			return redialCost{}, err
		}
		if state != nil && state.DidResume {
			resumed++
		}
		if fresh {
			closeTransport(rt)
		}
	}
	took, cpu := time.Since(began), child.CPUTime()-cpu
	runtime.ReadMemStats(&after)
	closeTransport(rt)
	serverAfter, err := srv.CPU()
	if err != nil {
		return redialCost{}, err
	}
	switch {
	case !fresh:
	case r.resumed() && resumed < n-1: // the first one may have had nothing to resume
		return redialCost{}, fmt.Errorf("only %d of %d handshakes resumed a session", resumed, n)
	case !r.resumed() && resumed > 0:
		return redialCost{}, fmt.Errorf("%d of %d handshakes resumed a session, and none was to", resumed, n)
	}
	each := time.Duration(n)
	return redialCost{took / each, cpu / each, (serverAfter - serverBefore) / each, float64(after.Mallocs-before.Mallocs) / float64(n)}, nil
}

// exchangeTLS makes a request and returns what its connection's handshake
// came to, nil without TLS.
func exchangeTLS(ctx context.Context, rt http.RoundTripper, url string) (*tls.ConnectionState, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d", url, resp.StatusCode)
	}
	return resp.TLS, nil
}

func medianCost(cs []redialCost) redialCost {
	of := func(get func(redialCost) float64) float64 {
		var xs []float64
		for _, c := range cs {
			xs = append(xs, get(c))
		}
		return median(xs)
	}
	return redialCost{
		time:      time.Duration(of(func(c redialCost) float64 { return float64(c.time) })),
		clientCPU: time.Duration(of(func(c redialCost) float64 { return float64(c.clientCPU) })),
		serverCPU: time.Duration(of(func(c redialCost) float64 { return float64(c.serverCPU) })),
		allocs:    of(func(c redialCost) float64 { return c.allocs }),
	}
}

func redialTable(rows []redialRow) named {
	t := named{name: "redials", Table: table.Table{Head: []string{
		"connection", "round trips", "net/http bytes out, in", "idlewise bytes out, in",
		"net/http µs", "idlewise µs", "ratio",
		"net/http on a kept one µs", "idlewise on a kept one µs", "net/http costs µs", "idlewise costs µs",
		"net/http CPU µs", "idlewise CPU µs", "server's CPU µs", "net/http allocs", "idlewise allocs",
	}}}
	for _, r := range rows {
		a, b := r.sides[0], r.sides[1]
		trips := fmt.Sprint(b.wire.roundTrips)
		if a.wire.roundTrips != b.wire.roundTrips {
			trips = fmt.Sprintf("%d, %d", a.wire.roundTrips, b.wire.roundTrips)
		}
		more, moreB := a.fresh.minus(a.kept), b.fresh.minus(b.kept)
		t.Rows = append(t.Rows, []string{
			string(r.redial), trips,
			fmt.Sprintf("%d, %d", a.wire.sent, a.wire.received), fmt.Sprintf("%d, %d", b.wire.sent, b.wire.received),
			micros(a.fresh.time), micros(b.fresh.time), fmt.Sprintf("%.3f", r.ratio),
			micros(a.kept.time), micros(b.kept.time), micros(more.time), micros(moreB.time),
			micros(more.clientCPU), micros(moreB.clientCPU), micros(moreB.serverCPU),
			fmt.Sprintf("%.0f", more.allocs), fmt.Sprintf("%.0f", moreB.allocs),
		})
	}
	return t
}
