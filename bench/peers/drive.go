package main

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/idlewise/idlewise/bench/internal/child"
	"github.com/idlewise/idlewise/bench/internal/clients"
)

// A crew is the callers of a cell, each with a buffer for the response.
type crew []bytes.Buffer

// drive lets each caller send its share of n requests through the client. An error
// ends a request, not the run.
func (callers crew) drive(ctx context.Context, c clients.Client, req *clients.Request, n int) (*sample, error) {
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	each := make([][]time.Duration, len(callers))
	errs := make([]int, len(callers))
	last := make([]error, len(callers))
	for i := range callers {
		share := n / len(callers)
		if i < n%len(callers) {
			share++
		}
		each[i] = make([]time.Duration, 0, share)
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			for range share {
				if ctx.Err() != nil {
					return
				}
				began := time.Now()
				err := c.Do(req, &callers[i])
				took := time.Since(began)
				if err == nil && callers[i].Len() != len(req.Body) {
					err = fmt.Errorf("a response of %d bytes, want %d", callers[i].Len(), len(req.Body))
				}
				if err != nil {
					errs[i]++
					last[i] = err
					continue
				}
				each[i] = append(each[i], took)
			}
		})
	}
	ready.Wait()
	runtime.GC() // what came before is not this run's to clean up
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, cpu := time.Now(), child.CPUTime()
	close(begin)
	done.Wait()
	r := &sample{requests: n, took: time.Since(began), cpu: child.CPUTime() - cpu}
	runtime.ReadMemStats(&after)
	r.allocs, r.bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	r.each = slices.Sorted(slices.Values(slices.Concat(each...)))
	for i := range callers {
		r.errors += errs[i]
		if last[i] != nil {
			r.lastErr = last[i]
		}
	}
	return r, ctx.Err()
}
