package idlewise

import (
	"errors"
	"io"
	"sync/atomic"
)

// Bodies of requests without GetBody are recorded while they are sent, if the
// policy's MaxReplayBody allows it, so that another attempt can begin with what
// was recorded and go on with what was not yet read. Nothing is read before
// net/http wants it: a body may be the program's half of a conversation.

// errBodyInUse is why a recorded body cannot be sent again.
var errBodyInUse = errors.New("it is still being read")

// A byteStore bounds what all recordings of a Transport hold together.
type byteStore struct {
	limit int64
	held  atomic.Int64
}

func (s *byteStore) take(n int) bool {
	if s.held.Add(int64(n)) > s.limit {
		s.held.Add(-int64(n))
		return false
	}
	return true
}

func (s *byteStore) give(n int) { s.held.Add(-int64(n)) }

// A recording is the beginning of a body; guarded by its guard's mu. There is room
// for it in store.
type recording struct {
	store *byteStore
	limit int64
	bytes []byte
	whole bool // that is all of it
}

// free gives the room back. r may be nil.
func (r *recording) free() {
	if r != nil {
		r.store.give(len(r.bytes))
		r.bytes = nil
	}
}

// record sees to it that up to limit bytes of the body are kept.
func (b *payload) record(store *byteStore, limit int64) {
	if b.current == nil || b.first.GetBody != nil || b.first.ContentLength > limit {
		return
	}
	switch {
	case b.memory != nil:
		// In memory already, so that reading it now changes nothing.
		if int64(b.length) > limit || !store.take(b.length) {
			return
		}
		b.kept, _ = io.ReadAll(b.current)
		b.store = store
		first, _ := b.again()
		b.wrap(first)
		return
	case b.file:
		b.file, b.guard = false, b.guarded(b.current) // without sendfile
	}
	b.guard.rec = &recording{store: store, limit: limit}
}

// freeKept gives back the room of a body in memory.
func (b *payload) freeKept() {
	if b.store != nil {
		b.store.give(len(b.kept))
		b.store = nil
	}
}

// readRecordedLocked reads what was recorded when another guard had the body.
func (g *guard) readRecordedLocked(p []byte) (int, error, bool) {
	if g.rec == nil {
		return 0, nil, false
	}
	if g.at < len(g.rec.bytes) {
		n := copy(p, g.rec.bytes[g.at:])
		g.at += n
		return n, nil, true
	}
	whole := g.rec.whole
	if g.final && !whole {
		g.forgetLocked()
	}
	return 0, io.EOF, whole
}

// forgetLocked lets go of what was recorded.
func (g *guard) forgetLocked() {
	g.rec.free()
	g.rec = nil
}

// recordLocked takes note of what a Read of the body returned. What is too long is
// not recorded at all any more.
func (g *guard) recordLocked(p []byte, err error) {
	r := g.rec
	if r == nil {
		return
	}
	if err != nil && err != io.EOF || int64(len(r.bytes)+len(p)) > r.limit || !r.store.take(len(p)) {
		g.forgetLocked()
		return
	}
	r.bytes = append(r.bytes, p...)
	g.at = len(r.bytes)
	r.whole = err == io.EOF
}

// recorded reports whether the body could be sent again from its beginning.
func (g *guard) recorded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.recordedLocked()
}

func (g *guard) recordedLocked() bool {
	return g.rec != nil && g.body != nil && !g.broken && !g.reading && !g.closed
}

// replay returns a new guard that begins with what was recorded, or nil if that
// cannot be. This one lets the body go.
func (g *guard) replay() *guard {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.recordedLocked() {
		return nil
	}
	next := &guard{body: g.body, rec: g.rec, left: g.left + int64(g.at)}
	g.body, g.rec = nil, nil
	return next
}
