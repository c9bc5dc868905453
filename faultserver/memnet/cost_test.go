package memnet_test

import (
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

// What virtual time costs in real time: go test -run WhatItCosts -v. Only the
// logged figures are of interest; a Benchmark cannot run in a bubble.
func TestWhatItCosts(t *testing.T) {
	const (
		megabytes = 100
		trips     = 100_000
	)
	if testing.Short() {
		t.Skip("takes a second or two")
	}
	ethernet := memnet.Options{Latency: latency, SegmentSize: 1460, SendBuffer: 1 << 20, ReceiveBuffer: 1 << 20, DelayedAck: 40 * time.Millisecond}
	for name, opts := range map[string]memnet.Options{"no latency": {}, "50 ms": far, "50 ms in Ethernet segments": ethernet} {
		cost(t, name+": 100 MB", opts, func(client, server *memnet.Conn) {
			go func() {
				chunk := make([]byte, 1<<20)
				for range megabytes {
					client.Write(chunk)
				}
				client.CloseWrite()
			}()
			n, err := io.Copy(io.Discard, server)
			require.NoError(t, err)
			require.EqualValues(t, megabytes<<20, n)
		})
		cost(t, name+": 100,000 round trips", opts, func(client, server *memnet.Conn) {
			go io.Copy(server, server)
			p := make([]byte, 100)
			for range trips {
				client.Write(p)
				if _, err := io.ReadFull(client, p); err != nil {
					require.NoError(t, err)
				}
			}
			client.CloseWrite()
		})
	}
}

func cost(t *testing.T, what string, opts memnet.Options, run func(client, server *memnet.Conn)) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now() // outside of the bubble: the real clock
	var virtual time.Duration
	between(t, opts, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		start := time.Now()
		run(client, server)
		virtual = time.Since(start)
		client.Close()
		server.Close()
	})
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	t.Logf("%-50s %8v real, %14v virtual, %9d allocations", what, took.Round(time.Millisecond), virtual, after.Mallocs-before.Mallocs)
}
