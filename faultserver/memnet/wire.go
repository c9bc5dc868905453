package memnet

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// path is one direction between two endpoints. What is sent on it arrives in
// the order it was sent.
type path struct {
	from, to    endpoint
	jitter      *rand.Rand // nil: none
	lastArrival time.Time
}

// flight is a packet on its way.
type flight struct {
	at     time.Time
	order  uint64
	path   *path
	arrive func() // runs with the network's lock held
}

// flights is a heap by arrival, then by sending.
type flights []*flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	if f[i].at.Equal(f[j].at) {
		return f[i].order < f[j].order
	}
	return f[i].at.Before(f[j].at)
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(*flight)) }
func (f *flights) Pop() any {
	last := len(*f) - 1
	x := (*f)[last]
	(*f)[last] = nil
	*f = (*f)[:last]
	return x
}

// carryLocked sends a packet. Without latency it has arrived, and so has what
// it set off, when carryLocked returns: whoever sends has first brought its own
// state up to date, and looks at it anew afterwards.
func (n *Network) carryLocked(p *path, arrive func()) {
	if n.isCutLocked(p) {
		return
	}
	at := time.Now().Add(n.latency)
	if p.jitter != nil {
		at = at.Add(time.Duration(p.jitter.Int64N(int64(n.jitter) + 1)))
	}
	if at.Before(p.lastArrival) {
		at = p.lastArrival
	}
	p.lastArrival = at
	n.launched++
	heap.Push(&n.air, &flight{at: at, order: n.launched, path: p, arrive: arrive})
	n.deliverLocked()
}

// deliverLocked lets every packet arrive that is due, in order, and sets the
// timer for the next one.
func (n *Network) deliverLocked() {
	if n.delivering {
		return // called by an arrival: the loop below goes on with what it sent
	}
	n.delivering = true
	for len(n.air) > 0 && !n.air[0].at.After(time.Now()) {
		f := heap.Pop(&n.air).(*flight)
		if !n.isCutLocked(f.path) {
			f.arrive()
		}
	}
	n.delivering = false
	n.setTimerLocked()
}

// setTimerLocked runs one timer for the whole network: packets due at one
// instant then arrive in the order they were sent, not in the order in which
// the scheduler runs their timers.
func (n *Network) setTimerLocked() {
	if len(n.air) == 0 {
		if n.timer != nil {
			n.timer.Stop()
		}
		n.timerDue = time.Time{}
		return
	}
	due := n.air[0].at
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
