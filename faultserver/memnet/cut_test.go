package memnet_test

import (
	"context"
	"io"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestACutIsSilentInBothDirections(t *testing.T) {
	for _, place := range []string{server, "10.0.0.1", "client"} {
		between(t, far, func(t *testing.T, n *memnet.Network, client, server *memnet.Conn) {
			if place == "client" {
				place = client.LocalAddr().String()
			}
			n.Cut(place, true)
			write(t, client, request)
			write(t, server, "news")
			deadline := time.Now().Add(time.Minute)
			client.SetReadDeadline(deadline)
			server.SetReadDeadline(deadline)
			require.ErrorIs(t, readError(client), os.ErrDeadlineExceeded)
			require.ErrorIs(t, readError(server), os.ErrDeadlineExceeded)
			require.NoError(t, server.Abort())
			pass(time.Minute)
			require.Equal(t, memnet.Accounting{
				State: memnet.Established, Sent: int64(len(request)), Acked: 1, Queued: int64(len(request)),
			}, books(client))
			client.Close()
		})
	}
}

func TestWhatACutTookIsSentAgainOnceItHealed(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		write(t, client, "lost,")
		n.Cut(server, true)
		write(t, client, "lost too,")
		pass(latency)
		n.Cut(server, false)
		write(t, client, "kept")
		client.CloseWrite()
		// The round trip, 200 ms, and the way again.
		takes(t, 2*latency+200*time.Millisecond, func() { readFull(t, accepted, "lost,") })
		takes(t, 2*latency, func() { readFull(t, accepted, "lost too,kept") })
		require.Equal(t, io.EOF, readError(accepted))
		pass(latency)
		require.Equal(t, memnet.FinWait2, client.Accounting().State)
		require.Zero(t, client.Accounting().Retransmits)
	})
}

func TestTimeoutsDoubleWhileACutLasts(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		const timeout = 2*latency + 200*time.Millisecond
		n.Cut(server, true)
		write(t, client, request)
		begun := time.Now()
		for i, factor := range []time.Duration{1, 3, 7, 15, 31} {
			time.Sleep(time.Until(begun.Add(factor * timeout)))
			synctest.Wait()
			require.Equal(t, i+1, client.Accounting().Retransmits)
		}
		n.Cut(server, false)
		readFull(t, accepted, request)
		require.Equal(t, 63*timeout+latency, time.Since(begun))
		pass(latency)
		require.Zero(t, client.Accounting().Retransmits)
	})
}

func TestWhoeverSentIntoACutGetsETIMEDOUTAndWhoDidNotWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		opts  memnet.Options
		after time.Duration
	}{
		"Linux's default": {far, 924600 * time.Millisecond},
		"set":             {memnet.Options{Latency: latency, GiveUpAfter: 20 * time.Second}, 20 * time.Second},
	} {
		between(t, tc.opts, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
			n.Cut(server, true)
			write(t, client, request)
			takes(t, tc.after, func() { require.ErrorIs(t, readError(client), syscall.ETIMEDOUT, name) })
			require.Equal(t, io.EOF, readError(client))
			require.ErrorIs(t, writeError(client), syscall.EPIPE)
			require.Equal(t, memnet.Accounting{
				State: memnet.Closed, Sent: int64(len(request)), Acked: 1, Queued: int64(len(request)),
			}, books(client))
			accepted.SetReadDeadline(time.Now().Add(24 * time.Hour))
			require.ErrorIs(t, readError(accepted), os.ErrDeadlineExceeded)
			require.Equal(t, memnet.Established, accepted.Accounting().State)
			n.Cut(server, false)
			accepted.SetReadDeadline(time.Time{})
			write(t, accepted, "anybody there?")
			takes(t, 2*latency, func() { require.ErrorIs(t, readError(accepted), syscall.ECONNRESET) })
		})
	}
}

func TestALostAcknowledgementLeavesTheServerWithARequestTheClientCannotProve(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		write(t, client, request)
		readFull(t, accepted, request)
		n.Cut(server, true)
		pass(latency)
		n.Cut(server, false)
		require.EqualValues(t, 1, client.Accounting().Acked)
		write(t, client, "more")
		pass(2 * latency)
		require.EqualValues(t, 1+len(request+"more"), client.Accounting().Acked, "acknowledgements are cumulative")
	})
}

func TestAServerThatForgotTheConnectionDuringACutAnswersByARST(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		n.Cut(server, true)
		accepted.Abort()
		n.Cut(server, false)
		write(t, client, request)
		takes(t, 2*latency, func() { require.ErrorIs(t, readError(client), syscall.ECONNRESET) })
	})
}

func TestDialTriesAgainUntilTheCutHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		_, err := n.Listen(server)
		require.NoError(t, err)
		n.Cut(server, true)
		time.AfterFunc(4*time.Second, func() { n.Cut(server, false) })
		takes(t, 7*time.Second+2*latency, func() {
			_, err := n.DialContext(context.Background(), "tcp", server)
			require.NoError(t, err)
		})
		n.Cut(server, true)
		takes(t, 127*time.Second, func() {
			_, err := n.DialContext(context.Background(), "tcp", server)
			require.ErrorIs(t, err, syscall.ETIMEDOUT)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		takes(t, time.Minute, func() {
			_, err := n.DialContext(ctx, "tcp", server)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
	})
}
