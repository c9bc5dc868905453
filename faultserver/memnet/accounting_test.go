package memnet_test

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestAnAcknowledgementComesOneLatencyAfterTheDataArrived(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		size := int64(len(request))
		write(t, client, request)
		require.Equal(t, memnet.Accounting{Sent: size, Queued: size}, client.Accounting())
		time.Sleep(latency)
		synctest.Wait()
		require.Equal(t, memnet.Accounting{Received: size}, server.Accounting(), "read or not")
		time.Sleep(latency - 1)
		require.EqualValues(t, 0, client.Accounting().Acked)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, memnet.Accounting{Sent: size, Acked: size}, client.Accounting())
	})
}

func TestNeitherFINCountsAsAByte(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, client, request)
		client.CloseWrite()
		readFull(t, server, request)
		require.Equal(t, io.EOF, readError(server))
		time.Sleep(latency)
		synctest.Wait()
		size := int64(len(request))
		require.Equal(t, memnet.Accounting{State: memnet.FinWait, Sent: size, Acked: size}, client.Accounting())
		require.Equal(t, memnet.Accounting{State: memnet.CloseWait, Received: size}, server.Accounting())
	})
}

func TestAWriteBlocksWhileTheBufferIsFull(t *testing.T) {
	between(t, memnet.Options{Latency: latency, BufferSize: 1000}, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		takes(t, 0, func() { write(t, client, string(make([]byte, 1000))) })
		time.AfterFunc(time.Minute, func() { server.Read(make([]byte, 10)) })
		takes(t, time.Minute, func() { write(t, client, "0123456789") })
		require.EqualValues(t, 1010, client.Accounting().Sent)
		takes(t, 0, func() { write(t, server, "the other direction has its own") })
	})
}

func TestWritesStayInOnePieceWhenTheyCompete(t *testing.T) {
	between(t, memnet.Options{Latency: latency, BufferSize: 100}, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
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
	require.Equal(t, "closed", memnet.Closed.String())
}
