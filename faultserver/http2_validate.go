package faultserver

import (
	"slices"
	"strings"

	"golang.org/x/net/http2"
)

// Bounds of what one fault may queue for the client.
const (
	maxFloodFrames = 100_000
	maxFloodBytes  = 64 << 20
	maxFloodFrame  = 16_000 // every client accepts frames of 16,384 bytes
)

// valueChoices are the values that kinds choose among; the first is the one of
// an empty Value.
var valueChoices = map[Kind][]string{
	ZeroWindowUpdate:   {"stream", "connection"},
	WindowOverflow:     {"stream", "connection"},
	CloseInFrame:       {"headers", "data"},
	HeadersInterrupted: {"ping", "data", "settings"},
	WrongStream: {
		"data", "headers", "priority", "rst-stream", "push-promise", "continuation", "settings", "ping", "goaway",
	},
	BadHeaders: {
		"missing-status", "double-status", "junk-status", "late-status", "unknown-pseudo", "request-pseudo",
		"uppercase-name", "connection-header",
	},
	BadTrailers: {"pseudo", "no-end", "uppercase-name", "connection-header"},
}

// choice is the fault's Value, or the Kind's first if it is empty.
func (f Fault) choice() string {
	if choices := valueChoices[f.Kind]; f.Value == "" && len(choices) > 0 {
		return choices[0]
	}
	return f.Value
}

// validateFrames checks the parameters of HTTP/2 kinds.
func (f Fault) validateFrames(bad func(string, string, ...any)) {
	if choices := valueChoices[f.Kind]; choices != nil && !slices.Contains(choices, f.choice()) {
		bad("Value", "%q is none of %s", f.Value, strings.Join(choices, ", "))
	}
	switch f.Kind {
	case StartSettings, ChangeSettings:
		if _, err := parseSettings(f.Value); err != nil && f.Value != "" {
			bad("Value", "%v", err)
		}
	case StartMaxStreams, ChangeMaxStreams:
		if int64(f.Count) > 1<<32-1 {
			bad("Count", "%d does not fit a setting of 32 bits", f.Count)
		}
	case UnknownFrame, ContinuationFlood:
		if f.Bytes > maxFloodFrame {
			bad("Bytes", "%d is more than the %d that are sure to fit a frame", f.Bytes, maxFloodFrame)
		} else if int64(f.Count) <= maxFloodFrames && int64(f.Count)*f.Bytes > maxFloodBytes {
			bad("Count", "%d frames of %d bytes are more than %d bytes in all", f.Count, f.Bytes, maxFloodBytes)
		}
	case GoAwayAhead:
		if f.Count > maxStreamID/4 {
			bad("Count", "%d streams ahead is beyond the last stream id", f.Count)
		}
	}
	switch f.Kind {
	case SettingsFlood, PingFlood, EmptyDataFlood, UnknownFrame, ContinuationFlood:
		if f.Count > maxFloodFrames {
			bad("Count", "%d is more than the %d frames that a fault may send", f.Count, maxFloodFrames)
		}
	}
	if f.Kind == UnknownFrame && f.Code != 0 {
		if f.Code > 255 {
			bad("Code", "%d does not fit a frame's type", f.Code)
		} else if f.Code <= uint32(http2.FrameContinuation) {
			bad("Code", "%d is a type that every client knows", f.Code)
		}
	}
	// Debug data must fit the smallest frame that every client accepts.
	switch f.Kind {
	case GoAwayBelow, GoAwayError, GoAwayTwice, GoAwayAhead, GoAwayStay:
		if len(f.Value) > maxFloodFrame {
			bad("Value", "%d bytes of debug data are more than the %d that are sure to fit a frame", len(f.Value), maxFloodFrame)
		}
	}
}

// validatePreface refuses what chooses among requests.
func (f Fault) validatePreface(bad func(string, string, ...any)) {
	for _, when := range []struct {
		field string
		set   bool
	}{
		{"NthOnConn", f.NthOnConn != 0}, {"ReusedOnly", f.ReusedOnly}, {"IdleAtLeast", f.IdleAtLeast != 0},
	} {
		if when.set {
			bad(when.field, "%v is judged when a connection begins; Nth counts connections", f.Kind)
		}
	}
}
