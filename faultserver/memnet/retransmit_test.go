package memnet_test

import (
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestATimeoutStartsAnewOnceSomethingWasAcknowledged(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		const timeout = 2*latency + 200*time.Millisecond
		start := time.Now()
		n.Cut(server, true)
		write(t, client, "one,")
		write(t, client, "two")
		time.Sleep(10 * timeout)
		n.Cut(server, false)
		readFull(t, accepted, "one,") // sent again after 15 timeouts
		require.Equal(t, 15*timeout+latency, time.Since(start))
		pass(latency) // the second is sent again without waiting, and lost
		n.Cut(server, true)
		pass(latency)
		n.Cut(server, false)
		takes(t, timeout, func() { readFull(t, accepted, "two") })
	})
}

func TestWhatIsStillBeingSentIsNotSentAgain(t *testing.T) {
	opts := memnet.Options{Latency: latency, Bandwidth: 1000}
	between(t, opts, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, client, string(make([]byte, 5000)))
		pass(5 * time.Second)
		require.Zero(t, client.Accounting().Retransmits)
		pass(2 * latency)
		require.Zero(t, client.Accounting().Queued)
	})
}

func TestAnIdleHourIsNoSilenceOfAWindowThatHasJustClosed(t *testing.T) {
	opts := narrow
	opts.GiveUpAfter = time.Minute
	between(t, opts, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, client, string(make([]byte, 1000)))
		pass(time.Hour)
		write(t, client, "more")
		pass(time.Hour)
		require.Equal(t, memnet.Established, client.Accounting().State)
		client.SetDeadline(time.Now())
		io.ReadFull(server, make([]byte, 1004))
		pass(latency)
		require.Zero(t, client.Accounting().Queued)
	})
}

func TestARepeatedRequestDoesNotResetAConnectionClosedMeanwhile(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		require.NoError(t, n.SetLink(server, "", memnet.Link{Latency: latency, Loss: 1}))
		write(t, client, request)
		readFull(t, accepted, request)
		require.NoError(t, accepted.Close())
		pass(3 * time.Second)
		require.Positive(t, client.Accounting().Retransmits)
		require.NoError(t, n.SetLink(server, "", memnet.Link{Latency: latency}))
		require.Equal(t, io.EOF, readError(client))
		pass(2 * latency)
		require.Equal(t, memnet.CloseWait, client.Accounting().State)
		require.EqualValues(t, 1+len(request), client.Accounting().Acked)
	})
}

func TestARSTThatAnswersCarriesTheNumberExpectedThoughTheFINWasLost(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		n.Cut(server, true)
		client.CloseRead()
		client.CloseWrite()
		n.Cut(server, false)
		write(t, accepted, "unwanted")
		takes(t, 2*latency, func() { require.ErrorIs(t, readError(accepted), syscall.ECONNRESET) })
	})
}

func TestARSTBehindAGapIsConfirmedFirst(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		n.Cut(server, true)
		write(t, accepted, "lost")
		n.Cut(server, false)
		accepted.Abort()
		takes(t, 3*latency, func() { require.ErrorIs(t, readError(client), syscall.ECONNRESET) })
	})
}

func TestARSTDoesNotOvertakeTheDataInFrontOfIt(t *testing.T) {
	for seed := range uint64(20) {
		between(t, memnet.Options{Latency: latency, Jitter: latency, Seed: seed}, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
			pass(time.Second)
			start := time.Now()
			write(t, server, "response")
			server.Abort()
			readFull(t, client, "response")
			require.ErrorIs(t, readError(client), syscall.ECONNRESET)
			require.LessOrEqual(t, time.Since(start), 2*latency)
		})
	}
}

func TestDirectionsAndConnectionsDrawJitterOfTheirOwn(t *testing.T) {
	between(t, memnet.Options{Jitter: latency}, func(t *testing.T, n *memnet.Network, client, server *memnet.Conn) {
		otherClient, otherServer := connect(t, n)
		var seen []time.Duration
		for range 10 {
			for from, to := range map[*memnet.Conn]*memnet.Conn{client: server, server: client, otherClient: otherServer, otherServer: otherClient} {
				sent := time.Now()
				write(t, from, "x")
				readFull(t, to, "x")
				require.NotContains(t, seen, time.Since(sent))
				seen = append(seen, time.Since(sent))
				pass(time.Second)
			}
		}
	})
}

func TestOfEquallySpecificLinksTheLastCounts(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		local := client.LocalAddr().String()
		for i, set := range []func(memnet.Link) error{
			func(l memnet.Link) error { return n.SetLink(local, "", l) },
			func(l memnet.Link) error { return n.SetLink("", server, l) },
			func(l memnet.Link) error { return n.SetLink(local, "", l) },
		} {
			want := time.Duration(i) * time.Second
			require.NoError(t, set(memnet.Link{Latency: want}))
			takes(t, want, func() {
				write(t, client, "x")
				readFull(t, accepted, "x")
			})
		}
	})
}

func TestAHandshakeThatIsNeverCompletedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		l, err := n.Listen(server)
		require.NoError(t, err)
		c, err := n.DialContext(t.Context(), "tcp", server)
		require.NoError(t, err)
		n.Cut(server, true)
		pass(time.Hour)
		n.Cut(server, false)
		write(t, c, request)
		takes(t, 2*latency, func() { require.ErrorIs(t, readError(c), syscall.ECONNRESET) })
		require.NoError(t, l.Close())
	})
}

func TestAHandshakeThatWasRepeatedMeasuresNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		l, err := n.Listen(server)
		require.NoError(t, err)
		n.Cut(server, true)
		time.AfterFunc(time.Second/2, func() { n.Cut(server, false) })
		c, err := n.DialContext(t.Context(), "tcp", server)
		require.NoError(t, err)
		require.Zero(t, c.(*memnet.Conn).Accounting().RTT)
		n.Cut(server, true)
		pass(latency)
		n.Cut(server, false)
		s, err := l.Accept()
		require.NoError(t, err)
		require.Zero(t, s.(*memnet.Conn).Accounting().RTT)
	})
}
