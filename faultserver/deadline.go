package faultserver

import (
	"sync"
	"time"
)

// deadline is a point in time that can be waited for and moved. The zero value
// never comes.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	sets  int           // counts calls of set: a timer of an earlier one is void
	past  chan struct{} // closed once it has passed
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.sets++
	if d.past == nil || isClosed(d.past) {
		d.past = make(chan struct{})
	}
	switch wait := time.Until(t); {
	case t.IsZero():
	case wait <= 0:
		close(d.past)
	default:
		nth := d.sets
		d.timer = time.AfterFunc(wait, func() { d.pass(nth) })
	}
}

func (d *deadline) pass(nth int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sets == nth {
		close(d.past)
	}
}

// expired returns the channel to wait on, also for a deadline set later.
func (d *deadline) expired() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.past == nil {
		d.past = make(chan struct{})
	}
	return d.past
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
