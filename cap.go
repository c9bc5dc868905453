package idlewise

import (
	"container/heap"
	"time"
)

// The cap on the idle connections of a whole Transport, Config.MaxIdleConns.

func (t *Transport) tooManyIdle() bool { return t.maxIdle > 0 && t.idleConns.Load() > t.maxIdle }

// capIdle closes the connections idle for longest while there are more than
// the whole Transport may have. No lock is held.
func (t *Transport) capIdle() {
	if !t.tooManyIdle() {
		return
	}
	t.capping.Lock() // two at a time would close one too many
	defer t.capping.Unlock()
	for t.idleConns.Load() > t.maxIdle {
		p := t.idlers.oldest(&t.registry)
		if p == nil || !p.closeOldest() {
			return
		}
	}
}

// Idlers are a heap of pools, by since when their oldest connection is idle.
// They are collected from all records, which takes long where there are
// thousands, and then serve until all is gone that was idle at that time:
// what has become idle since is younger.
//
// A record that was dropped meanwhile is held until they are collected again.
type idlers struct {
	pools []idler
	asOf  int64 // when they were collected, in Unix nanoseconds
}

type idler struct {
	pool *pool
	from int64 // what its idleFrom was; that hardly ever falls, where a body was read late
}

func (h *idlers) Len() int           { return len(h.pools) }
func (h *idlers) Less(i, j int) bool { return h.pools[i].from < h.pools[j].from }
func (h *idlers) Swap(i, j int)      { h.pools[i], h.pools[j] = h.pools[j], h.pools[i] }
func (h *idlers) Push(x any)         { h.pools = append(h.pools, x.(idler)) }

func (h *idlers) Pop() any {
	last := len(h.pools) - 1
	x := h.pools[last]
	h.pools[last] = idler{}
	h.pools = h.pools[:last]
	return x
}

// oldest returns the pool whose connection has been idle for longest, nil if
// there is none.
func (h *idlers) oldest(r *registry) *pool {
	if p := h.first(); p != nil && p.idleFrom.Load() <= h.asOf {
		return p
	}
	h.collect(r)
	return h.first()
}

// first returns the first of those collected that still has what it had.
func (h *idlers) first() *pool {
	for len(h.pools) > 0 {
		first := &h.pools[0]
		switch from := first.pool.idleFrom.Load(); from {
		case 0:
			heap.Pop(h)
		case first.from:
			return first.pool
		default:
			first.from = from
			heap.Fix(h, 0)
		}
	}
	return nil
}

func (h *idlers) collect(r *registry) {
	clear(h.pools)
	h.pools, h.asOf = h.pools[:0], time.Now().UnixNano()
	r.mu.RLock()
	for _, u := range r.upstreams {
		if from := u.pool.idleFrom.Load(); from != 0 {
			h.pools = append(h.pools, idler{&u.pool, from})
		}
	}
	r.mu.RUnlock()
	heap.Init(h)
}
