package faultserver_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// BenchmarkThroughput asks this server and net/http's in turn, eleven times,
// over 256 connections each, and reports the medians of the requests per second
// and of the eleven ratios. Each round is bounded by time, so run it with
//
//	go test ./faultserver -run '^$' -bench Throughput -benchtime 1x
func BenchmarkThroughput(b *testing.B) {
	const pairs, conns, round = 11, 256, 500 * time.Millisecond
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "hello")
	})
	standard := httptest.NewServer(handler)
	defer standard.Close()
	ours, err := faultserver.New(faultserver.Config{Handler: handler})
	require.NoError(b, err)
	defer ours.Close()
	mine := openMany(b, ours.Addr().String(), conns)
	theirs := openMany(b, standard.Listener.Addr().String(), conns)
	for b.Loop() {
		var m, s, ratios []float64
		for range pairs {
			m = append(m, requestsPerSecond(b, mine, round))
			s = append(s, requestsPerSecond(b, theirs, round))
			ratios = append(ratios, m[len(m)-1]/s[len(s)-1])
		}
		b.ReportMetric(median(m), "faultserver-req/s")
		b.ReportMetric(median(s), "net/http-req/s")
		b.ReportMetric(median(ratios), "ratio")
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func openMany(b *testing.B, addr string, n int) []net.Conn {
	conns := make([]net.Conn, n)
	for i := range conns {
		nc, err := net.Dial("tcp", addr)
		require.NoError(b, err)
		b.Cleanup(func() { nc.Close() })
		conns[i] = nc
	}
	return conns
}

// requestsPerSecond keeps every connection busy for a time with as little work
// on the client's side as possible.
func requestsPerSecond(b *testing.B, conns []net.Conn, round time.Duration) float64 {
	request := []byte("GET /path HTTP/1.1\r\nHost: test\r\nUser-Agent: bench\r\n\r\n")
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	start := time.Now()
	for _, nc := range conns {
		wg.Go(func() {
			n := 0
			buf := make([]byte, 1024)
			for time.Since(start) < round {
				if _, err := nc.Write(request); err != nil {
					b.Error(err)
					return
				}
				for got := 0; !bytes.HasSuffix(buf[:got], []byte("hello")); {
					k, err := nc.Read(buf[got:])
					if err != nil {
						b.Error(err)
						return
					}
					got += k
				}
				n++
			}
			mu.Lock()
			total += n
			mu.Unlock()
		})
	}
	wg.Wait()
	return float64(total) / time.Since(start).Seconds()
}
