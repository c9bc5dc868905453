package netlab

import "time"

// Verdict is what becomes of a packet: [Pass], [Drop] or [Hold].
type Verdict time.Duration

const (
	// Pass lets the packet through, after the delay and in order.
	Pass Verdict = 0
	// Drop loses it. Neither side is told.
	Drop Verdict = -1
)

// Hold lets the packet through later than it would have been. Those behind it
// overtake it. [Lab.Release] ends the wait; until then, hold with an hour.
func Hold(extra time.Duration) Verdict { return Verdict(max(extra, 0)) }

// Filter has every packet judged that enters the link from now on, in place of
// the filters before. The first verdict that is not [Pass] counts; without
// filters all pass.
//
// A filter is called from the relay's goroutines, by one at a time. Once Filter
// has returned, those before are done and what they judged is on its way: what
// they kept needs no lock any more.
//
// A filter may call [Lab.Cut], [Lab.Mend] and [Lab.SetDelay], which then apply to
// the packet at hand, but not Filter. The same goes for a test that a filter
// sends a signal to: the packet may not be on its way yet. It is once the test
// has called Filter, or when [Lab.Counters] has it. Filters see packets that
// will be lost to a cut, too.
func (l *Lab) Filter(filters ...func(Packet) Verdict) {
	l.judging.Lock()
	defer l.judging.Unlock()
	l.filters = filters
}

// judgeLocked is called with judging held.
func (l *Lab) judgeLocked(p Packet) Verdict {
	for _, filter := range l.filters {
		if v := filter(p); v != Pass {
			return v
		}
	}
	return Pass
}

// DropPureAcks is a filter that drops the first n packets of one direction that
// only acknowledge, see [Packet.PureAck]; all if n is negative. The handshake's
// last packet is one of them.
func DropPureAcks(d Direction, n int) func(Packet) Verdict {
	return func(p Packet) Verdict {
		if p.Direction != d || !p.PureAck() || n == 0 {
			return Pass
		}
		n--
		return Drop
	}
}

// HoldAll is a filter that holds everything of one direction until
// [Lab.Release]. Those that are under way already are not held.
func HoldAll(d Direction) func(Packet) Verdict {
	return func(p Packet) Verdict {
		if p.Direction != d {
			return Pass
		}
		return Hold(time.Hour)
	}
}

type watcher struct {
	match   func(Packet) bool
	arrived chan Packet
}

// Arrival returns a channel that gets the first matching packet that is
// delivered from now on. By then the receiving kernel has processed the packet,
// unless a system call on the same socket was under way, which does so before
// it returns. match is called from the relay's goroutines, by one at a time,
// and must not call the lab's methods.
func (l *Lab) Arrival(match func(Packet) bool) <-chan Packet {
	l.watching.Lock()
	defer l.watching.Unlock()
	arrived := make(chan Packet, 1)
	l.watchers = append(l.watchers, watcher{match, arrived})
	return arrived
}

func (l *Lab) arrived(p Packet) {
	l.watching.Lock()
	defer l.watching.Unlock()
	left := l.watchers[:0]
	for _, w := range l.watchers {
		if w.match(p) {
			w.arrived <- p
			continue
		}
		left = append(left, w)
	}
	clear(l.watchers[len(left):])
	l.watchers = left
}
