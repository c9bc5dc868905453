package netlab

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// data matches a packet that carries bytes.
func data(d Direction) func(Packet) bool {
	return func(p Packet) bool { return p.Direction == d && p.Payload > 0 }
}

func write(t testing.TB, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

func read(t testing.TB, c net.Conn, n int) string {
	t.Helper()
	b := make([]byte, n)
	_, err := io.ReadFull(c, b)
	require.NoError(t, err)
	return string(b)
}

func TestTheDelayIsThere(t *testing.T) {
	const oneWay = 20 * time.Millisecond
	lab := New(t, WithDelay(oneWay))
	start := time.Now()
	client, server := pair(t, lab)
	require.GreaterOrEqual(t, time.Since(start), 2*oneWay, "SYN and its answer")
	require.GreaterOrEqual(t, info(t, client).RTT, 2*oneWay, "as the kernel measured it")

	start = time.Now()
	write(t, client, "x")
	read(t, server, 1)
	require.GreaterOrEqual(t, time.Since(start), oneWay)

	lab.SetDelay(3*oneWay, ToClient)
	start = time.Now()
	write(t, server, "x")
	read(t, client, 1)
	require.GreaterOrEqual(t, time.Since(start), 3*oneWay, "of one direction")
}

func TestAShorterDelayLeavesPacketsInOrder(t *testing.T) {
	lab := New(t)
	client, server := pair(t, lab)
	start := time.Now()
	arrivals := make(chan Packet, 2)
	lab.Arrival(func(p Packet) bool {
		if data(ToServer)(p) {
			arrivals <- p
		}
		return len(arrivals) == 2
	})
	const delay = 50 * time.Millisecond
	lab.SetDelay(delay, ToServer)
	entered := make(chan Packet, 64)
	lab.Filter(func(p Packet) Verdict {
		if data(ToServer)(p) {
			entered <- p
		}
		return Pass
	})
	write(t, client, "slow")
	receive(t, entered)
	lab.Filter() // and with its delay under way, when this returns
	lab.SetDelay(0, ToServer)
	write(t, client, "fast")
	require.Equal(t, "slowfast", read(t, server, 8))
	require.GreaterOrEqual(t, time.Since(start), delay)
	require.Less(t, receive(t, arrivals).Seq, receive(t, arrivals).Seq)
}

func TestNothingArrivesAfterACutAndRetransmissionDeliversAfterItIsMended(t *testing.T) {
	lab := New(t)
	client, server := pair(t, lab)
	lab.Cut()
	before := lab.Counters(ToServer)
	write(t, client, "x")
	await(t, func() bool { return lab.Counters(ToServer).Cut > before.Cut })
	require.Equal(t, before.Delivered, lab.Counters(ToServer).Delivered)
	require.Zero(t, info(t, server).Received)

	lab.Mend()
	require.Equal(t, "x", read(t, server, 1))
	await(t, func() bool { return info(t, client).Queued == 0 })
}

func TestACutTakesWhatIsUnderWayAndWhatIsHeld(t *testing.T) {
	lab := New(t)
	cutOff, server := pair(t, lab)
	later, serverLater := pair(t, lab)
	lab.Filter(HoldAll(ToServer))
	write(t, cutOff, "held")
	await(t, func() bool { return lab.Counters(ToServer).Held > 0 })
	lab.Filter()
	entered := lab.Counters(ToServer).Entered
	lab.SetDelay(time.Hour, ToServer)
	write(t, later, "under way")
	await(t, func() bool { return lab.Counters(ToServer).Entered > entered })

	lab.Cut(ToServer)
	after := lab.Counters(ToServer)
	require.Equal(t, after.Entered, after.Delivered+after.Cut)
	require.Empty(t, lab.links[ToServer].queue)
	lab.Filter(func(p Packet) Verdict {
		if p.Src.String() == cutOff.LocalAddr().String() {
			return Drop // it would send again what was lost
		}
		return Pass
	})
	lab.SetDelay(0, ToServer)
	lab.Mend()
	lab.Release()
	require.Equal(t, "under way", read(t, serverLater, 9), "sent again")
	require.Zero(t, info(t, server).Received)
}

func TestACutOfOneDirectionLeavesTheOther(t *testing.T) {
	lab := New(t)
	client, server := pair(t, lab)
	lab.Cut(ToServer)
	write(t, server, "x")
	require.Equal(t, "x", read(t, client, 1))
	await(t, func() bool { return lab.Counters(ToServer).Cut > 0 })
	require.NotZero(t, info(t, server).Queued, "the acknowledgement was cut off")
	lab.Mend(ToServer)
	await(t, func() bool { return info(t, server).Queued == 0 })
}

func TestWhatArrivedIsWithTheKernelAlready(t *testing.T) {
	lab := New(t)
	client, server := pair(t, lab)
	for i := range 50 {
		arrived := lab.Arrival(data(ToServer))
		write(t, client, "x")
		receive(t, arrived)
		require.EqualValues(t, i+1, info(t, server).Received)
	}
}
