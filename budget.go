package idlewise

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// The budget of an upstream: retries are a fifth of the requests of the last ten
// seconds, and ten a second beyond that. So a server that fails gets no more than
// 1.2 times the requests that it would get anyway, while a program that sends few
// can have each of them repeated.
const (
	budgetShare  = 5 // one retry in this many requests
	budgetWindow = 10
	budgetFloor  = 10 // a second
)

// A budget counts in seconds since its first request, on the monotonic clock. Its
// zero value is ready. Counting a request takes no lock.
type budget struct {
	began    atomic.Pointer[time.Time]
	requests [budgetWindow]secondCount

	mu      sync.Mutex
	charged [budgetWindow]secondCount // retries of the share; written under mu
	floor   secondCount               // retries of the floor; written under mu
}

// A secondCount is a count in one second: its number in the upper half, the count
// in the lower.
type secondCount struct{ atomic.Uint64 }

func (c *secondCount) add(second uint32) {
	for {
		old := c.Load()
		next := old + 1
		switch {
		case uint32(old>>32) > second:
			return // late by a round, and of no importance
		case uint32(old>>32) < second:
			next = uint64(second)<<32 + 1
		case uint32(old) == 1<<32-1:
			return
		}
		if c.CompareAndSwap(old, next) {
			return
		}
	}
}

// of returns the count, if it is of the second or at most so many before it.
func (c *secondCount) of(second, before uint32) uint64 {
	v := c.Load()
	if at := uint32(v >> 32); at > second || at+before < second {
		return 0
	}
	return v & (1<<32 - 1)
}

// second is the number of now's. The first is 1, so that zero counts are old.
func (b *budget) second(now time.Time) uint32 {
	began := b.began.Load()
	if began == nil {
		first := now // which escapes, and now must not
		b.began.CompareAndSwap(nil, &first)
		began = b.began.Load()
	}
	return uint32(max(now.Sub(*began)/time.Second, 0)) + 1
}

// noteRequest counts a request, whatever becomes of it.
func (b *budget) noteRequest(now time.Time) {
	s := b.second(now)
	b.requests[s%budgetWindow].add(s)
}

// withdraw takes one retry out of the budget, or reports that there is none left.
func (b *budget) withdraw(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.second(now)
	switch share, floor := b.left(s); {
	case share > 0:
		b.charged[s%budgetWindow].add(s)
	case floor > 0:
		b.floor.add(s)
	default:
		return false
	}
	return true
}

// remaining is how many retries there could be now.
func (b *budget) remaining(now time.Time) int {
	share, floor := b.left(b.second(now))
	return share + floor
}

func (b *budget) left(second uint32) (share, floor int) {
	var requests, charged uint64
	for i := range b.requests {
		requests += b.requests[i].of(second, budgetWindow-1)
		charged += b.charged[i].of(second, budgetWindow-1)
	}
	share = max(int(requests/budgetShare)-int(charged), 0)
	return share, budgetFloor - int(b.floor.of(second, 0))
}

// A budgetError is the error of a request that would have been sent again.
type budgetError struct{ cause error }

func (e budgetError) Error() string {
	return fmt.Sprintf("%v: %v", ErrRetryBudget, e.cause)
}

func (e budgetError) Unwrap() []error { return []error{e.cause, ErrRetryBudget} }

func (e budgetError) Timeout() bool {
	t, ok := e.cause.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

func (e budgetError) Temporary() bool {
	t, ok := e.cause.(interface{ Temporary() bool })
	return ok && t.Temporary()
}
