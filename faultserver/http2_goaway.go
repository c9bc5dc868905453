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

// goAwayNow sends one GOAWAY and ends the connection. last is the last stream
// id it names, 0 for the highest seen.
func (h *http2Conn) goAwayNow(last, code uint32, e ending) {
	h.mu.Lock()
	h.goneAway = true
	h.refuseAt = h.maxID + 1
	if last == 0 {
		last = h.maxID
	}
	h.writeLocked(func() { h.fr.WriteGoAway(last, http2.ErrCode(code), nil) })
	h.mu.Unlock()
	h.shutAfterWriting(e)
}

// goAwayBelow sends one GOAWAY that disowns the stream id and all above it.
// The older streams are served to their end, and then the connection ends.
func (h *http2Conn) goAwayBelow(id uint32, code uint32, e ending) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.goneAway = true
	h.refuseAt = id
	h.onEmpty = &e
	last := uint32(0)
	if id > 2 {
		last = id - 2
	}
	h.writeLocked(func() { h.fr.WriteGoAway(last, http2.ErrCode(code), nil) })
}
