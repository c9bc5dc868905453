package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/idlewise/idlewise/bench/internal/child"
)

type (
	protocol    string
	body        string
	contextKind string
)

const (
	http1  protocol = "http1"
	https1 protocol = "https1" // HTTP/1 over TLS
	http2  protocol = "http2"  // over TLS
	h2c    protocol = "h2c"    // HTTP/2 with prior knowledge, without TLS

	bodyEmpty body = "empty"
	body4KiB  body = "4KiB"

	contextBackground contextKind = "background"
	contextCancelable contextKind = "cancelable" // one of its own for each request
)

var allProtocols = []protocol{http1, https1, http2, h2c}

// overTLS reports whether the protocol runs over TLS.
func (p protocol) overTLS() bool { return p == https1 || p == http2 }

const bodySize = 4096

var payload = bytes.Repeat([]byte{'x'}, bodySize)

// A workload is what a row measures.
type workload struct {
	protocol protocol
	callers  int
	body     body
	context  contextKind
}

func (w workload) String() string {
	return fmt.Sprintf("%s-%d-%s-%s", w.protocol, w.callers, w.body, w.context)
}

// send makes one request as a program would, and reads the response.
func (w workload) send(rt http.RoundTripper, url string) error {
	ctx := context.Background()
	if w.context == contextCancelable {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
	}
	if w.body == bodyEmpty {
		return exchange(ctx, rt, http.MethodGet, url, nil, 0)
	}
	return exchange(ctx, rt, http.MethodPost, url, bytes.NewReader(payload), bodySize)
}

func exchange(ctx context.Context, rt http.RoundTripper, method, url string, body io.Reader, want int64) error {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK || n != want:
		return fmt.Errorf("%s %s: status %d with %d bytes, want %d", method, url, resp.StatusCode, n, want)
	}
	return nil
}

// A cost is what requests took, in all.
type cost struct {
	requests int
	time     time.Duration
	cpu      time.Duration // of this process
	allocs   uint64
	bytes    uint64
}

// drive sends n requests from exactly as many goroutines as the workload has
// callers. Allocations are counted only on demand, since that stops the world.
func (w workload) drive(ctx context.Context, rt http.RoundTripper, url string, n int, countAllocs bool) (cost, error) {
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	errs := make(chan error, w.callers)
	for i := range w.callers {
		share := n / w.callers
		if i < n%w.callers {
			share++
		}
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			for range share {
				err := w.send(rt, url)
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	ready.Wait()
	runtime.GC() // what came before is not this run's to clean up
	var before, after runtime.MemStats
	if countAllocs {
		runtime.ReadMemStats(&before)
	}
	began, cpu := time.Now(), child.CPUTime()
	close(begin)
	done.Wait()
	c := cost{requests: n, time: time.Since(began), cpu: child.CPUTime() - cpu}
	if countAllocs {
		runtime.ReadMemStats(&after)
		c.allocs = after.Mallocs - before.Mallocs
		c.bytes = after.TotalAlloc - before.TotalAlloc
	}
	select {
	case err := <-errs:
		return c, err
	default:
		return c, nil
	}
}
