package memnet_test

import (
	"context"
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
			deadline := time.Now().Add(time.Hour)
			client.SetReadDeadline(deadline)
			server.SetReadDeadline(deadline)
			require.ErrorIs(t, readError(client), os.ErrDeadlineExceeded)
			require.ErrorIs(t, readError(server), os.ErrDeadlineExceeded)
			require.NoError(t, server.Abort())
			time.Sleep(time.Hour)
			require.Equal(t, memnet.Accounting{
				State: memnet.Established, Sent: int64(len(request)), Queued: int64(len(request)),
			}, client.Accounting())
		})
	}
}

func TestACutTakesWhatIsOnItsWay(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		write(t, client, request)
		n.Cut(server, true)
		time.Sleep(time.Minute)
		n.Cut(server, false)
		time.Sleep(time.Minute)
		require.EqualValues(t, 0, accepted.Accounting().Received)
	})
}

func TestALostAcknowledgementLeavesTheServerWithARequestTheClientCannotProve(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		write(t, client, request)
		readFull(t, accepted, request)
		n.Cut(server, true)
		time.Sleep(latency)
		n.Cut(server, false)
		require.EqualValues(t, 0, client.Accounting().Acked)
		write(t, client, "more")
		time.Sleep(2 * latency)
		synctest.Wait()
		require.EqualValues(t, len(request+"more"), client.Accounting().Acked, "acknowledgements are cumulative")
	})
}

func TestNothingIsDeliveredBehindAGap(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		n.Cut(server, true)
		write(t, client, "lost")
		n.Cut(server, false)
		write(t, client, "kept")
		client.CloseWrite()
		accepted.SetReadDeadline(time.Now().Add(time.Minute))
		require.ErrorIs(t, readError(accepted), os.ErrDeadlineExceeded)
		require.Equal(t, memnet.Accounting{State: memnet.Established}, accepted.Accounting())
		require.EqualValues(t, 0, client.Accounting().Acked)
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
