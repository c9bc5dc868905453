package memnet_test

import (
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
	"github.com/idlewise/idlewise/internal/tcpinfo"
)

var _ tcpinfo.Accountant = (*memnet.Conn)(nil)

func TestIdlewiseSeesWhatTheAccountingSays(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, client, request)
		pass(latency)
		server.CloseWrite()
		pass(3 * time.Second)
		write(t, client, "more")
		pass(latency)
		info, ok := tcpinfo.Of(client)
		require.True(t, ok)
		require.Equal(t, tcpinfo.Info{
			State: tcpinfo.CloseWait, Acked: 1 + uint64(len(request)), Queued: 4, Received: 1, Unacked: 1,
			SinceReceived: 3*time.Second + 2*latency + latency, SinceAck: 3 * time.Second, RTT: 2 * latency,
		}, info)
		client.Close()
		_, ok = tcpinfo.Of(client)
		require.False(t, ok)
	})
}

func TestAPeekTakesNothingButAnError(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		silent, since, ok := tcpinfo.Silent(client)
		require.True(t, ok && silent)
		require.Equal(t, latency, client.Accounting().SinceReceived)
		require.Equal(t, latency, since)

		write(t, server, "data")
		pass(latency)
		for range 2 {
			n, pending, ok := client.Peek()
			require.True(t, ok)
			require.NoError(t, pending)
			require.Equal(t, 4, n)
		}
		silent, _, _ = tcpinfo.Silent(client)
		require.False(t, silent)
		readFull(t, client, "data")
		server.Abort()
		pass(latency)
		_, pending, _ := client.Peek()
		require.Equal(t, syscall.ECONNRESET, pending)
		_, pending, _ = client.Peek()
		require.Equal(t, io.EOF, pending)
		require.Equal(t, io.EOF, readError(client))
	})
}
