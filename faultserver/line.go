package faultserver

import (
	"bytes"
	"net"
	"os"
	"sync"
	"time"
)

// maxInLine is how many bytes a line holds before the sender must wait.
const maxInLine = 1 << 20

// line is one direction of a connection with latency: what goes in comes out
// later, in order, and the sender does not wait for it.
type line struct {
	mu      sync.Mutex
	chunks  []chunk
	held    int       // bytes in chunks
	last    time.Time // when the last chunk is due: none overtakes another
	ended   bool      // nothing more goes in
	changed chan struct{}
}

// chunk is a piece of data, or the end of it.
type chunk struct {
	data []byte
	err  error
	due  time.Time
}

func newLine() *line { return &line{changed: make(chan struct{})} }

// put sends a copy of p. It waits while the line is full, and fails with
// net.ErrClosed if stop comes first or the line has ended, and with
// os.ErrDeadlineExceeded if expired comes first.
func (l *line) put(p []byte, due time.Time, stop, expired <-chan struct{}) error {
	for {
		l.mu.Lock()
		switch {
		case l.ended:
			l.mu.Unlock()
			return net.ErrClosed
		case l.held == 0 || l.held+len(p) <= maxInLine:
			l.addLocked(chunk{data: bytes.Clone(p), due: due})
			l.mu.Unlock()
			return nil
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-stop:
			return net.ErrClosed
		case <-expired:
			return os.ErrDeadlineExceeded
		}
	}
}

// end sends err behind all that was put. Only the first call counts.
func (l *line) end(err error, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		l.addLocked(chunk{err: err, due: due})
	}
}

func (l *line) addLocked(c chunk) {
	if c.due.Before(l.last) {
		c.due = l.last
	}
	l.last = c.due
	l.held += len(c.data)
	l.chunks = append(l.chunks, c)
	l.announceLocked()
}

func (l *line) announceLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// take receives what is due next, or the error that ended the line, that one
// again and again. It fails with net.ErrClosed if stop comes first and with
// os.ErrDeadlineExceeded if expired does.
func (l *line) take(p []byte, stop, expired <-chan struct{}) (int, error) {
	for {
		l.mu.Lock()
		var wait <-chan time.Time
		if len(l.chunks) > 0 {
			early := time.Until(l.chunks[0].due)
			if early <= 0 {
				n, err := l.takeLocked(p)
				l.mu.Unlock()
				return n, err
			}
			t := time.NewTimer(early)
			defer t.Stop()
			wait = t.C
		}
		changed := l.changed
		l.mu.Unlock()
		if wait != nil {
			changed = nil // what comes after the first chunk is no sooner due
		}
		select {
		case <-wait:
		case <-changed:
		case <-stop:
			return 0, net.ErrClosed
		case <-expired:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (l *line) takeLocked(p []byte) (int, error) {
	c := &l.chunks[0]
	if c.err != nil {
		return 0, c.err
	}
	n := copy(p, c.data)
	l.held -= n
	if c.data = c.data[n:]; len(c.data) == 0 {
		l.chunks[0] = chunk{}
		l.chunks = l.chunks[1:]
	}
	l.announceLocked()
	return n, nil
}

// holdsData reports whether data is in it that nobody has taken.
func (l *line) holdsData() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held > 0
}
