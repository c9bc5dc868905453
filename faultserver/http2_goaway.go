package faultserver

import (
	"time"

	"golang.org/x/net/http2"
)

// goAwayPing marks the PING of a graceful GOAWAY.
var goAwayPing = [8]byte{'g', 'o', ' ', 'a', 'w', 'a', 'y', '!'}

// goAwayPatience is how long a graceful GOAWAY waits for that PING's
// acknowledgement.
const goAwayPatience = time.Second

const maxStreamID = 1<<31 - 1

// goAwayGracefully begins the two-step shutdown of RFC 9113 section 6.8. The
// first GOAWAY asks the client to open no more streams; those already on their
// way are accepted until the second, sent when a PING has come back or, if gap
// is set, after that time. When all streams have ended the connection ends as
// e says. It does not wait.
func (h *http2Conn) goAwayGracefully(e ending, gap time.Duration) {
	h.mu.Lock()
	if h.staying { // the client knows already
		h.mu.Unlock()
		h.stayNoMore(e)
		return
	}
	if h.leaving || h.goneAway || h.dead {
		h.mu.Unlock()
		return
	}
	h.leaving = true
	h.writeLocked(func() {
		h.fr.WriteGoAway(maxStreamID, http2.ErrCodeNo, nil)
		if gap == 0 {
			h.fr.WritePing(false, goAwayPing)
		}
	})
	seen := h.pingSeen
	h.mu.Unlock()

	patience := goAwayPatience
	if gap > 0 {
		patience, seen = gap, nil
	}
	h.c.srv.wg.Go(func() {
		t := time.NewTimer(patience)
		defer t.Stop()
		select {
		case <-t.C:
		case <-seen:
		case <-h.c.ctx.Done():
			return
		}
		h.goAwayForGood(e)
	})
}

// goAwayForGood is the second step.
func (h *http2Conn) goAwayForGood(e ending) {
	h.mu.Lock()
	if h.goneAway || h.dead {
		h.mu.Unlock()
		return
	}
	h.goneAway = true
	h.refuseAt = h.maxID + 1
	last := h.maxID
	h.onEmpty = &e
	empty := h.running == 0
	h.writeLocked(func() { h.fr.WriteGoAway(last, http2.ErrCodeNo, nil) })
	h.mu.Unlock()
	if empty {
		h.shutAfterWriting(e)
	}
}

// goAwayNow sends one GOAWAY and ends the connection. The last stream it names is
// the highest seen: of one above it the client were to believe that it was not
// processed.
func (h *http2Conn) goAwayNow(code uint32, e ending) { h.goAwayWith(code, "", e) }

// goAwayWith is goAwayNow with debug data.
func (h *http2Conn) goAwayWith(code uint32, debug string, e ending) {
	h.mu.Lock()
	h.goneAway = true
	h.refuseAt = h.maxID + 1
	last := h.maxID
	h.writeLocked(func() { h.fr.WriteGoAway(last, http2.ErrCode(code), []byte(debug)) })
	h.mu.Unlock()
	h.shutAfterWriting(e)
}

// disown tells the client by GOAWAY that the stream id and all above it are not
// processed. The older streams are served to their end, and then the connection
// ends. GoAwayTwice names the stream first, and disowns it After later.
func (h *http2Conn) disown(id uint32, f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.goneAway = true
	if h.refuseAt == 0 || h.refuseAt > id {
		h.refuseAt = id
	}
	last := uint32(0)
	if id > 2 {
		last = id - 2
	}
	e := &ending{how: closeLinger, by: ServerFIN, reason: FaultStruck, fault: f.Kind}
	if f.Kind == GoAwayTwice {
		h.writeGoAwayLocked(id, f)
		if f.After > 0 {
			h.later(f.After, func() {
				h.mu.Lock()
				h.writeGoAwayLocked(last, f)
				h.mu.Unlock()
				h.endWhenEmpty(e)
			})
			return
		}
	}
	h.writeGoAwayLocked(last, f)
	h.onEmpty = e // the disowned request's own end is still to come
}

// endWhenEmpty ends the connection as soon as no stream is left.
func (h *http2Conn) endWhenEmpty(e *ending) {
	h.mu.Lock()
	h.onEmpty = e
	empty := h.running == 0
	h.mu.Unlock()
	if empty {
		h.shutAfterWriting(*e)
	}
}

func (h *http2Conn) writeGoAwayLocked(last uint32, f Fault) {
	h.writeLocked(func() { h.fr.WriteGoAway(last, http2.ErrCode(f.Code), []byte(f.Value)) })
}

// goAwayAhead sends one GOAWAY that names a stream the client has not reached,
// and lets the connection end when all streams have.
func (h *http2Conn) goAwayAhead(f Fault) {
	count := uint32(f.Count)
	if count == 0 {
		count = 1000
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leaving || h.goneAway || h.dead {
		return
	}
	h.goneAway = true
	last := min(h.maxID+2*count, maxStreamID)
	h.refuseAt = last + 1
	h.onEmpty = &ending{how: closeLinger, by: ServerFIN, reason: FaultStruck, fault: f.Kind}
	h.writeGoAwayLocked(last, f)
}

// goAwayAndStay sends one GOAWAY and leaves the connection open, for a time if
// the fault gives one.
func (h *http2Conn) goAwayAndStay(f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leaving || h.goneAway || h.dead {
		return
	}
	h.goneAway, h.staying = true, true
	h.refuseAt = h.maxID + 1
	h.writeGoAwayLocked(h.maxID, f)
	if f.After > 0 {
		h.later(f.After, func() {
			h.stayNoMore(ending{how: closeLinger, by: ServerFIN, reason: FaultStruck, fault: f.Kind})
		})
	}
}

// stayNoMore ends a connection that stayed after its GOAWAY.
func (h *http2Conn) stayNoMore(e ending) {
	h.mu.Lock()
	staying := h.staying
	h.staying = false
	h.mu.Unlock()
	if staying {
		h.endWhenEmpty(&e)
	}
}
