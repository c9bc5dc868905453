package memnet_test

import (
	"io"
	"testing"
	"time"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

// What virtual time costs in real time: go test -run '^$' -bench Virtual.

var benchmarked = []struct {
	name string
	opts memnet.Options
}{
	{"no-latency", memnet.Options{}},
	{"50ms", far},
	{"50ms-in-Ethernet-segments", memnet.Options{Latency: latency, SegmentSize: 1460,
		SendBuffer: 1 << 20, ReceiveBuffer: 1 << 20, DelayedAck: 40 * time.Millisecond}},
}

func BenchmarkVirtualTransferOf100MB(b *testing.B) {
	benchmark(b, func(t *testing.T, client, server *memnet.Conn) {
		const megabytes = 100
		go func() {
			chunk := make([]byte, 1<<20)
			for range megabytes {
				client.Write(chunk)
			}
			client.CloseWrite()
		}()
		if n, err := io.Copy(io.Discard, server); n != megabytes<<20 || err != nil {
			t.Error(n, err)
		}
	})
}

func BenchmarkVirtual100000RoundTrips(b *testing.B) {
	benchmark(b, func(t *testing.T, client, server *memnet.Conn) {
		go io.Copy(server, server)
		p := make([]byte, 100)
		for range 100_000 {
			client.Write(p)
			if _, err := io.ReadFull(client, p); err != nil {
				t.Error(err)
				break
			}
		}
		client.CloseWrite()
	})
}

// benchmark counts real time: its own goroutine is outside of the bubble.
func benchmark(b *testing.B, run func(t *testing.T, client, server *memnet.Conn)) {
	for _, bm := range benchmarked {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var virtual time.Duration
				inBubble(func(t *testing.T) {
					client, server := connect(t, memnet.New(bm.opts))
					start := time.Now()
					run(t, client, server)
					virtual = time.Since(start)
					client.Close()
					server.Close()
				})
				b.ReportMetric(virtual.Seconds(), "virtual-s/op")
			}
		})
	}
}
