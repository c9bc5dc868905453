package memnet_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestDataArrivesExactlyOneLatencyLater(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		takes(t, 0, func() { write(t, client, request) })
		takes(t, latency, func() { readFull(t, server, request) })
		write(t, server, "HTTP/1.1 200 OK")
		takes(t, latency, func() { readFull(t, client, "HTTP/1.1 200 OK") })
	})
}

func TestDialTakesARoundTripAndAcceptOneLatencyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		l, err := n.Listen(server)
		require.NoError(t, err)
		takes(t, 2*latency, func() {
			_, err := n.DialContext(context.Background(), "tcp", server)
			require.NoError(t, err)
		})
		takes(t, latency, func() {
			_, err := l.Accept()
			require.NoError(t, err)
		})
	})
}

func TestWithoutLatencyEverythingArrivesBeforeTheCallReturns(t *testing.T) {
	between(t, memnet.Options{}, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		takes(t, 0, func() {
			write(t, client, request)
			require.EqualValues(t, len(request), server.Accounting().Received)
			require.EqualValues(t, 1+len(request), client.Accounting().Acked)
			readFull(t, server, request)
			require.NoError(t, server.Close())
			require.Equal(t, memnet.CloseWait, client.Accounting().State)
		})
	})
}

func TestAPacketDoesNotOvertakeOneThatWasSentWhenTheNetworkWasSlower(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, server *memnet.Conn) {
		write(t, client, "slow")
		n.SetLatency(0)
		write(t, client, "fast")
		takes(t, latency, func() { readFull(t, server, "slowfast") })
		write(t, client, "faster")
		takes(t, 0, func() { readFull(t, server, "faster") })
	})
}

// arrivals sends numbered bytes and returns when each arrived; busy makes
// another connection draw jitter at the same time.
func arrivals(t *testing.T, seed uint64, busy bool) (at []time.Duration) {
	between(t, memnet.Options{Latency: latency, Jitter: 4 * latency, Seed: seed}, func(t *testing.T, n *memnet.Network, client, server *memnet.Conn) {
		if busy {
			other, _ := connect(t, n)
			go func() {
				for range 100 {
					other.Write([]byte("elsewhere"))
					time.Sleep(3 * time.Millisecond)
				}
			}()
		}
		start := time.Now()
		go func() {
			for i := range 200 {
				client.Write([]byte{byte(i)})
				time.Sleep(time.Millisecond)
			}
		}()
		for i := range 200 {
			b := make([]byte, 1)
			_, err := server.Read(b)
			require.NoError(t, err)
			require.Equal(t, byte(i), b[0], "jitter must not reorder")
			at = append(at, time.Since(start))
		}
	})
	return at
}

func TestJitterKeepsTheOrderAndFollowsTheSeed(t *testing.T) {
	first := arrivals(t, 1, false)
	require.Equal(t, first, arrivals(t, 1, false))
	require.Equal(t, first, arrivals(t, 1, true), "each connection has a sequence of its own")
	require.NotEqual(t, first, arrivals(t, 2, false))
	for i, at := range first {
		sent := time.Duration(i) * time.Millisecond
		require.GreaterOrEqual(t, at, sent+latency)
		require.LessOrEqual(t, at, sent+5*latency)
	}
}
