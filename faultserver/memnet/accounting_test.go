package memnet_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestAnAcknowledgementComesOneLatencyAfterTheDataArrived(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		size := int64(len(request))
		write(t, client, request)
		require.Equal(t, memnet.Accounting{State: memnet.Established, Sent: size, Acked: 1, Queued: size}, books(client), "the SYN counts")
		require.Equal(t, 1, client.Accounting().Unacked)
		pass(latency)
		require.Equal(t, memnet.Accounting{State: memnet.Established, Received: size}, books(server), "read or not")
		time.Sleep(latency - 1)
		require.EqualValues(t, 1, client.Accounting().Acked)
		pass(time.Nanosecond)
		require.Equal(t, memnet.Accounting{State: memnet.Established, Sent: size, Acked: 1 + size}, books(client))
		require.Zero(t, client.Accounting().Unacked)
	})
}

func TestAFINCountsAsAByteOnceItIsAcknowledged(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, client, request)
		client.CloseWrite()
		readFull(t, server, request)
		require.Equal(t, io.EOF, readError(server))
		size := int64(len(request))
		require.Equal(t, memnet.Accounting{State: memnet.FinWait1, Sent: size, Acked: 1, Queued: size + 1}, books(client))
		pass(latency)
		require.Equal(t, memnet.Accounting{State: memnet.FinWait2, Sent: size, Acked: 1 + size + 1}, books(client))
		require.Equal(t, memnet.Accounting{State: memnet.CloseWait, Received: size + 1}, books(server))
	})
}

func TestAWriteBlocksWhileTheSendBufferIsFull(t *testing.T) {
	between(t, memnet.Options{Latency: latency, SendBuffer: 1000, ReceiveBuffer: 600}, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		takes(t, 0, func() { write(t, client, string(make([]byte, 1000))) })
		takes(t, 2*latency, func() { write(t, client, "0123456789") }) // for the acknowledgement of 600
		require.EqualValues(t, 1010, client.Accounting().Sent)
		takes(t, 0, func() { write(t, server, "the other direction has its own") })
	})
}

func TestWritesStayInOnePieceWhenTheyCompete(t *testing.T) {
	between(t, memnet.Options{Latency: latency, SendBuffer: 50, ReceiveBuffer: 70}, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		const writers, size = 8, 1000
		for i := range writers {
			go client.Write(bytes.Repeat([]byte{byte(i)}, size))
		}
		seen := make(map[byte]bool)
		for range writers {
			piece := make([]byte, size)
			_, err := io.ReadFull(server, piece)
			require.NoError(t, err)
			require.Equal(t, bytes.Repeat(piece[:1], size), piece)
			seen[piece[0]] = true
		}
		require.Len(t, seen, writers)
	})
}

func TestStatesHaveNames(t *testing.T) {
	require.Equal(t, "close-wait", memnet.CloseWait.String())
	require.Equal(t, "close", memnet.Closed.String())
}
