package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"time"

	"github.com/idlewise/idlewise"
)

// A sample is what the process has at a moment.
type sample struct {
	at         time.Duration
	requests   uint64 // so far
	heap       int64  // bytes that are live
	goroutines int
	files      int // open descriptors; 0 if unknown
	open       int // connections, by Stats
	idle       int
	waiting    int // callers that wait for a connection
	upstreams  int
}

// take samples the process, after a garbage collection.
func take(t *traffic, began time.Time) sample {
	runtime.GC()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	s := sample{
		at: time.Since(began), requests: t.next.Load(), heap: int64(live[0].Value.Uint64()),
		goroutines: runtime.NumGoroutine(), files: openFiles(),
	}
	for _, tr := range []*idlewise.Transport{t.client.http1, t.client.http2} {
		for _, u := range tr.Stats().Upstreams {
			s.open, s.idle, s.waiting = s.open+u.Open, s.idle+u.Idle, s.waiting+u.Waiting
			s.upstreams++
		}
	}
	return s
}

// openFiles counts the process's descriptors, 0 where the system does not tell.
func openFiles() int {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(names) - 1 // without the one that reads
}

const sampleHeader = "    time   requests   heap MiB  goroutines  files  open  idle  waiting  upstreams"

func (s sample) String() string {
	return fmt.Sprintf("%8v %10d %10.2f %11d %6d %5d %5d %8d %10d", s.at.Round(100*time.Millisecond),
		s.requests, mib(s.heap), s.goroutines, s.files, s.open, s.idle, s.waiting, s.upstreams)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// writeHeapProfile writes what is live, as of the last garbage collection.
func writeHeapProfile(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}
