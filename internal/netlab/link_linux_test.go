package netlab

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
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
	client, server := pair(t, lab)
	lab.SetDelay(time.Hour, ToServer)
	write(t, client, "a")
	await(t, func() bool { return lab.Counters(ToServer).Entered > 2 })
	lab.SetDelay(0, ToServer)
	lab.Filter(HoldAll(ToServer))
	write(t, client, "b")
	await(t, func() bool { return lab.Counters(ToServer).Held > 0 })
	lab.Filter()
	before := lab.Counters(ToServer)
	lab.Cut(ToServer)
	after := lab.Counters(ToServer)
	require.Equal(t, after.Entered, after.Delivered+after.Cut)
	require.Equal(t, before.Delivered, after.Delivered)
	lab.Release()
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

func TestAFilterThatCutsLosesThePacketAtHand(t *testing.T) {
	lab := New(t)
	client, server := pair(t, lab)
	seen := make(chan Packet, 64)
	lab.Filter(func(p Packet) Verdict {
		if data(ToServer)(p) {
			lab.Cut()
			seen <- p
		}
		return Pass
	})
	write(t, client, "x")
	require.Equal(t, 1, receive(t, seen).Payload)
	lab.Filter()
	require.Zero(t, info(t, server).Received)
}

func TestOneDroppedPacketIsSentAgain(t *testing.T) {
	lab := New(t)
	client, server := pair(t, lab)
	var seqs []uint32
	lab.Filter(func(p Packet) Verdict {
		if !data(ToServer)(p) {
			return Pass
		}
		seqs = append(seqs, p.Seq)
		if len(seqs) == 1 {
			return Drop
		}
		return Pass
	})
	write(t, client, "x")
	require.Equal(t, "x", read(t, server, 1))
	lab.Filter()
	require.GreaterOrEqual(t, len(seqs), 2)
	require.Equal(t, seqs[0], seqs[1])
	require.EqualValues(t, 1, lab.Counters(ToServer).Dropped)
}

func TestDroppedPureAcksAreMissedByTheSenderOnly(t *testing.T) {
	lab := New(t)
	client, server := pair(t, lab)
	lab.Filter(DropPureAcks(ToClient, -1))
	write(t, client, "question")
	require.Equal(t, "question", read(t, server, 8))
	await(t, func() bool { return lab.Counters(ToClient).Dropped > 0 })
	require.EqualValues(t, len("question"), info(t, client).Queued)

	// An answer acknowledges, too, and is let through.
	write(t, server, "answer")
	require.Equal(t, "answer", read(t, client, 6))
	await(t, func() bool { return info(t, client).Queued == 0 })
}

func TestSoManyPureAcksAreDroppedAndNoMore(t *testing.T) {
	drop := DropPureAcks(ToClient, 2)
	ack := Packet{Direction: ToClient, Protocol: protocolTCP, Flags: ACK}
	fin, other := ack, ack
	fin.Flags |= FIN
	other.Direction = ToServer
	var verdicts []Verdict
	for _, p := range []Packet{fin, other, ack, ack, ack} {
		verdicts = append(verdicts, drop(p))
	}
	require.Equal(t, []Verdict{Pass, Pass, Drop, Drop, Pass}, verdicts)
}

func TestAHeldPacketIsOvertakenAndArrivesOnRelease(t *testing.T) {
	lab := New(t)
	client, server := pair(t, lab)
	var first uint32
	lab.Filter(func(p Packet) Verdict {
		if data(ToServer)(p) && (first == 0 || p.Seq == first) {
			first = p.Seq
			return Hold(time.Hour)
		}
		return Pass
	})
	second := lab.Arrival(data(ToServer))
	write(t, client, "a")
	await(t, func() bool { return lab.Counters(ToServer).Held > 0 })
	write(t, client, "b")
	overtaking := receive(t, second)
	lab.Filter() // first is the test's from here on
	require.NotEqual(t, first, overtaking.Seq)
	require.Zero(t, info(t, server).Received, "there is a gap before it")

	late := lab.Arrival(func(p Packet) bool { return p.Seq == first })
	lab.Release()
	receive(t, late)
	require.Equal(t, "ab", read(t, server, 2))
}

func TestAHeldPacketArrivesByItselfInTheEnd(t *testing.T) {
	lab := New(t)
	client, server := pair(t, lab)
	const extra = 30 * time.Millisecond
	lab.Filter(func(Packet) Verdict { return Hold(extra) })
	start := time.Now()
	write(t, client, "x")
	require.Equal(t, "x", read(t, server, 1))
	require.GreaterOrEqual(t, time.Since(start), extra)
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

func TestTheDumpTellsWhatBecameOfEachPacket(t *testing.T) {
	lab := New(t)
	client, server := pair(t, lab)
	lab.Filter(DropPureAcks(ToClient, -1))
	write(t, client, "question")
	read(t, server, 8)
	await(t, func() bool { return lab.Counters(ToClient).Dropped > 0 })
	lab.Cut(ToServer)
	lab.Filter(HoldAll(ToClient))
	write(t, server, "answer")
	await(t, func() bool { return lab.Counters(ToClient).Held > 0 })
	client.Close()
	await(t, func() bool { return lab.Counters(ToServer).Cut > 0 })

	r := &recorder{TB: t}
	lab.Dump(r)
	for _, want := range []string{
		"to server  enters      " + client.LocalAddr().String() + " > " + server.LocalAddr().String() + " [S] seq 0 ack 0",
		"to client  arrives     " + server.LocalAddr().String() + " > " + client.LocalAddr().String() + " [S.] seq 0 ack 1",
		"[P.] seq 1 ack 1",
		"to client  is dropped",
		"[.] seq 1 ack 9",
		"to client  is held",
		"[P.] seq 1 ack 9",
		"to server  is cut off",
		"to client: {Entered:",
	} {
		require.Contains(t, r.text, want)
	}
}

type recorder struct {
	testing.TB
	text string
}

func (r *recorder) Logf(format string, args ...any) { r.text += fmt.Sprintf(format, args...) }

func TestTheTraceKeepsTheLastPackets(t *testing.T) {
	tr := newTrace()
	for i := range traced + 10 {
		tr.add(now(), Packet{Protocol: protocolTCP, Seq: uint32(i)}, entered)
	}
	lines := strings.Split(strings.TrimSpace(tr.String()), "\n")
	require.Len(t, lines, traced)
	require.Contains(t, lines[0], " seq 10 ")
	require.Contains(t, lines[traced-1], fmt.Sprint(" seq ", traced+9, " "))
}

func TestAPacketIsReadAsItWasSent(t *testing.T) {
	ip := []byte{0x45, 0, 0, 45, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 77, 0, 1, 10, 77, 0, 2}
	tcp := []byte{0x1f, 0x90, 0, 80, 0, 0, 0, 5, 0, 0, 0, 7, 0x50, 0x18, 1, 0, 0, 0, 0, 0}
	b := slices.Concat(ip, tcp, []byte("hello"))
	p, ok := parse(ToServer, b)
	require.True(t, ok)
	require.Equal(t, "10.77.0.1:8080 > 10.77.0.2:80 [P.] seq 5 ack 7 win 256 len 5", p.String())
	require.Equal(t, len(b), p.Size)
	require.False(t, p.PureAck())

	b[9] = 1
	p, ok = parse(ToServer, b)
	require.True(t, ok)
	require.Equal(t, "10.77.0.1 > 10.77.0.2 protocol 1, 45 bytes", p.String())

	b[0] = 0x60
	_, ok = parse(ToServer, b)
	require.False(t, ok, "IPv6")
	for n := range len(b) {
		parse(ToServer, b[:n])
	}
}
