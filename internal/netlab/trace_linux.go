package netlab

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// traced is how many events are remembered: the last seconds of a test with
// small requests.
const traced = 1024

type fate int

const (
	entered fate = iota
	held
	dropped
	lostToCut
	delivered
	refused
)

func (f fate) String() string {
	return [...]string{
		entered:   "enters",
		held:      "is held",
		dropped:   "is dropped",
		lostToCut: "is cut off",
		delivered: "arrives",
		refused:   "is refused",
	}[f]
}

type event struct {
	at       time.Duration // since the lab was made
	packet   Packet
	seq, ack uint32 // relative to the handshake's, if that was seen
	fate     fate
}

// A trace remembers what became of the last packets.
type trace struct {
	start instant // assigned in newTrace, never reassigned

	// mu is taken under a link's mutex.
	mu      sync.Mutex
	events  []event
	next    int
	initial map[way]uint32 // the SYN's sequence number
}

// way is one direction of a connection.
type way struct{ src, dst netip.AddrPort }

func newTrace() *trace { return &trace{start: now(), initial: map[way]uint32{}} }

func (tr *trace) add(at instant, p Packet, f fate) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if p.Flags.Has(SYN) {
		tr.initial[way{p.Src, p.Dst}] = p.Seq
	}
	e := event{at.since(tr.start), p, p.Seq - tr.initial[way{p.Src, p.Dst}], 0, f}
	if p.Flags.Has(ACK) {
		e.ack = p.Ack - tr.initial[way{p.Dst, p.Src}]
	}
	if len(tr.events) < traced {
		tr.events = append(tr.events, e)
		return
	}
	tr.events[tr.next] = e
	tr.next = (tr.next + 1) % traced
}

func (tr *trace) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var b strings.Builder
	for i := range tr.events {
		e := tr.events[(tr.next+i)%len(tr.events)]
		fmt.Fprintf(&b, "%12.3f ms  %v  %-10v  %s\n",
			float64(e.at)/1e6, e.packet.Direction, e.fate, e.packet.text(e.seq, e.ack))
	}
	return b.String()
}

// Dump logs the last 1024 events of the link: which packet, when, and what became
// of it. Sequence numbers count from the handshake. It is done for a test that
// failed, as the lab ends.
func (l *Lab) Dump(t testing.TB) {
	t.Helper()
	t.Logf("the link's last packets:\n%v\nto server: %+v\nto client: %+v",
		l.trace, l.Counters(ToServer), l.Counters(ToClient))
}
