package idlewise

import (
	"context"
	"time"
)

// A waiter is a caller that waits for a connection.
type waiter struct {
	ctx       context.Context // its values, not its end, go to the dial made for it
	since     time.Time       // it has waited since then
	notBefore time.Time       // connections that began earlier are of no use
	ready     chan delivery   // has room for the one delivery

	// Guarded by pool.mu.
	queued     bool
	counted    bool // it was queued before
	dialing    bool // a dial that was made for it is under way
	alone      bool // a dial that it shared failed; it makes its own
	hangUps    int  // how many connections were opened for it and found dead
	prev, next *waiter
}

func newWaiter(ctx context.Context, now, notBefore time.Time) *waiter {
	return &waiter{ctx: ctx, since: now, notBefore: notBefore, ready: make(chan delivery, 1)}
}

// hungUpLocked counts a connection that w found dead before its first request, and
// returns its error if w is not to wait for yet another one. A server that accepts
// connections and hangs up would else be dialed for as long as the caller waits.
func (w *waiter) hungUpLocked(c *conn) error {
	if w.hangUps++; w.hangUps <= maxProvenResends {
		return nil
	}
	return c.hangUp()
}

// A delivery is what a waiter gets: a connection that is the waiter's own, in
// HTTP/2 with a stream reserved, or an error.
type delivery struct {
	c   *conn
	err error
}

// deliver is called once, after w left the queue.
func (w *waiter) deliver(c *conn, err error) { w.ready <- delivery{c, err} }

// A waiterQueue holds waiters in the order in which they came. It is guarded
// by pool.mu.
type waiterQueue struct {
	head, tail *waiter
	n          int
}

func (q *waiterQueue) push(w *waiter) {
	w.queued = true
	w.prev = q.tail
	if q.tail != nil {
		q.tail.next = w
	} else {
		q.head = w
	}
	q.tail = w
	q.n++
}

// pushFront is for one that was served and got a connection that had just died.
func (q *waiterQueue) pushFront(w *waiter) {
	w.queued = true
	w.next = q.head
	if q.head != nil {
		q.head.prev = w
	} else {
		q.tail = w
	}
	q.head = w
	q.n++
}

func (q *waiterQueue) remove(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.tail = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.n--
}

// peek returns the first waiter that a connection that began at born serves.
func (q *waiterQueue) peek(born time.Time) *waiter {
	for w := q.head; w != nil; w = w.next {
		if !born.Before(w.notBefore) {
			return w
		}
	}
	return nil
}

// pop removes and returns what peek does.
func (q *waiterQueue) pop(born time.Time) *waiter {
	w := q.peek(born)
	if w != nil {
		q.remove(w)
	}
	return w
}

// popAny removes and returns the first waiter.
func (q *waiterQueue) popAny() *waiter {
	w := q.head
	if w != nil {
		q.remove(w)
	}
	return w
}
