package faultserver

import (
	"slices"
	"time"

	"golang.org/x/net/http2"
)

// open judges the faults of a connection's beginning and queues the server's
// first frames.
func (h *http2Conn) open() {
	c := h.c
	h.atStart = c.srv.rules.judge(event{at: atPreface, proto: onHTTP2})
	c.struckBy(h.atStart)

	settings := []http2.Setting{
		{ID: http2.SettingMaxConcurrentStreams, Val: c.srv.set.maxStreams},
		{ID: http2.SettingInitialWindowSize, Val: streamWindow},
	}
	for _, f := range h.atStart {
		switch f.Kind {
		case StartSettings:
			with, _ := parseSettings(f.Value) // Validate has seen it
			settings = override(settings, with)
		case StartMaxStreams:
			settings = override(settings, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: uint32(f.Count)}})
		}
	}

	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked = allowance{window: 65535, maxStreams: c.srv.set.maxStreams}
	h.applyLocked()
	if !h.atStart.has(SettingsMissing) {
		h.announceLocked(settings...)
	}
	h.recvWindow, h.recvUnacked = 65535, connWindow-65535
	if f, ok := h.atStart.get(ConnWindowWithheld); ok {
		h.connWithheld = true
		h.releaseLater(f.After, func() { h.connWithheld = false; h.grantConnLocked(1) })
	} else {
		h.grantConnLocked(1)
	}
	if f, ok := h.atStart.get(SettingsLate); ok {
		h.held = true
		h.releaseLater(f.After, func() {
			h.held = false
			h.queued.Signal()
			h.changed.Broadcast()
		})
	}
}

// releaseLater runs f, with the lock held, after a time that is not 0.
func (h *http2Conn) releaseLater(after time.Duration, f func()) {
	if after == 0 {
		return
	}
	h.later(after, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		f()
	})
}

// awaitRelease waits while the writer is held, and is false if the request or
// the connection ended first.
func (h *http2Conn) awaitRelease(st *stream) bool {
	if len(h.atStart) == 0 {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.held && !h.dead && st.err == nil {
		h.changed.Wait()
	}
	return !h.dead && st.err == nil
}

// acknowledge answers the client's SETTINGS, when and if a fault lets it.
func (h *http2Conn) acknowledge() {
	ack := func() { h.reply(func() { h.fr.WriteSettingsAck() }) }
	f, late := h.atStart.get(SettingsAckLate)
	switch {
	case !late:
		ack()
	case f.After > 0:
		h.later(f.After, ack)
	}
}

// struckBy enters faults in the connection's row, each once.
func (c *conn) struckBy(p plan) {
	if len(p) == 0 {
		return
	}
	c.srv.journal.change(func() {
		for _, f := range p {
			if !slices.Contains(c.row.Faults, f.Kind) {
				c.row.Faults = append(c.row.Faults, f.Kind)
			}
		}
	})
}
