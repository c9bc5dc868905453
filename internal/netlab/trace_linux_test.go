package netlab

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

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
