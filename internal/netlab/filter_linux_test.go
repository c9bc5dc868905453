package netlab

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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

func TestWhatAFilterJudgedIsOnItsWayOnceItIsReplaced(t *testing.T) {
	lab := New(t)
	client, server := pair(t, lab)
	for range 200 {
		before := lab.Counters(ToServer).Held
		judged := make(chan Packet, 64)
		lab.Filter(func(p Packet) Verdict {
			if !data(ToServer)(p) {
				return Pass
			}
			judged <- p
			return Hold(time.Hour)
		})
		write(t, client, "x")
		receive(t, judged)
		lab.Filter()
		require.Greater(t, lab.Counters(ToServer).Held, before)
		lab.Release()
		read(t, server, 1)
	}
}
