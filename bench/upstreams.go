package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"slices"
	"time"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/bench/internal/child"
	"github.com/idlewise/idlewise/bench/internal/server"
	"github.com/idlewise/idlewise/bench/internal/table"
)

// Many upstreams are many names that all lead to one server. They too are
// measured in a process for each sample.

// A keeping says what becomes of a connection after its response.
type keeping string

const (
	keepAll     keeping = "kept"    // every one stays idle
	keepLimited keeping = "limited" // limitedIdle of them do
	keepNone    keeping = "closed"  // none does: keep-alive is off
)

var allKeepings = []keeping{keepAll, keepLimited, keepNone}

// limitedIdle is idlewise's default for a whole transport, which both have
// here. (http.DefaultTransport has 100.)
const limitedIdle = 1024

// An upstreamsOrder tells a child what to measure, with HTTP/1.
type upstreamsOrder struct {
	Side    side
	Keeping keeping
	Hosts   int
	Server  server.Ready
}

// An upstreamsSample is what it answers. Requests were sent one after the
// other.
type upstreamsSample struct {
	Bytes   float64 // of heap and stacks, in all, after a request to each
	Records int     // idlewise's, after that
	First   spread  // of a request to an upstream that is new
	Again   spread  // of the second one to each, in the same order
	GotConn spread  // within the latter: from GetConn to GotConn
}

// A spread has quantiles.
type spread struct {
	Median, P999 time.Duration
}

func spreadOf(ds []time.Duration) spread {
	slices.Sort(ds)
	return spread{median(ds), ds[min(len(ds)-1, len(ds)*999/1000)]}
}

// sampleUpstreams is the child's work.
func sampleUpstreams(order string, stdout io.Writer) error {
	var o upstreamsOrder
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		return fmt.Errorf("%s: %w", orderVariable, err)
	}
	rt, err := o.transport()
	if err != nil {
		return err
	}
	defer closeTransport(rt)
	for i := range 10 { // whatever is made once
		if err := exchange(context.Background(), rt, http.MethodGet, nameOf(-1-i), nil, 0); err != nil {
			return err
		}
	}
	before := child.MemoryInUse()
	var s upstreamsSample
	first, _, err := askEach(rt, o.Hosts)
	if err != nil {
		return err
	}
	s.First = spreadOf(first)
	first = nil
	s.Bytes = float64(child.MemoryInUse() - before)
	if t, ok := rt.(*idlewise.Transport); ok {
		s.Records = len(t.Stats().Upstreams)
	}
	again, got, err := askEach(rt, o.Hosts)
	if err != nil {
		return err
	}
	s.Again, s.GotConn = spreadOf(again), spreadOf(got)
	runtime.KeepAlive(rt)
	return json.NewEncoder(stdout).Encode(s)
}

// transport makes the side's, whose every name is the server's.
func (o *upstreamsOrder) transport() (http.RoundTripper, error) {
	base := newBase(http1, &o.Server)
	base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, o.Server.Plain)
	}
	maxIdle := -1
	switch o.Keeping {
	case keepLimited:
		base.MaxIdleConns, maxIdle = limitedIdle, limitedIdle
	case keepNone:
		base.DisableKeepAlives = true
	}
	return dress(o.Side, base, maxIdle)
}

func nameOf(i int) string { return fmt.Sprintf("http://upstream%d.test/", i) }

// askEach sends a request to each name and returns how long each took, and
// how long it waited for its connection.
func askEach(rt http.RoundTripper, n int) (requests, gotConn []time.Duration, err error) {
	requests = make([]time.Duration, 0, n)
	gotConn = make([]time.Duration, 0, n)
	var getConn time.Time
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GetConn: func(string) { getConn = time.Now() },
		GotConn: func(httptrace.GotConnInfo) { gotConn = append(gotConn, time.Since(getConn)) },
	})
	for i := range n {
		url := nameOf(i)
		began := time.Now()
		if err := exchange(ctx, rt, http.MethodGet, url, nil, 0); err != nil {
			return nil, nil, fmt.Errorf("upstream %d of %d: %w", i+1, n, err)
		}
		requests = append(requests, time.Since(began))
	}
	return requests, gotConn, nil
}

// An upstreamsRow compares the sides with a number of upstreams.
type upstreamsRow struct {
	hosts   int
	keeping keeping
	skipped string // why it was
	sides   [len(bothSides)]upstreamsSample
}

func measureUpstreams(ctx context.Context, o *options, progress io.Writer) ([]upstreamsRow, error) {
	var rows []upstreamsRow
	for _, n := range o.upstreams {
		for _, k := range o.keepings {
			r := upstreamsRow{hosts: n, keeping: k}
			if k == keepAll {
				r.skipped = tooMany(n)
			}
			for i, s := range bothSides {
				if r.skipped != "" {
					break
				}
				var err error
				r.sides[i], err = ask[upstreamsSample](ctx, roleUpstreams, func(srv server.Ready) any {
					return upstreamsOrder{Side: s, Keeping: k, Hosts: n, Server: srv}
				})
				if err != nil {
					return nil, fmt.Errorf("%d upstreams of %s, %s: %w", n, s, k, err)
				}
			}
			if r.skipped != "" {
				fmt.Fprintf(progress, "skipped %d upstreams, connections %s: %s\n", n, k, r.skipped)
			} else {
				fmt.Fprintf(progress, "%d upstreams, connections %s: done\n", n, k)
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func upstreamsTable(rows []upstreamsRow) named {
	t := named{name: "upstreams", Table: table.Table{Head: []string{
		"upstreams", "connections", "net/http KiB", "idlewise KiB", "net/http bytes each", "idlewise bytes each", "idlewise records",
		"net/http first µs", "idlewise first µs", "net/http first p99.9 µs", "idlewise first p99.9 µs",
		"net/http again µs", "idlewise again µs", "net/http GotConn µs", "idlewise GotConn µs", "remark",
	}}}
	for _, r := range rows {
		cells := make([]string, len(t.Head))
		cells[0], cells[1] = fmt.Sprint(r.hosts), string(r.keeping)
		if r.skipped != "" {
			cells[len(cells)-1] = "skipped: " + r.skipped
		} else {
			for i, s := range r.sides {
				cells[2+i] = fmt.Sprintf("%.0f", s.Bytes/1024)
				cells[4+i] = fmt.Sprintf("%.0f", s.Bytes/float64(r.hosts))
				cells[7+i] = micros(s.First.Median)
				cells[9+i] = micros(s.First.P999)
				cells[11+i] = micros(s.Again.Median)
				cells[13+i] = micros(s.GotConn.Median)
			}
			cells[6] = fmt.Sprint(r.sides[1].Records)
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Nanoseconds())/1000) }
