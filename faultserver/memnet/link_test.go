package memnet_test

import (
	"bytes"
	"context"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

// delays sends packets far enough apart that none waits for another, and returns
// how long each took.
func delays(t *testing.T, opts memnet.Options, packets int) (took []time.Duration) {
	between(t, opts, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		for range packets {
			sent := time.Now()
			write(t, client, "x")
			readFull(t, server, "x")
			took = append(took, time.Since(sent))
			pass(time.Second) // for the acknowledgement
		}
	})
	return took
}

func TestJitterIsSpreadEvenlyBetweenItsBounds(t *testing.T) {
	const packets, jitter, tenths = 5000, 30 * time.Millisecond, 10
	var counts [tenths]int
	for _, d := range delays(t, memnet.Options{Latency: latency, Jitter: jitter, Seed: 1}, packets) {
		require.GreaterOrEqual(t, d, latency)
		require.LessOrEqual(t, d, latency+jitter)
		counts[min(tenths-1, int(tenths*(d-latency)/jitter))]++
	}
	for tenth, count := range counts {
		// 500 each are expected, with a standard deviation of 21.
		require.InDelta(t, packets/tenths, count, 100, "tenth %d of %v", tenth, counts)
	}
}

func TestLossesDoNotChangeTheJitter(t *testing.T) {
	quiet := delays(t, memnet.Options{Jitter: latency, Seed: 7}, 20)
	lossy := delays(t, memnet.Options{Jitter: latency, Seed: 7, Loss: 1e-9}, 20)
	require.Equal(t, quiet, lossy)
}

func TestALostPacketHoldsUpWhatIsBehindItForATimeout(t *testing.T) {
	between(t, lazy, func(t *testing.T, n *memnet.Network, client, server *memnet.Conn) {
		require.NoError(t, n.SetLink("", "10.0.0.1:80", memnet.Link{Latency: latency, Loss: 1}))
		write(t, client, "first,")
		require.NoError(t, n.SetLink("", "10.0.0.1:80", memnet.Link{Latency: latency}))
		write(t, client, "second")
		pass(2 * latency)
		require.Zero(t, server.Accounting().Received, "the second has arrived and waits")
		require.EqualValues(t, 1, client.Accounting().Acked)
		// The timeout is a round trip and 200 ms.
		takes(t, 200*time.Millisecond+latency, func() { readFull(t, server, "first,second") })
		require.Equal(t, 1, client.Accounting().Retransmits)
		pass(latency)
		require.EqualValues(t, 1+len("first,second"), client.Accounting().Acked, "at once, since a gap was filled")
		require.Equal(t, 2*latency, client.Accounting().RTT, "what was sent twice measures nothing")
	})
}

// lossyTransfer sends data both ways over a bad network and returns how long it
// took until each end had read everything.
func lossyTransfer(t *testing.T, seed uint64) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(memnet.Options{Latency: 5 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.2, Seed: seed,
			SegmentSize: 1460, SendBuffer: 20000, ReceiveBuffer: 9000, DelayedAck: 40 * time.Millisecond})
		l, err := n.Listen(server)
		require.NoError(t, err)
		start := time.Now()
		c, err := n.DialContext(context.Background(), "tcp", server)
		require.NoError(t, err)
		sent := make([]byte, 100_000)
		for i := range sent {
			sent[i] = byte(i >> 3)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(s, s)
			s.Close()
		}()
		go func() {
			c.Write(sent)
			c.(*memnet.Conn).CloseWrite()
		}()
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.True(t, bytes.Equal(sent, got))
		<-done
		took = time.Since(start)
		require.NoError(t, c.Close())
		time.Sleep(time.Hour)
		require.Equal(t, memnet.Closed, c.(*memnet.Conn).Accounting().State)
		require.Zero(t, c.(*memnet.Conn).Accounting().Queued)
	})
	return took
}

func TestEverythingArrivesInOrderOverALossyNetworkAndFollowsTheSeed(t *testing.T) {
	seen := make(map[time.Duration]bool)
	for seed := range uint64(20) {
		took := lossyTransfer(t, seed)
		require.Equal(t, took, lossyTransfer(t, seed), "seed %d", seed)
		seen[took] = true
	}
	require.Len(t, seen, 20)
}

func TestAConnectionIsAcceptedThoughTheHandshakesLastPacketWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		l, err := n.Listen(server)
		require.NoError(t, err)
		time.AfterFunc(latency+1, func() { n.Cut(server, true) })
		time.AfterFunc(latency+2, func() { n.Cut(server, false) })
		// The answer is on its way then, so let only the third packet be lost.
		require.NoError(t, n.SetLink("", server, memnet.Link{Latency: latency}))
		c, err := n.DialContext(context.Background(), "tcp", server)
		require.NoError(t, err)
		n.Cut(server, true)
		pass(latency)
		n.Cut(server, false)
		start := time.Now()
		s, err := l.Accept()
		require.NoError(t, err)
		// It is asked for a second after the first packet was answered, which
		// was two latencies ago; its way and the answer's are two more.
		require.Equal(t, time.Second-2*latency+2*latency, time.Since(start))
		write(t, s, "220 ready")
		readFull(t, c, "220 ready")
	})
}

func TestBandwidthIsSharedByNobody(t *testing.T) {
	opts := memnet.Options{Latency: latency, Bandwidth: 10_000, SegmentSize: 1000}
	between(t, opts, func(t *testing.T, n *memnet.Network, client, server *memnet.Conn) {
		takes(t, 0, func() { write(t, client, string(make([]byte, 20_000))) })
		takes(t, 100*time.Millisecond+latency, func() {
			first := make([]byte, 20_000)
			count, err := server.Read(first)
			require.NoError(t, err)
			require.Equal(t, 1000, count, "a segment at a time")
		})
		takes(t, 1900*time.Millisecond, func() { io.ReadFull(server, make([]byte, 19_000)) })
		require.Zero(t, client.Accounting().Retransmits, "what waits to leave is not lost")
		takes(t, latency+100*time.Microsecond, func() { // the other direction is free
			write(t, server, "x")
			readFull(t, client, "x")
		})
	})
}

func TestTheMostSpecificLinkCounts(t *testing.T) {
	between(t, memnet.Options{Latency: 1 * time.Millisecond}, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		upload := func() (took time.Duration) {
			start := time.Now()
			write(t, client, "x")
			readFull(t, accepted, "x")
			return time.Since(start)
		}
		local := client.LocalAddr().String()
		require.Equal(t, 1*time.Millisecond, upload())
		require.NoError(t, n.SetLink("", "10.0.0.1", memnet.Link{Latency: 2 * time.Millisecond}))
		require.Equal(t, 2*time.Millisecond, upload())
		require.NoError(t, n.SetLink(local, server, memnet.Link{Latency: 4 * time.Millisecond}))
		require.NoError(t, n.SetLink("", server, memnet.Link{Latency: 3 * time.Millisecond}))
		require.Equal(t, 4*time.Millisecond, upload(), "both ends are named, and so it counts though it is older")
		require.NoError(t, n.SetLink(server, "", memnet.Link{Latency: time.Hour}), "the other way")
		require.Equal(t, 4*time.Millisecond, upload())
		require.NoError(t, n.SetLink(local, server, memnet.Link{}))
		require.Zero(t, upload())
		n.SetLatency(time.Hour)
		require.Zero(t, upload(), "the default has no say")
	})
}

func TestALinkOutOfRangeIsAnErrorThatNamesTheField(t *testing.T) {
	n := memnet.New(memnet.Options{})
	for field, link := range map[string]memnet.Link{
		"Latency": {Latency: -1}, "Jitter": {Jitter: -1}, "Bandwidth": {Bandwidth: -1}, "Loss": {Loss: 1.1},
	} {
		require.ErrorContains(t, n.SetLink("", "", link), field)
	}
	require.ErrorContains(t, n.SetLink("10.0.0.1:http", "", memnet.Link{}), "from")
	require.ErrorContains(t, n.SetLink("", "10.0.0.1:http", memnet.Link{}), "to")
}

func TestAForgottenConnectionDrawsARSTAndTheOtherEndHearsNothing(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		n.Forget("10.0.0.1")
		pass(time.Hour)
		require.Equal(t, memnet.Established, client.Accounting().State)
		write(t, client, request)
		takes(t, 2*latency, func() { require.ErrorIs(t, readError(client), syscall.ECONNRESET) })
		require.EqualValues(t, 1, client.Accounting().Acked)
		require.Equal(t, memnet.Established, accepted.Accounting().State)
		require.Zero(t, accepted.Accounting().Received)

		fresh, s := connect(t, n)
		write(t, fresh, request)
		readFull(t, s, request)
		require.Panics(t, func() { n.Forget("10.0.0.1:http") })
	})
}
