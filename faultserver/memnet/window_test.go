package memnet_test

import (
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

var narrow = memnet.Options{Latency: latency, SendBuffer: 500, ReceiveBuffer: 1000}

func TestAReaderThatDoesNotReadClosesTheWindowAndAnswersProbes(t *testing.T) {
	opts := narrow
	opts.GiveUpAfter = time.Minute
	between(t, opts, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		client.SetWriteDeadline(time.Now().Add(time.Hour))
		n, err := client.Write(make([]byte, 2000))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 1500, n, "what the window and the send buffer hold")

		a := client.Accounting()
		require.Equal(t, memnet.Established, a.State, "probes are answered, and so nobody gives up")
		require.EqualValues(t, 500, a.Queued)
		require.EqualValues(t, 500, a.NotSent)
		require.Zero(t, a.Unacked)
		require.Zero(t, a.Probes)
		require.LessOrEqual(t, a.SinceAck, 2*time.Minute)
		require.EqualValues(t, 1000, server.Accounting().Received)

		takes(t, 0, func() { io.ReadFull(server, make([]byte, 1000)) })
		takes(t, 2*latency, func() { io.ReadFull(server, make([]byte, 500)) }) // the window's news, and the data
		pass(latency)
		require.Zero(t, client.Accounting().Queued)
	})
}

func TestALittleRoomIsNotWorthAWindow(t *testing.T) {
	between(t, narrow, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		go client.Write(make([]byte, 1500))
		pass(time.Second)
		server.Read(make([]byte, 499))
		pass(time.Second)
		require.EqualValues(t, 500, client.Accounting().NotSent)
		server.Read(make([]byte, 1))
		pass(latency)
		require.Zero(t, client.Accounting().NotSent)
	})
}

func TestAProbeFindsTheWindowThatWasOpenedWithALostPacket(t *testing.T) {
	between(t, narrow, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		go client.Write(make([]byte, 1500))
		pass(3 * time.Second)
		n.Cut(server, true)
		accepted.Read(make([]byte, 1000))
		pass(latency)
		n.Cut(server, false)
		require.EqualValues(t, 500, client.Accounting().NotSent)
		pass(10 * time.Second)
		require.Zero(t, client.Accounting().Queued)
	})
}

func TestUnansweredProbesAreCountedAndEndInETIMEDOUT(t *testing.T) {
	opts := narrow
	opts.GiveUpAfter = 20 * time.Second
	between(t, opts, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		failure := make(chan error, 1)
		go func() {
			_, err := client.Write(make([]byte, 2000))
			failure <- err
		}()
		pass(time.Minute)
		n.Cut(server, true)
		pass(35 * time.Second) // the time between probes had grown to half a minute and more
		cutFor := client.Accounting()
		require.Positive(t, cutFor.Probes)
		require.Zero(t, cutFor.Unacked)
		require.ErrorIs(t, <-failure, syscall.ETIMEDOUT)
		require.Equal(t, memnet.Closed, client.Accounting().State)
	})
}

func TestAFINWaitsBehindAClosedWindow(t *testing.T) {
	between(t, narrow, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, client, string(make([]byte, 1000)))
		pass(time.Second)
		write(t, client, "rest")
		client.Close()
		pass(time.Minute)
		require.Equal(t, memnet.FinWait1, client.Accounting().State)
		require.EqualValues(t, 5, client.Accounting().NotSent)
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		require.Len(t, got, 1004)
	})
}
