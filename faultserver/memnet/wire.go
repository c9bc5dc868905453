package memnet

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// path is one direction between two endpoints. What is sent on it arrives in
// the order it was sent.
type path struct {
	from, to endpoint
	number   uint64 // of the dial that made it
	back     bool   // from the one that was dialed

	// Guarded by Network.mu.
	dead        bool // leads to one that has vanished: Conn.Vanish
	link        Link
	linkVersion uint64     // of Network.links that link was found in; 0: none yet
	jitter      *rand.Rand // nil: none drawn yet
	losses      *rand.Rand
	wireFree    time.Time // when what was sent has left for its way: Link.Bandwidth
	lastArrival time.Time
}

// event is something due: a packet that arrives, or a timer of a connection.
type event struct {
	at    time.Time
	order uint64
	index int // in the heap, plus one; 0: not in it

	path    *path // nil: a timer
	arrival       // what a packet does
	run     func()
}

// arrival is a segment for one end of a connection; of other events to is nil
// and run says what happens. It happens with the network's lock held.
type arrival struct {
	to      *Conn
	segment segment
}

// agenda is a heap by time, then by the order in which things were planned.
type agenda []*event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].at.Equal(a[j].at) {
		return a[i].order < a[j].order
	}
	return a[i].at.Before(a[j].at)
}
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i+1, j+1
}
func (a *agenda) Push(x any) {
	e := x.(*event)
	*a = append(*a, e)
	e.index = len(*a)
}
func (a *agenda) Pop() any {
	last := len(*a) - 1
	e := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	e.index = 0
	return e
}

// carryLocked sends a packet of size bytes of data. Without latency it has
// arrived, and so has what it set off, when carryLocked returns: whoever sends
// has first brought its own state up to date, and looks at it anew afterwards.
func (n *Network) carryLocked(e *event, size int) {
	p, l := e.path, n.linkLocked(e.path)
	if n.isCutLocked(p) || l.LoseAcks && e.to != nil && e.segment.kind == acknowledgement {
		return
	}
	now := time.Now()
	at := now
	if l.Bandwidth > 0 && size > 0 {
		if p.wireFree.After(now) {
			at = p.wireFree
		}
		at = at.Add(time.Duration(float64(size) / float64(l.Bandwidth) * float64(time.Second)))
		p.wireFree = at
	}
	if n.losesLocked(p, l) {
		return
	}
	at = at.Add(l.Latency + n.jitterLocked(p, l))
	if at.Before(p.lastArrival) {
		at = p.lastArrival
	}
	p.lastArrival = at
	n.planLocked(e, at)
	n.deliverLocked()
}

// planLocked puts an event on the agenda, or moves it there. The timer is set
// by whoever has nothing more to plan: [Network.deliverLocked].
func (n *Network) planLocked(e *event, at time.Time) {
	n.planned++
	e.at, e.order = at, n.planned
	if e.index > 0 {
		heap.Fix(&n.agenda, e.index-1)
		return
	}
	heap.Push(&n.agenda, e)
}

func (n *Network) cancelLocked(e *event) {
	if e.index > 0 {
		heap.Remove(&n.agenda, e.index-1)
	}
}

// deliverLocked lets everything happen that is due, in order, and sets the
// timer for what is next.
func (n *Network) deliverLocked() {
	if n.delivering {
		return // called by an arrival: the loop below goes on with what it sent
	}
	n.delivering = true
	for len(n.agenda) > 0 && !n.agenda[0].at.After(time.Now()) {
		e := heap.Pop(&n.agenda).(*event)
		switch {
		case e.path != nil && n.isCutLocked(e.path):
		case e.to == nil:
			e.run()
		case e.segment.kind != reset && n.forgotten(e.path):
			e.to.sendSegmentLocked(segment{kind: reset, exact: true})
		default:
			e.to.arriveLocked(e.segment)
		}
	}
	n.delivering = false
	n.setTimerLocked()
}

// setTimerLocked runs one timer for the whole network: packets due at one
// instant then arrive in the order they were sent, not in the order in which
// the scheduler runs their timers.
func (n *Network) setTimerLocked() {
	if len(n.agenda) == 0 {
		if n.timer != nil && !n.timerDue.IsZero() {
			n.timer.Stop()
		}
		n.timerDue = time.Time{}
		return
	}
	due := n.agenda[0].at
	if due.Equal(n.timerDue) {
		return
	}
	n.timerDue = due
	if n.timer == nil {
		n.timer = time.AfterFunc(time.Until(due), n.timerFired)
		return
	}
	n.timer.Reset(time.Until(due))
}

func (n *Network) timerFired() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.timerDue = time.Time{}
	n.deliverLocked()
}
