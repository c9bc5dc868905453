package memnet_test

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestOneThatVanishedNeitherAcknowledgesNorAnswersButWhatItSentArrives(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, accepted *memnet.Conn) {
		write(t, accepted, "last words")
		require.NoError(t, accepted.Vanish())
		require.ErrorIs(t, readError(accepted), net.ErrClosed)
		require.ErrorIs(t, accepted.Vanish(), net.ErrClosed)
		readFull(t, client, "last words")

		write(t, client, request)
		require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Minute)))
		require.ErrorIs(t, readError(client), os.ErrDeadlineExceeded)
		require.Equal(t, int64(len(request)), client.Accounting().Queued)
		require.Positive(t, client.Accounting().Retransmits)
		client.Close()
	})
}

func TestWhoeverSendsToOneThatForgotGetsARST(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, accepted *memnet.Conn) {
		write(t, accepted, "news")
		readFull(t, client, "news")
		pass(time.Second) // an acknowledgement on its way would draw the RST
		require.NoError(t, accepted.Forget())
		require.ErrorIs(t, accepted.Forget(), net.ErrClosed)
		require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Minute)))
		require.ErrorIs(t, readError(client), os.ErrDeadlineExceeded, "it is silent until it is asked")
		require.NoError(t, client.SetReadDeadline(time.Time{}))
		write(t, client, request)
		takes(t, 2*latency, func() { require.ErrorIs(t, readError(client), syscall.ECONNRESET) })
		require.Equal(t, io.EOF, readError(client))
	})
}

func TestAFINToOneThatForgotDrawsARSTToo(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, accepted *memnet.Conn) {
		require.NoError(t, accepted.Forget())
		require.NoError(t, client.CloseWrite())
		takes(t, 2*latency, func() { require.ErrorIs(t, readError(client), syscall.ECONNRESET) })
	})
}

func TestAnAcknowledgementToOneThatForgotDrawsARSTToo(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, accepted *memnet.Conn) {
		write(t, accepted, "last words")
		require.NoError(t, accepted.Forget())
		readFull(t, client, "last words")
		require.ErrorIs(t, readError(client), syscall.ECONNRESET)
	})
}
