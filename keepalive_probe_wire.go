package idlewise

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// A probeWire lies under a probe's connection, and under TLS. It notes when
// the last byte of a response came, and what comes while nothing is asked for.
type probeWire struct {
	net.Conn // nil until dialed, and where the program's own DialTLSContext dials

	changed chan struct{} // has room for one; told when there is news

	mu       sync.Mutex
	raw      bool // bytes are HTTP itself, without TLS
	h2       bool
	resting  bool // nothing is asked for
	lastRead time.Time
	burst    []byte // what came last while resting, its beginning
	burstAt  time.Time
	burstEnd time.Time
	surplus  int // bytes read while resting
	end      ending
	endAt    time.Time
	endErr   error
	closedAt time.Time // by us or by net/http
}

const (
	// maxBurst is how much of unasked data is kept.
	maxBurst = 4 << 10
	// burstGap ends a burst: what comes later is another one. A goodbye and the
	// FIN behind it are sent together.
	burstGap = 100 * time.Millisecond
	// maxSurplus is how many unasked bytes are read, as of an HTTP/2 server
	// that sends pings and settings, before the connection is given up.
	maxSurplus = 1 << 20
)

type probeWireKey struct{}

// watchDials puts the probeWire that travels in a dial's context under what
// dial returns.
func watchDials(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		w, ok := ctx.Value(probeWireKey{}).(*probeWire)
		if err != nil || c == nil || !ok {
			return c, err
		}
		w.Conn = c
		return w, nil
	}
}

func newProbeWire() *probeWire { return &probeWire{changed: make(chan struct{}, 1)} }

// nudge makes whoever watches look again.
func (w *probeWire) nudge() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *probeWire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 && !w.resting {
		w.lastRead = now
	}
	unasked := n > 0 && w.resting
	if unasked {
		w.noteBurstLocked(p[:n], now)
		w.surplus += n
	}
	if err != nil && w.end == endNone && w.closedAt.IsZero() {
		w.end, w.endAt, w.endErr = endOther, now, err
		switch {
		case err == io.EOF:
			w.end = endFIN
		case isReset(err):
			w.end = endRST
		}
	}
	if unasked || err != nil {
		w.nudge()
	}
	if unasked && (w.raw && !w.h2 || w.surplus > maxSurplus) {
		// Not to net/http, which prints HTTP/1's in the program's log.
		return 0, io.EOF
	}
	return n, err
}

func (w *probeWire) noteBurstLocked(p []byte, now time.Time) {
	if w.burst == nil || now.Sub(w.burstEnd) > burstGap {
		w.burst, w.burstAt = nil, now
	}
	w.burst = append(w.burst, p[:min(len(p), maxBurst-len(w.burst))]...)
	w.burstEnd = now
}

func (w *probeWire) Close() error {
	w.mu.Lock()
	if w.closedAt.IsZero() {
		w.closedAt = time.Now()
	}
	w.mu.Unlock()
	w.nudge()
	return w.Conn.Close()
}

// talk begins a request: what is read from now on is asked for.
func (w *probeWire) talk() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resting = false
}

// rest ends it, and returns when its last byte was read. Where the connection
// cannot be looked at, that is now.
func (w *probeWire) rest() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resting = true
	w.burst, w.surplus = nil, 0
	if w.lastRead.IsZero() {
		return time.Now()
	}
	return w.lastRead
}

// A wireState is what is known of a probe's connection at one instant.
type wireState struct {
	attached bool // the connection can be looked at
	raw      bool // bytes are HTTP itself, without TLS
	h2       bool
	layered  bool   // TLS within TLS: the sizes of records say nothing
	burst    []byte // what came last, unasked
	burstAt  time.Time
	flooded  bool // more than maxSurplus came
	end      ending
	endAt    time.Time
	closedAt time.Time

	dead   string // what net/http says of the connection, "" while it is usable
	goAway bool   // net/http takes no new streams, though it is usable
	now    time.Time
}

func (w *probeWire) state() wireState {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := wireState{
		attached: w.Conn != nil, raw: w.raw, h2: w.h2, end: w.end, endAt: w.endAt, closedAt: w.closedAt,
		burst: w.burst, burstAt: w.burstAt, flooded: w.surplus > maxSurplus, now: time.Now(),
	}
	last := s.endAt
	if last.IsZero() {
		last = s.closedAt
	}
	if !last.IsZero() && last.Sub(w.burstEnd) > burstGap {
		s.burst = nil // it has nothing to do with the end
	}
	return s
}

// ended says how the connection was ended and when. It is ProbeEndOpen while
// it was not.
func (s wireState) ended() (ProbeEnd, time.Time) {
	at := s.endAt
	if at.IsZero() {
		at = s.closedAt
	}
	if at.IsZero() {
		at = s.now
	}
	goodbye := at
	if len(s.burst) > 0 {
		goodbye = s.burstAt
	}
	switch {
	case s.raw && !s.h2 && len(s.burst) > 0:
		if bytes.HasPrefix(s.burst, []byte("HTTP/1.")) && bytes.HasPrefix(s.burst[min(8, len(s.burst)):], []byte(" 408")) {
			return ProbeEnd408, goodbye
		}
		return ProbeEndUnasked, goodbye
	case s.flooded:
		return ProbeEndUnasked, goodbye
	case s.goAway:
		return ProbeEndGoAway, goodbye
	case s.dead == "" && s.end == endNone && s.closedAt.IsZero():
		return ProbeEndOpen, time.Time{}
	case !s.attached:
		return ProbeEndClosed, at
	}
	alerts, others := 0, 0
	if !s.layered {
		alerts, others = s.goodbyes()
	}
	switch {
	case s.h2 && others > 0:
		// What else would a server say just before it closes?
		return ProbeEndGoAway, goodbye
	case s.end == endRST:
		return ProbeEndRST, at
	case s.end == endNone && others > 0 && s.dead == "":
		return ProbeEndOpen, time.Time{} // net/http is closing it, and will say why
	case s.end == endNone && others > 0 && s.dead == errTextServerClosedIdle:
		return ProbeEnd408, goodbye // net/http calls these two the same
	case s.end == endNone && others > 0:
		return ProbeEndUnasked, goodbye
	case alerts > 0:
		return ProbeEndCloseNotify, goodbye
	case s.end == endFIN:
		return ProbeEndFIN, at
	case s.h2 && s.end == endNone:
		return ProbeEndGoAway, at // only that makes net/http close a connection itself
	}
	return ProbeEndClosed, at
}

// goodbyes counts what the last burst consists of: TLS alerts, and anything
// else.
func (s wireState) goodbyes() (alerts, others int) {
	if s.h2 && s.raw {
		return 0, len(s.burst)
	}
	const header = 5
	for p := s.burst; len(p) > 0; {
		if len(p) < header {
			return alerts, others + 1
		}
		n := min(len(p), header+(int(p[3])<<8|int(p[4])))
		if isAlert(p[:n]) {
			alerts++
		} else {
			others++
		}
		p = p[n:]
	}
	return alerts, others
}
