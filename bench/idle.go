package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"time"

	"github.com/idlewise/idlewise/bench/internal/child"
	"github.com/idlewise/idlewise/bench/internal/server"
)

// Idle connections are measured in a process for each sample, since what one
// transport has left behind in the runtime, such as goroutines to be used
// again, would count for the next.

// An idleOrder tells a child what to measure, with HTTP/1.
type idleOrder struct {
	Side     side
	Conns    int
	Requests int // checkouts
	Server   server.Ready
}

// An idleSample is what it answers.
type idleSample struct {
	Bytes    float64       // of heap and stacks per idle connection
	Checkout time.Duration // median from GetConn to GotConn
	Request  time.Duration // median of a whole request
}

// sampleIdle is the child's work.
func sampleIdle(order string, stdout io.Writer) error {
	var o idleOrder
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		return fmt.Errorf("%s: %w", orderVariable, err)
	}
	rt, err := newTransport(o.Side, http1, &o.Server)
	if err != nil {
		return err
	}
	url := o.Server.URL(false)
	w := workload{http1, 1, bodyEmpty, contextBackground}
	for range 10 { // whatever is made once
		if err := w.send(rt, url); err != nil {
			return err
		}
	}
	before := child.MemoryInUse()
	if err := openIdle(rt, url, o.Conns); err != nil {
		return err
	}
	var s idleSample
	s.Bytes = float64(child.MemoryInUse()-before) / float64(o.Conns)
	if o.Requests > 0 {
		if s.Checkout, s.Request, err = checkouts(rt, url, o.Requests); err != nil {
			return err
		}
	}
	runtime.KeepAlive(rt)
	return json.NewEncoder(stdout).Encode(s)
}

// openIdle makes n connections idle. Responses that are not read yet hold
// them, so that one caller suffices and no goroutine is left behind.
func openIdle(rt http.RoundTripper, url string, n int) error {
	held := make([]io.ReadCloser, 0, n)
	defer func() {
		for _, b := range held {
			b.Close()
		}
	}()
	for range n {
		req, err := http.NewRequest(http.MethodGet, url+"byte", nil)
		if err != nil {
			return err
		}
		resp, err := rt.RoundTrip(req)
		if err != nil {
			return fmt.Errorf("opening connection %d of %d: %w", len(held)+1, n, err)
		}
		held = append(held, resp.Body)
	}
	for _, b := range held {
		if _, err := io.Copy(io.Discard, b); err != nil {
			return err
		}
	}
	return nil
}

// checkouts sends n requests and times what both transports tell of by
// httptrace: how long it takes to get a connection.
func checkouts(rt http.RoundTripper, url string, n int) (checkout, request time.Duration, err error) {
	var getConn time.Time
	var waits, totals []time.Duration
	reused := true
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GetConn: func(string) { getConn = time.Now() },
		GotConn: func(info httptrace.GotConnInfo) {
			waits = append(waits, time.Since(getConn))
			reused = reused && info.Reused
		},
	})
	for range n {
		began := time.Now()
		if err := exchange(ctx, rt, http.MethodGet, url, nil, 0); err != nil {
			return 0, 0, err
		}
		totals = append(totals, time.Since(began))
	}
	if !reused {
		return 0, 0, fmt.Errorf("a connection was opened though some were idle")
	}
	return median(waits), median(totals), nil
}

// spareFiles is what a process has open besides its connections.
const spareFiles = 100

// tooMany says why n connections cannot be opened, or "". A child has the
// same limit as this process, to which it belongs.
func tooMany(n int) string {
	limit := child.OpenFiles()
	if limit == 0 || uint64(n+spareFiles) <= limit {
		return ""
	}
	return fmt.Sprintf("%d connections need %d open files in the client and in the server, but the limit (ulimit -n) is %d", n, n+spareFiles, limit)
}
