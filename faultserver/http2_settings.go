package faultserver

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
)

// settingNames are the settings of RFC 9113 section 6.5.2, RFC 8441 and RFC
// 9218.
var settingNames = map[string]http2.SettingID{
	"header-table-size":       http2.SettingHeaderTableSize,
	"enable-push":             http2.SettingEnablePush,
	"max-concurrent-streams":  http2.SettingMaxConcurrentStreams,
	"initial-window-size":     http2.SettingInitialWindowSize,
	"max-frame-size":          http2.SettingMaxFrameSize,
	"max-header-list-size":    http2.SettingMaxHeaderListSize,
	"enable-connect-protocol": 8,
	"no-rfc7540-priorities":   9,
}

const maxSettings = 2000 // of 6 bytes, in a frame of 16,384

// parseSettings reads "name=value, name=value". Names may be numbers; values
// are not checked, for they may be wrong on purpose.
func parseSettings(s string) ([]http2.Setting, error) {
	var all []http2.Setting
	for part := range strings.SplitSeq(s, ",") {
		name, value, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if !ok {
			return nil, fmt.Errorf("%q is not of the form name=value", part)
		}
		id, known := settingNames[name]
		if !known {
			n, err := strconv.ParseUint(name, 0, 16)
			if err != nil {
				return nil, fmt.Errorf("%q is neither a setting's name, such as initial-window-size, nor its number", name)
			}
			id = http2.SettingID(n)
		}
		v, err := strconv.ParseUint(strings.TrimSpace(value), 0, 32)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not a number of 32 bits", name, strings.TrimSpace(value))
		}
		all = append(all, http2.Setting{ID: id, Val: uint32(v)})
	}
	if len(all) > maxSettings {
		return nil, fmt.Errorf("%d settings are more than the %d that are sure to fit a frame", len(all), maxSettings)
	}
	return all, nil
}

// override puts settings in place of those with the same id, or behind.
func override(base, with []http2.Setting) []http2.Setting {
next:
	for _, s := range with {
		for i := range base {
			if base[i].ID == s.ID {
				base[i] = s
				continue next
			}
		}
		base = append(base, s)
	}
	return base
}

// allowance is what the client was told it may send.
type allowance struct {
	window     int64 // initial, of a stream
	maxStreams uint32
}

// awaited is an allowance and how many acknowledgements of SETTINGS the
// client owes until it is past.
type awaited struct {
	allowance
	acks int
}

// announceLocked sends SETTINGS. What they grant holds at once, what they take
// away when the client has acknowledged them. It is for the reading goroutine
// only.
func (h *http2Conn) announceLocked(settings ...http2.Setting) {
	next := h.acked
	if n := len(h.announced); n > 0 {
		next = h.announced[n-1].allowance
	}
	for _, s := range settings {
		switch s.ID {
		case http2.SettingInitialWindowSize:
			next.window = min(int64(s.Val), maxWindow)
		case http2.SettingMaxConcurrentStreams:
			next.maxStreams = s.Val
		case http2.SettingMaxFrameSize:
			h.maxRead = max(h.maxRead, s.Val) // the framer bounds it
			h.fr.SetMaxReadFrameSize(h.maxRead)
		case http2.SettingHeaderTableSize:
			h.fr.ReadMetaHeaders.SetAllowedMaxDynamicTableSize(max(defaultTable, min(s.Val, maxHead)))
		}
	}
	if n := len(h.announced); n > 0 && h.announced[n-1].allowance == next {
		h.announced[n-1].acks++
	} else {
		h.announced = append(h.announced, awaited{next, 1})
	}
	h.writeLocked(func() { h.fr.WriteSettings(settings...) })
	h.applyLocked()
}

// acknowledgedLocked takes in an acknowledgement; a surplus one is nothing.
func (h *http2Conn) acknowledgedLocked() {
	if len(h.announced) == 0 {
		return
	}
	first := &h.announced[0]
	if first.acks--; first.acks == 0 {
		h.acked = first.allowance
		h.announced = h.announced[1:]
		h.applyLocked()
	}
}

// applyLocked makes the limits the most that the client may take for granted.
func (h *http2Conn) applyLocked() {
	in := h.acked
	for _, a := range h.announced {
		in.window = max(in.window, a.window)
		in.maxStreams = max(in.maxStreams, a.maxStreams)
	}
	changed := in.window - h.inForce.window
	h.inForce = in
	for _, st := range h.streams {
		st.recvWindow += changed // may become negative, RFC 9113 section 6.9.2
		if changed != 0 && !st.remoteEnd {
			h.grantStreamLocked(st) // portions have become smaller
		}
	}
}
