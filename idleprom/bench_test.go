package idleprom

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

// BenchmarkSeen compares a Transport of which nobody wants to know anything with
// one that has OnEvent, a Logger and a Collector that is scraped every 100 ms, in
// one run, taking turns: seen/unseen is the median of the pairs' ratios of time,
// allocs the difference of allocations per request. same/same is what the
// machine makes of two equal ones.
func BenchmarkSeen(b *testing.B) {
	for _, callers := range []int{1, 16} {
		b.Run(map[int]string{1: "1caller", 16: "16callers"}[callers], func(b *testing.B) { compare(b, callers) })
	}
}

const (
	benchPairs    = 31
	benchRequests = 2000
)

func compare(b *testing.B, callers int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go server.Serve(l)
	defer server.Close()

	newTransport := func(cfg idlewise.Config) *idlewise.Transport {
		tr, err := idlewise.New(cfg)
		require.NoError(b, err)
		b.Cleanup(func() { tr.Close() })
		return tr
	}
	unseen, twin := newTransport(idlewise.Config{}), newTransport(idlewise.Config{})
	seen := newTransport(idlewise.Config{OnEvent: func(idlewise.Event) {}, Logger: slog.New(slog.DiscardHandler)})
	registry := registered(b, NewCollector(seen))
	stop := scrapeEvery(b, registry, 100*time.Millisecond)
	defer stop()

	send := func(tr *idlewise.Transport, n int) time.Duration {
		began := time.Now()
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				req, _ := http.NewRequest("GET", "http://"+l.Addr().String(), nil)
				for range n / callers {
					resp, err := tr.RoundTrip(req)
					if err != nil {
						b.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		}
		wg.Wait()
		return time.Since(began)
	}
	ratio := func(x, y *idlewise.Transport) float64 {
		var ratios []float64
		for i := range benchPairs {
			var tx, ty time.Duration
			if i%2 == 0 {
				tx, ty = send(x, benchRequests), send(y, benchRequests)
			} else {
				ty, tx = send(y, benchRequests), send(x, benchRequests)
			}
			ratios = append(ratios, float64(tx)/float64(ty))
		}
		slices.Sort(ratios)
		return ratios[len(ratios)/2]
	}
	for _, tr := range []*idlewise.Transport{unseen, twin, seen} {
		send(tr, benchRequests) // opens the connections
	}
	var seenRatio, sameRatio float64
	for b.Loop() {
		seenRatio, sameRatio = ratio(seen, unseen), ratio(twin, unseen)
	}
	stop()
	allocs := func(tr *idlewise.Transport) float64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		send(tr, benchRequests)
		runtime.ReadMemStats(&after)
		return float64(after.Mallocs-before.Mallocs) / benchRequests
	}
	b.ReportMetric(seenRatio, "seen/unseen")
	b.ReportMetric(sameRatio, "same/same")
	b.ReportMetric(allocs(seen)-allocs(unseen), "allocs")
	b.ReportMetric(0, "ns/op")
}

// scrapeEvery scrapes until the function that it returns is called.
func scrapeEvery(b *testing.B, g prometheus.Gatherer, every time.Duration) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				if _, err := g.Gather(); err != nil {
					b.Error(err)
				}
			case <-end:
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(end)
		<-ended
	})
}
