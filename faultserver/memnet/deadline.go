package memnet

import (
	"sync"
	"time"
)

// deadline ends waits on a condition. The lock is the condition's.
type deadline struct {
	expired bool
	timer   *time.Timer // nil: none, or it has fired
}

func (d *deadline) setLocked(t time.Time, waiting *sync.Cond) {
	d.stopLocked()
	d.expired = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.expired = true
		waiting.Broadcast()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		waiting.L.Lock()
		defer waiting.L.Unlock()
		if d.timer != timer {
			return // replaced while this waited for the lock
		}
		d.timer = nil
		d.expired = true
		waiting.Broadcast()
	})
	d.timer = timer
}

func (d *deadline) stopLocked() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
