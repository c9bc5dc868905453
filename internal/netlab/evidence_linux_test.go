package netlab

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

const (
	oneWay  = 20 * time.Millisecond
	request = "POST / HTTP/1.1\r\n\r\n"
	answer  = "HTTP/1.1 200 OK\r\n\r\n"
)

// exchange is a connection on which one request was answered, as a pool keeps
// it: no longer at its start, where every packet is acknowledged at once.
type exchange struct {
	*testing.T
	lab            *Lab
	client, server *net.TCPConn
	before         uint64 // acknowledged of the client's
}

func answered(t *testing.T) exchange {
	lab := New(t, WithDelay(oneWay))
	client, server := pair(t, lab)
	write(t, client, request)
	require.Equal(t, request, read(t, server, len(request)))
	write(t, server, answer)
	require.Equal(t, answer, read(t, client, len(answer)))
	x := exchange{t, lab, client, server, info(t, client).Acked}
	require.EqualValues(t, len(request), x.before-1, "the answer acknowledges the request")
	return x
}

// acked is how much of the second request is acknowledged.
func (x exchange) acked() int { return int(info(x, x.client).Acked - x.before) }

func (x exchange) becomes(s tcpinfo.State) {
	x.Helper()
	await(x, func() bool { return info(x, x.client).State == s })
}

// pending is the error that the socket has for whoever asks first.
func (x exchange) pending() error {
	x.Helper()
	err, ok := tcpinfo.TakeError(x.client)
	require.True(x, ok)
	return err
}

// readsEOF is what the client's read says. It takes no pending error.
func (x exchange) readsEOF() {
	x.Helper()
	_, err := x.client.Read(make([]byte, 1))
	require.Equal(x, io.EOF, err)
}

// crossing has the server end the connection with a packet that the client does
// not see before it has written the second request, nor the server that one
// before the client has seen its packet.
func (x exchange) crossing(end func(*net.TCPConn) error) {
	x.lab.Filter(HoldAll(ToClient))
	require.NoError(x, end(x.server))
	await(x, func() bool { return x.lab.Counters(ToClient).Held > 0 })
	x.lab.Filter(HoldAll(ToServer))
	write(x, x.client, request)
	await(x, func() bool { return x.lab.Counters(ToServer).Held > 0 })
	x.lab.Release(ToClient)
}

// arrives lets the second request go on to the server.
func (x exchange) arrives() {
	x.lab.Filter()
	x.lab.Release(ToServer)
}

// resets reports a RST that the server sends from now on.
func (x exchange) resets() <-chan Packet {
	return x.lab.Arrival(func(p Packet) bool { return p.Direction == ToClient && p.Flags.Has(RST) })
}

func abort(c *net.TCPConn) error {
	if err := c.SetLinger(0); err != nil {
		return err
	}
	return c.Close()
}

func TestAServerThatClosedBeforeTheRequestArrivedAcknowledgesNothing(t *testing.T) {
	x := answered(t)
	x.crossing((*net.TCPConn).Close)
	x.becomes(tcpinfo.CloseWait)
	x.readsEOF()
	require.Zero(t, x.acked())
	require.NoError(t, x.pending())

	reset := x.resets()
	x.arrives()
	receive(t, reset)
	x.becomes(tcpinfo.Close)
	require.Zero(t, x.acked())
	require.EqualValues(t, len(request), info(t, x.client).Queued, "the books balance")
	require.Equal(t, syscall.EPIPE, x.pending())
}

func TestAServerThatReadTheRequestAndClosedAcknowledgesIt(t *testing.T) {
	x := answered(t)
	write(t, x.client, request)
	require.Equal(t, request, read(t, x.server, len(request)))
	x.server.Close()
	x.becomes(tcpinfo.CloseWait)
	require.Equal(t, len(request), x.acked())
	require.NoError(t, x.pending())
	x.readsEOF()
}

func TestAServerThatLeftTheRequestUnreadAndClosedAcknowledgedIt(t *testing.T) {
	x := answered(t)
	acknowledged := x.lab.Arrival(func(p Packet) bool { return p.Direction == ToClient && p.PureAck() })
	write(t, x.client, request)
	receive(t, acknowledged)
	x.server.Close()
	x.becomes(tcpinfo.Close)
	require.Equal(t, len(request), x.acked())
	require.Zero(t, info(t, x.client).Queued)
	require.Equal(t, syscall.ECONNRESET, x.pending())
}

func TestAServerThatReadFiveBytesAndClosedAtOnceAcknowledgesNothing(t *testing.T) {
	x := answered(t)
	// On a slow machine the delayed acknowledgement, of 40 ms, would come first.
	x.lab.Filter(DropPureAcks(ToClient, -1))
	reset := x.resets()
	write(t, x.client, request)
	read(t, x.server, 5)
	x.server.Close()
	require.True(t, receive(t, reset).Flags.Has(ACK), "the RST acknowledges the request, and that is not counted")
	x.becomes(tcpinfo.Close)
	require.Zero(t, x.acked())
	require.Equal(t, syscall.ECONNRESET, x.pending())
}

func TestAServerThatAbortedBeforeTheRequestArrivedAcknowledgesNothing(t *testing.T) {
	x := answered(t)
	x.crossing(abort)
	x.becomes(tcpinfo.Close)
	require.Zero(t, x.acked())
	require.Equal(t, syscall.ECONNRESET, x.pending())
	reset := x.resets()
	x.arrives()
	receive(t, reset)
	require.Zero(t, x.acked(), "nor later")
}

func TestAServerThatShutDownItsWritingSideAcknowledgesTheRequestAFlightLater(t *testing.T) {
	x := answered(t)
	x.crossing((*net.TCPConn).CloseWrite)
	x.becomes(tcpinfo.CloseWait)
	x.readsEOF()
	require.Zero(t, x.acked())

	x.arrives()
	require.Equal(t, request, read(t, x.server, len(request)))
	await(t, func() bool { return x.acked() == len(request) })
	require.Equal(t, tcpinfo.CloseWait, info(t, x.client).State)
	require.NoError(t, x.pending())
}
