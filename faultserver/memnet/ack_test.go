package memnet_test

import (
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

var lazy = memnet.Options{Latency: latency, DelayedAck: 40 * time.Millisecond}

func TestADelayedAcknowledgementComesWhenItsTimeIsUp(t *testing.T) {
	between(t, lazy, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, client, request)
		pass(2*latency + 40*time.Millisecond - 1)
		require.EqualValues(t, 1, client.Accounting().Acked)
		pass(1)
		require.EqualValues(t, 1+len(request), client.Accounting().Acked)
	})
}

func TestADelayedAcknowledgementRidesOnData(t *testing.T) {
	between(t, lazy, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, client, request)
		pass(latency)
		write(t, server, "200")
		pass(latency)
		require.EqualValues(t, 1+len(request), client.Accounting().Acked)
		require.EqualValues(t, 0, server.Accounting().Acked, "this one waits")
		pass(time.Second)
		require.Equal(t, time.Second, client.Accounting().SinceAck, "and does not come again by itself")
	})
}

func TestMoreThanASegmentIsAcknowledgedAtOnce(t *testing.T) {
	opts := lazy
	opts.SegmentSize = 10
	between(t, opts, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, client, "0123456789")
		write(t, client, "0")
		pass(2 * latency)
		require.EqualValues(t, 12, client.Accounting().Acked)
	})
}

// The case in which a RST must not be taken for proof: the server read the
// request and closed before its kernel had acknowledged anything.
func TestARSTThatComesBeforeTheDelayedAcknowledgementLeavesNothingAcknowledged(t *testing.T) {
	between(t, lazy, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, client, request)
		readFull(t, server, request[:5])
		require.NoError(t, server.Close())
		require.ErrorIs(t, readError(client), syscall.ECONNRESET)
		pass(time.Second)
		require.EqualValues(t, 1, client.Accounting().Acked)
		require.EqualValues(t, len(request), client.Accounting().Queued)
	})
}

func TestAHalfClosedServersAcknowledgementComesWellAfterItsFIN(t *testing.T) {
	between(t, lazy, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		server.CloseWrite()
		write(t, client, request)
		require.Equal(t, io.EOF, readError(client))
		readFull(t, server, request)
		pass(latency + 40*time.Millisecond - 1)
		require.Equal(t, memnet.CloseWait, client.Accounting().State)
		require.EqualValues(t, 1, client.Accounting().Acked)
		pass(1)
		require.EqualValues(t, 1+len(request), client.Accounting().Acked)
	})
}

func TestLostAcknowledgementsMakeTheClientRepeatWhatHasArrived(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		require.NoError(t, n.SetLink(server, "", memnet.Link{Latency: latency, LoseAcks: true}))
		write(t, client, request)
		readFull(t, accepted, request)
		pass(10 * time.Second)
		require.EqualValues(t, 1, client.Accounting().Acked)
		require.Equal(t, 5, client.Accounting().Retransmits)
		require.EqualValues(t, len(request), accepted.Accounting().Received, "once")
		write(t, accepted, "200")
		pass(latency)
		require.EqualValues(t, 1+len(request), client.Accounting().Acked, "data carries it")
	})
}

func TestWithoutAnyAcknowledgementTheClientGivesUpAndTheServerHasExecutedIt(t *testing.T) {
	opts := far
	opts.GiveUpAfter = 30 * time.Second
	between(t, opts, func(t *testing.T, n *memnet.Network, client, accepted *memnet.Conn) {
		require.NoError(t, n.SetLink(server, "", memnet.Link{Latency: latency, LoseAcks: true}))
		write(t, client, request)
		takes(t, 30*time.Second, func() { require.ErrorIs(t, readError(client), syscall.ETIMEDOUT) })
		readFull(t, accepted, request)
	})
}

func TestTheTimesSinceSomethingCameAreKept(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, server, "data")
		pass(latency)
		pass(3 * time.Second)
		require.Equal(t, 3*time.Second, client.Accounting().SinceReceived)
		write(t, client, request)
		pass(2 * latency)
		pass(time.Second)
		require.Equal(t, 4*time.Second+2*latency, client.Accounting().SinceReceived, "an acknowledgement is no data")
		require.Equal(t, time.Second, client.Accounting().SinceAck)
		require.Equal(t, 2*latency, client.Accounting().RTT)
		require.Equal(t, 2*latency, server.Accounting().RTT)
		server.CloseWrite()
		pass(latency)
		require.Equal(t, 4*time.Second+3*latency, client.Accounting().SinceReceived, "a FIN is none either")
	})
}
