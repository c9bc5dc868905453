package memnet_test

import (
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestAFINThatCrossesARequestIsReadAsEOFAndFollowedByARST(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		require.NoError(t, server.Close())
		write(t, client, request) // as a kernel: the FIN has not arrived

		takes(t, latency, func() { require.Equal(t, io.EOF, readError(client)) })
		require.Equal(t, memnet.Accounting{
			State: memnet.CloseWait, Sent: int64(len(request)), Acked: 1, Queued: int64(len(request)), Received: 1,
		}, books(client))

		time.Sleep(latency - 1)
		require.Equal(t, memnet.CloseWait, client.Accounting().State)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, memnet.Accounting{
			State: memnet.Closed, Sent: int64(len(request)), Acked: 1, Queued: int64(len(request)), Received: 1,
			PendingError: syscall.EPIPE,
		}, books(client))

		require.Equal(t, io.EOF, readError(client), "after a FIN a reader hears nothing of the RST")
		require.ErrorIs(t, writeError(client), syscall.EPIPE)
		require.NoError(t, client.Accounting().PendingError)
		require.ErrorIs(t, writeError(client), syscall.EPIPE)
		require.EqualValues(t, 0, server.Accounting().Received)
	})
}

func TestAWriteAfterTheFINSucceedsAndIsAnsweredByARST(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		server.Close()
		require.Equal(t, io.EOF, readError(client))
		write(t, client, request)
		time.Sleep(2*latency - 1)
		require.Equal(t, memnet.CloseWait, client.Accounting().State)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.ErrorIs(t, writeError(client), syscall.EPIPE)
	})
}

func TestCloseWithUnreadDataSendsARST(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, client, request)
		readFull(t, server, request[:5])
		require.NoError(t, server.Close())

		var failure *net.OpError
		takes(t, latency, func() {
			err := readError(client)
			require.ErrorIs(t, err, syscall.ECONNRESET)
			require.ErrorAs(t, err, &failure)
		})
		require.Equal(t, "read", failure.Op)
		require.Equal(t, client.LocalAddr(), failure.Source)
		require.Equal(t, client.RemoteAddr(), failure.Addr)
		require.Equal(t, "read: connection reset by peer", failure.Err.Error())

		require.Equal(t, io.EOF, readError(client), "the error is told once")
		require.ErrorIs(t, writeError(client), syscall.EPIPE)
		require.EqualValues(t, 1+len(request), client.Accounting().Acked, "the kernel had acknowledged all of it")
	})
}

func TestCloseWithEverythingReadSendsAFIN(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, client, request)
		readFull(t, server, request)
		server.Close()
		require.Equal(t, io.EOF, readError(client))
		require.NoError(t, client.Accounting().PendingError)
	})
}

func TestAFINDoesNotCountAsUnreadData(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		require.NoError(t, client.CloseWrite())
		time.Sleep(latency)
		synctest.Wait()
		require.NoError(t, server.Close())
		require.Equal(t, io.EOF, readError(client))
		time.Sleep(latency)
		synctest.Wait()
		require.NoError(t, client.Accounting().PendingError)
		require.Equal(t, memnet.Closed, client.Accounting().State)
		require.Equal(t, memnet.Closed, server.Accounting().State)
	})
}

func TestDataIsReadBeforeTheFINBehindIt(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, server, "response")
		server.Close()
		readFull(t, client, "response")
		require.Equal(t, io.EOF, readError(client))
	})
}

func TestDataThatArrivedBeforeARSTCanStillBeRead(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, server, "response")
		require.NoError(t, server.Abort())
		time.Sleep(latency)
		synctest.Wait()
		require.Equal(t, memnet.Closed, client.Accounting().State)
		readFull(t, client, "response")
		require.ErrorIs(t, readError(client), syscall.ECONNRESET)
		require.Equal(t, io.EOF, readError(client))
	})
}

func TestAbortReachesABlockedReadAsECONNRESET(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		require.NoError(t, server.Abort())
		takes(t, latency, func() { require.ErrorIs(t, readError(client), syscall.ECONNRESET) })
	})
}

func TestTheFirstWriteAfterARSTTakesTheErrorFromTheReader(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		server.Abort()
		time.Sleep(latency)
		synctest.Wait()
		require.Equal(t, syscall.ECONNRESET, client.Accounting().PendingError)
		require.ErrorIs(t, writeError(client), syscall.ECONNRESET)
		require.ErrorIs(t, writeError(client), syscall.EPIPE)
		require.Equal(t, io.EOF, readError(client))
	})
}

func TestARSTThatCrossesARequestLeavesItUnacknowledged(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		server.Abort()
		write(t, client, request)
		require.ErrorIs(t, readError(client), syscall.ECONNRESET)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, memnet.Accounting{
			State: memnet.Closed, Sent: int64(len(request)), Acked: 1, Queued: int64(len(request)),
		}, books(client))
	})
}

func TestAHalfClosedServerStillReadsAndAcknowledges(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		require.NoError(t, server.CloseWrite())
		require.NoError(t, server.CloseWrite(), "a second call does nothing")
		write(t, client, request)
		require.Equal(t, io.EOF, readError(client))
		require.EqualValues(t, 1, client.Accounting().Acked)
		readFull(t, server, request)
		time.Sleep(latency)
		synctest.Wait()
		require.EqualValues(t, 1+len(request), client.Accounting().Acked, "a flight later")
		require.Equal(t, memnet.CloseWait, client.Accounting().State)
		require.Equal(t, memnet.FinWait2, server.Accounting().State)
		require.ErrorIs(t, writeError(server), syscall.EPIPE)

		require.NoError(t, client.Close())
		require.Equal(t, memnet.LastAck, client.Accounting().State)
		require.Equal(t, io.EOF, readError(server))
		time.Sleep(latency)
		synctest.Wait()
		require.Equal(t, memnet.Closed, client.Accounting().State)
		require.Equal(t, memnet.Closed, server.Accounting().State)
		require.ErrorIs(t, server.CloseWrite(), syscall.ENOTCONN)
		require.NoError(t, server.Close())
	})
}

func TestAfterCloseReadDataCanStillBeReadButNothingIsWaitedFor(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, server, "early")
		time.Sleep(latency)
		synctest.Wait()
		require.NoError(t, client.CloseRead())
		readFull(t, client, "early")
		takes(t, 0, func() { require.Equal(t, io.EOF, readError(client)) })
		write(t, server, "late")
		time.Sleep(latency)
		synctest.Wait()
		readFull(t, client, "late")
		write(t, client, request)
		readFull(t, server, request)
	})
}

func TestCloseReadEndsABlockedRead(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, _ *memnet.Conn) {
		time.AfterFunc(time.Second, func() { client.CloseRead() })
		takes(t, time.Second, func() { require.Equal(t, io.EOF, readError(client)) })
	})
}

func TestDataForAConnectionWithBothSidesShutIsAnsweredByARST(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		client.CloseRead()
		client.CloseWrite()
		write(t, server, "unwanted")
		time.Sleep(2 * latency)
		synctest.Wait()
		require.ErrorIs(t, readError(client), syscall.ECONNRESET)
		require.Equal(t, io.EOF, readError(server))
		require.ErrorIs(t, writeError(server), syscall.EPIPE)
	})
}

func TestCloseEndsBlockedCallsWithErrClosed(t *testing.T) {
	between(t, memnet.Options{SendBuffer: 4, ReceiveBuffer: 4}, func(t *testing.T, _ *memnet.Network, client, _ *memnet.Conn) {
		failures := make(chan error, 3)
		go func() { failures <- readError(client) }()
		for range 2 { // one waits for room, the other for its turn
			go func() {
				_, err := client.Write([]byte("much too much"))
				failures <- err
			}()
		}
		synctest.Wait()
		require.Empty(t, failures)
		require.NoError(t, client.Close())
		for range 3 {
			err := <-failures
			require.ErrorIs(t, err, net.ErrClosed)
			require.ErrorAs(t, err, new(*net.OpError))
		}
	})
}

func TestEveryCallOnAClosedConnectionFailsWithErrClosed(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, _ *memnet.Conn) {
		require.NoError(t, client.Close())
		_, emptyRead := client.Read(nil)
		_, emptyWrite := client.Write(nil)
		for name, err := range map[string]error{
			"read": readError(client), "write": writeError(client),
			"empty read": emptyRead, "empty write": emptyWrite,
			"close": client.Close(), "abort": client.Abort(),
			"close write": client.CloseWrite(), "close read": client.CloseRead(),
			"set": client.SetDeadline(time.Time{}),
		} {
			require.ErrorIs(t, err, net.ErrClosed, name)
			require.ErrorAs(t, err, new(*net.OpError), name)
		}
	})
}

func TestCloseWriteEndsABlockedWriteWithEPIPE(t *testing.T) {
	between(t, memnet.Options{SendBuffer: 4, ReceiveBuffer: 4}, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		failure := make(chan error, 1)
		go func() {
			_, err := client.Write([]byte("much too much"))
			failure <- err
		}()
		synctest.Wait()
		require.NoError(t, client.CloseWrite())
		require.ErrorIs(t, <-failure, syscall.EPIPE)
		readFull(t, server, "much too")
		require.Equal(t, io.EOF, readError(server))
	})
}

func TestAbortReachesABlockedWrite(t *testing.T) {
	between(t, memnet.Options{Latency: latency, SendBuffer: 4}, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		server.Abort()
		takes(t, latency, func() {
			n, err := client.Write([]byte("much too much"))
			require.Equal(t, 4, n)
			require.ErrorIs(t, err, syscall.ECONNRESET)
		})
	})
}
