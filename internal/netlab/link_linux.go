package netlab

import (
	"container/heap"
	"os"
	"slices"
	"sync"
	"time"
)

// A link carries packets in one direction. One goroutine takes them from the
// sender's device, another writes them to the receiver's when they are due.
type link struct {
	// Assigned in newLink, never reassigned.
	lab       *Lab
	direction Direction
	from, to  *os.File
	alarm     *alarm

	// mu is held while a packet is written, so that none arrives once Cut has
	// returned. The write does not wait: the kernel takes any packet or fails.
	mu       sync.Mutex
	delay    time.Duration
	cable    cable
	queue    queue
	order    uint64  // of the packet that entered last
	last     instant // when the last one under way in order is due; the next is not before it
	counters Counters
}

type cable int

const (
	whole cable = iota
	severed
)

// Counters are how many packets of one direction met which end. Those that
// entered and met none are under way.
type Counters struct {
	Entered   uint64 // were sent by the kernel of the one side
	Delivered uint64 // were given to the kernel of the other
	Cut       uint64 // were lost to Cut
	Dropped   uint64 // were dropped by a filter
	Held      uint64 // were held by a filter. They have another end later
	Refused   uint64 // the other side's device did not take
}

func newLink(l *Lab, d Direction, from, to *os.File, a *alarm, delay time.Duration) *link {
	return &link{lab: l, direction: d, from: from, to: to, alarm: a, delay: delay}
}

// read takes packets from the sender until its device is closed.
func (k *link) read() {
	buffer := make([]byte, 1<<16)
	for {
		n, err := k.from.Read(buffer)
		if err != nil {
			return
		}
		at := now()
		// A kernel that speaks IPv6 looks for routers and neighbors on its own.
		// The link has none, and the noise would be in every count.
		p, ok := parse(k.direction, buffer[:n])
		if !ok {
			continue
		}
		k.lab.judging.Lock()
		k.enter(p, slices.Clone(buffer[:n]), at, k.lab.judgeLocked(p))
		k.lab.judging.Unlock()
	}
}

func (k *link) enter(p Packet, bytes []byte, at instant, v Verdict) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.counters.Entered++
	switch {
	case k.cable == severed:
		k.counters.Cut++
		k.lab.trace.add(at, p, lostToCut)
		return
	case v < 0:
		k.counters.Dropped++
		k.lab.trace.add(at, p, dropped)
		return
	}
	k.order++
	f := &flight{packet: p, bytes: bytes, order: k.order}
	f.due = max(at.add(k.delay), k.last)
	if v == Pass {
		k.last = f.due
		k.lab.trace.add(at, p, entered)
	} else {
		f.held = true
		f.due = f.due.add(time.Duration(v))
		k.counters.Held++
		k.lab.trace.add(at, p, held)
	}
	heap.Push(&k.queue, f)
	if k.queue[0] == f {
		k.alarm.set(f.due)
	}
}

// deliver writes packets to the receiver until the alarm is closed.
func (k *link) deliver() {
	for k.alarm.wait() == nil {
		for k.deliverNext() {
		}
	}
}

// deliverNext delivers one packet if one is due, or else sets the alarm for the
// next.
func (k *link) deliverNext() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.queue) == 0 {
		return false
	}
	if due := k.queue[0].due; due > now() {
		k.alarm.set(due)
		return false
	}
	f := heap.Pop(&k.queue).(*flight)
	// Before the write, in which the other kernel may answer already.
	k.lab.trace.add(now(), f.packet, delivered)
	if _, err := k.to.Write(f.bytes); err != nil {
		k.counters.Refused++
		k.lab.trace.add(now(), f.packet, refused)
		return true
	}
	k.counters.Delivered++
	k.lab.arrived(f.packet)
	return true
}

func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cable = severed
	at := now()
	for _, f := range k.queue {
		k.counters.Cut++
		k.lab.trace.add(at, f.packet, lostToCut)
	}
	k.queue, k.last = nil, 0
}

func (k *link) release() {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := now()
	for _, f := range k.queue {
		if f.held {
			f.due = at
		}
	}
	heap.Init(&k.queue)
	if len(k.queue) > 0 {
		k.alarm.set(k.queue[0].due)
	}
}

// each calls f for the links of the given directions, or for both if none are
// given.
func (l *Lab) each(ds []Direction, f func(*link)) {
	if len(ds) == 0 {
		ds = []Direction{ToServer, ToClient}
	}
	for _, d := range ds {
		f(l.links[d])
	}
}

// SetDelay is how long packets that enter from now on are under way, one way.
// It is kept to within some 100 µs and is never shorter. After a change to a
// shorter one, packets still do not overtake those before them.
func (l *Lab) SetDelay(oneWay time.Duration, ds ...Direction) {
	l.each(ds, func(k *link) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.delay = oneWay
	})
}

// Cut loses everything that is under way or held and everything that enters
// until [Lab.Mend]. Nothing arrives any more once it has returned, and neither
// side is told. A cut of both directions is not one moment: first the way to the
// server, then the other.
func (l *Lab) Cut(ds ...Direction) { l.each(ds, (*link).cut) }

// Mend ends a cut. What was lost stays lost.
func (l *Lab) Mend(ds ...Direction) {
	l.each(ds, func(k *link) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.cable = whole
	})
}

// Release delivers at once what filters hold, in the order in which it entered.
// Filters go on holding what enters later, unless they were replaced before:
// call [Lab.Filter] first.
func (l *Lab) Release(ds ...Direction) { l.each(ds, (*link).release) }

// Counters returns what was counted in one direction so far.
func (l *Lab) Counters(d Direction) Counters {
	k := l.links[d]
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.counters
}
