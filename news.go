package idlewise

import (
	"log/slog"
	"sync"
	"time"

	"github.com/idlewise/idlewise/internal/deadline"
)

// Events happen under locks and in the middle of requests, and what the program
// does with them may take its time. So they are put into a queue, and a
// goroutine that exists only while there are some hands them over.

// maxQueued is how many events may wait to be handed over: as many as come when a
// server with thousands of connections goes down. More are dropped, and counted.
const maxQueued = 8192

// keptQueue is how much room a queue keeps once it is empty.
const keptQueue = 64

// news are the events that wait, and whom they are for.
type news struct {
	onEvent func(Event) // nil: nobody
	log     *eventLog   // nil: none

	mu      sync.Mutex // the last of all locks: any may be held when it is taken
	queue   []Event
	running bool // somebody hands over
	dropped uint64
}

func newNews(onEvent func(Event), logger *slog.Logger) *news {
	if onEvent == nil && logger == nil {
		return nil
	}
	n := &news{onEvent: onEvent}
	if logger != nil {
		n.log = &eventLog{logger: logger, kinds: make(map[logKind]*logPace)}
	}
	return n
}

// tell hands e over a moment later. Any lock may be held.
func (n *news) tell(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) >= maxQueued {
		n.dropped++
		return
	}
	n.queue = append(n.queue, e)
	if !n.running {
		n.running = true
		go n.handOver()
	}
}

func (n *news) handOver() {
	finished := false
	defer func() {
		if !finished { // OnEvent has ended the goroutine
			n.mu.Lock()
			n.running = false
			n.mu.Unlock()
		}
	}()
	var batch []Event
	for {
		clear(batch)
		n.mu.Lock()
		batch, n.queue = n.queue, batch[:0]
		if len(batch) == 0 {
			finished, n.running = true, false
			if cap(n.queue) > keptQueue {
				n.queue = nil
			}
			n.mu.Unlock()
			return
		}
		n.mu.Unlock()
		for _, e := range batch {
			if n.onEvent != nil {
				n.onEvent(e)
			}
			if n.log != nil {
				n.log.write(e)
			}
		}
	}
}

// lost is how many events were dropped. n may be nil.
func (n *news) lost() uint64 {
	if n == nil {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dropped
}

// recentEvents is how many of the events that matter are remembered.
const recentEvents = 64

// recent are the last events that matter: failures, and what was learned. They
// are rare enough to be kept whether or not anybody wants to be told.
type recent struct {
	mu   sync.Mutex // as news's
	ring [recentEvents]Event
	n    int // ever
}

func (r *recent) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.n%recentEvents] = e
	r.n++
}

// RecentEvents returns the last events of the kinds AttemptFailed, RequestLost,
// DeadlineChanged, CanaryEnded and BreakerChanged, at most 64, the oldest first.
// They are remembered also without OnEvent and Logger.
func (t *Transport) RecentEvents() []Event {
	r := &t.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Event
	for i := max(0, r.n-recentEvents); i < r.n; i++ {
		out = append(out, r.ring[i%recentEvents])
	}
	return out
}

// note is tell for an event that is to be remembered.
func (t *Transport) note(e Event) {
	t.recent.add(e)
	if t.news != nil {
		t.news.tell(e)
	}
}

func (u *upstream) info(now time.Time) EventInfo { return EventInfo{now, u.name} }

func (c *conn) event() Conn {
	e := Conn{ID: c.id, Local: c.local, Remote: c.remote, Proto: "HTTP/1"}
	if c.h2 {
		e.Proto = "HTTP/2"
	}
	return e
}

// deadline returns the limit for an event.
func (l idleLimit) deadline() Deadline { return Deadline{l.server, l.age, l.source} }

// noteDeadlineLocked tells if the deadline differs from the one that was told
// last by more than what the learner takes for the same.
func (p *pool) noteDeadlineLocked(now time.Time) {
	l := p.firstLimitLocked()
	if l == p.told {
		return
	}
	if l.source == p.told.source && (l.age-p.told.age).Abs() <= deadline.Tolerance(p.told.age) {
		return
	}
	p.u.t.note(DeadlineChanged{p.u.info(now), p.told.deadline(), l.deadline()})
	p.told = l
}
