package memnet_test

import (
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

// What a client can know about a request that met a closing server, as measured
// on a real link of 50 ms one way: the request is sent while the server's close
// is in flight, or the server closes while it holds the request.
func TestWhatTheClientCanKnowIsWhatWasMeasuredOnARealLink(t *testing.T) {
	size := int64(len(request))
	early := func(end func(server *memnet.Conn)) func(*testing.T, *memnet.Conn, *memnet.Conn) {
		return func(t *testing.T, client, server *memnet.Conn) {
			end(server)
			pass(latency / 2)
			write(t, client, request)
		}
	}
	late := func(read int, wait time.Duration) func(*testing.T, *memnet.Conn, *memnet.Conn) {
		return func(t *testing.T, client, server *memnet.Conn) {
			write(t, client, request)
			pass(latency)
			readFull(t, server, request[:read])
			pass(wait)
			server.Close()
		}
	}
	for name, tc := range map[string]struct {
		script  func(t *testing.T, client, server *memnet.Conn)
		read    error        // the client's
		state   memnet.State // then
		acked   int64        // then, without the SYN
		state2  memnet.State // two flights later
		acked2  int64
		pending error
	}{
		"closed before the request arrived": {
			early(func(s *memnet.Conn) { s.Close() }),
			io.EOF, memnet.CloseWait, 0, memnet.Closed, 0, syscall.EPIPE},
		"read the request, then closed": {
			late(len(request), 0),
			io.EOF, memnet.CloseWait, size, memnet.CloseWait, size, nil},
		"left the request unread, closed after its acknowledgement": {
			late(0, 40*time.Millisecond),
			syscall.ECONNRESET, memnet.Closed, size, memnet.Closed, size, nil},
		"read 5 bytes, closed at once": {
			late(5, 0),
			syscall.ECONNRESET, memnet.Closed, 0, memnet.Closed, 0, nil},
		"SO_LINGER 0 close before the request arrived": {
			early(func(s *memnet.Conn) { s.Abort() }),
			syscall.ECONNRESET, memnet.Closed, 0, memnet.Closed, 0, nil},
		"shut down its writing side, went on reading": {
			early(func(s *memnet.Conn) { s.CloseWrite() }),
			io.EOF, memnet.CloseWait, 0, memnet.CloseWait, size, nil},
	} {
		t.Run(name, func(t *testing.T) {
			between(t, lazy, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
				tc.script(t, client, server)
				require.ErrorIs(t, readError(client), tc.read)
				a := client.Accounting()
				require.Equal(t, tc.state, a.State)
				require.Equal(t, tc.acked, a.Acked-1)
				require.Equal(t, size, a.Acked-1+a.Queued, "the books balance")
				pass(2*latency + 40*time.Millisecond)
				a = client.Accounting()
				require.Equal(t, tc.state2, a.State)
				require.Equal(t, tc.acked2, a.Acked-1)
				require.Equal(t, size, a.Acked-1+a.Queued)
				require.Equal(t, tc.pending, a.PendingError)
			})
		})
	}
}
