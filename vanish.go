package idlewise

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// A peer that has vanished says nothing any more: its machine lost power, or
// something on the way forgot the connection or lost its route. The kernel goes
// on sending a request to it for a quarter of an hour.
//
// While HTTP/1 requests are in flight a timer of the pool looks at what the
// kernel knows. The peer has vanished if data, or a window probe, waits for an
// acknowledgement and nothing at all was acknowledged for UnackedTimeout. A
// server that thinks for long has acknowledged the request, and one that reads
// slowly goes on confirming its closed window. (TCP_USER_TIMEOUT would not do:
// it counts that as silence, too.)
//
// HTTP/2 has PING, and for a peer that vanished once it had acknowledged
// everything there is TCP keep-alive.

// An attempt is looked at lookAfter of UnackedTimeout after it was begun, for
// the first time, and then as often. A peer is given up only at a second look,
// confirmAfter of UnackedTimeout or more after the first one: between them its
// packets, and ours, had a chance to arrive, should it have been this machine
// that stood still.
const (
	lookAfter    = 2 // parts of UnackedTimeout
	confirmAfter = 8

	// maxLookSlack is how late a look may be, so that those at many
	// connections are taken together.
	maxLookSlack = 500 * time.Millisecond
	lookSlack    = 40 // parts of UnackedTimeout, if that is less
)

// A vigil is the timer of a pool that looks for peers that have vanished. It
// runs only while a request is in flight or was a moment ago: it is started by
// the first one, stops when it fires and finds nobody waiting, and when the last
// connection goes.
type vigil struct {
	timer *time.Timer
	at    time.Time // when it fires; zero: it is not running
}

// A silence is what is remembered about an HTTP/1 connection in use between two
// looks at it, from one request on it to the next.
type silence struct {
	begun time.Time // when its attempt began; zero: none did
	next  time.Time // the next look; zero: there was none yet
	since time.Time // since then something waits to be acknowledged, as far as is known; zero: nothing does
	acked uint64    // by then
	deaf  bool      // nothing can be known of this connection
}

// signs are what a tracked connection knows of its peer's silence.
type signs struct {
	// vanished: the peer was given up, by us or by the kernel.
	vanished atomic.Bool

	// bitByBit: parts of the request that was armed may be written long after
	// the first one.
	bitByBit atomic.Bool

	// HTTP/2: when something was read last, counted from made.
	made  time.Time
	heard atomic.Int64
}

// silent returns the error of an operation, or the one it would have had, had
// not we but the kernel given the peer up.
func (t *tracked) silent(op string, err error) error {
	switch {
	case err == nil:
	case isTimedOut(err):
		t.vanished.Store(true)
	case t.vanished.Load() && !errors.Is(err, io.EOF) && !isReset(err):
		return &net.OpError{
			Op: op, Net: "tcp", Source: t.Conn.LocalAddr(), Addr: t.Conn.RemoteAddr(),
			Err: os.NewSyscallError(op, syscall.ETIMEDOUT),
		}
	}
	return err
}

// isSilence reports whether an attempt failed because nothing was heard of the
// peer: that is the path's doing, not the request's.
func isSilence(err error) bool {
	return isTimedOut(err) || err != nil && err.Error() == errTextConnectionLost
}

// vanished reports whether the connection's peer was given up, by us or by the
// kernel.
func (c *conn) vanished() bool { return c.tcp != nil && c.tcp.vanished.Load() }

// silentEnd says whether a connection that has ended did since nothing was heard
// of its peer: ClosedVanished, ClosedPingTimeout or reasonNone. Nothing can be
// learned from that about the server's idle timeout.
func (c *conn) silentEnd(now time.Time) CloseReason {
	switch {
	case c.vanished():
		return ClosedVanished
	case c.lostPing(now):
		return ClosedPingTimeout
	}
	return reasonNone
}

// bitByBit reports whether parts of the request may be written long after the
// first one. That goes out at once: net/http waits for no body before it sends
// the header.
func (b *payload) bitByBit() bool {
	return b.guard != nil || b.file || b.memory != nil && b.first.Header["Expect"] != nil
}

// attendLocked notes that an attempt on c begins, and sees to it that it is
// looked at should it take long.
func (p *pool) attendLocked(c *conn, now time.Time) {
	limit := p.u.policy().UnackedTimeout
	if limit <= 0 || c.h2 || c.tcp == nil || c.silence.deaf {
		return
	}
	c.silence.begun = now
	if p.vigil.at.IsZero() {
		p.vigilLocked(now.Add(limit/lookAfter), now)
	}
}

func (p *pool) vigilLocked(at, now time.Time) {
	v := &p.vigil
	v.at = at
	if v.timer == nil {
		v.timer = time.AfterFunc(at.Sub(now), p.lookForSilence)
	} else {
		v.timer.Reset(at.Sub(now))
	}
}

// endVigilLocked stops the timer; for good, as far as this one is concerned, if
// that is asked for: a timer belongs to the testing/synctest bubble that it was made
// in, and a program that closes its idle connections may go on in another.
func (p *pool) endVigilLocked(forget bool) {
	v := &p.vigil
	if v.timer == nil {
		return
	}
	if !v.at.IsZero() {
		v.timer.Stop()
		v.at = time.Time{}
	}
	if forget {
		v.timer = nil
	}
}

// nextLookLocked is when c is to be looked at; zero: never.
func (c *conn) nextLookLocked(limit time.Duration) time.Time {
	switch s := &c.silence; {
	case limit <= 0: // now; it was not when the timer was started
		return time.Time{}
	case c.gone || c.idle || s.begun.IsZero() || s.deaf:
		return time.Time{}
	case s.next.IsZero():
		return s.begun.Add(limit / lookAfter)
	default:
		return s.next
	}
}

// A look is one at a connection that waits for its response.
type look struct {
	c     *conn
	begun time.Time // the attempt; where it has changed, another is under way
	at    time.Time
	info  tcpinfo.Info
	ok    bool
}

// lookForSilence is what the timer does. No lock is held.
func (p *pool) lookForSilence() {
	now := time.Now()
	limit := p.u.policy().UnackedTimeout
	var looks []look
	p.mu.Lock()
	for c := p.first; c != nil; c = c.newer {
		if at := c.nextLookLocked(limit); !at.IsZero() && !at.After(now) {
			looks = append(looks, look{c: c, begun: c.silence.begun})
		}
	}
	p.mu.Unlock()

	for i := range looks {
		l := &looks[i]
		l.info, l.ok = tcpinfo.Of(l.c.tcp.Conn)
		l.at = time.Now() // not before: what is acknowledged meanwhile counts
	}

	vanished := looks[:0]
	p.mu.Lock()
	for _, l := range looks {
		if s := &l.c.silence; l.c.gone || l.c.idle || !s.begun.Equal(l.begun) {
			continue
		} else if !l.ok {
			s.deaf = true
		} else if s.broken(l.info, l.at, l.c.tcp.bitByBit.Load(), limit) {
			// Under the lock: from here on no request gets the connection.
			l.c.tcp.vanished.Store(true)
			s.begun = time.Time{}
			vanished = append(vanished, l)
		}
	}
	p.vigil.at = time.Time{}
	var next time.Time
	for c := p.first; c != nil; c = c.newer {
		next = earlier(next, c.nextLookLocked(limit))
	}
	if !next.IsZero() {
		now = time.Now()
		p.vigilLocked(later(next, now.Add(min(limit/lookSlack, maxLookSlack))), now)
	}
	p.mu.Unlock()

	for _, l := range vanished {
		// Below TLS, whose goodbye nobody would hear. net/http notices.
		l.c.tcp.Close()
	}
}

// broken takes in a look at the connection, at the given time, and reports
// whether the peer has vanished.
func (s *silence) broken(info tcpinfo.Info, now time.Time, bitByBit bool, limit time.Duration) bool {
	s.next = now.Add(limit / lookAfter)
	if info.Unacked == 0 && info.Probes == 0 {
		s.since = time.Time{}
		return false
	}
	heard := now.Add(-info.SinceAck)
	if s.since.IsZero() || info.Acked != s.acked || heard.After(s.since.Add(tcpinfo.Tick)) {
		s.since, s.acked = now, info.Acked
		// If nothing was heard since the attempt was begun, it is its first
		// bytes that wait. Of one that is written bit by bit they may have been
		// acknowledged within the grain of the kernel's clock.
		sure := s.begun.Add(tcpinfo.Tick)
		if bitByBit {
			sure = s.begun.Add(-tcpinfo.Tick)
		}
		if !heard.After(sure) {
			s.since = s.begun
		}
	} else if now.Sub(s.since) >= limit {
		return true
	}
	s.next = earlier(s.next, later(s.since.Add(limit), now.Add(limit/confirmAfter)))
	return false
}

// evictUnheard closes the idle connections to hit's address of which nothing was
// heard since the attempt on it began, after its peer had vanished: it is to be
// expected that they lead nowhere either.
func (p *pool) evictUnheard(hit *conn, begun time.Time) {
	var doomed doomedList
	p.mu.Lock()
	for c := p.oldest; c != nil; {
		newer := c.prev
		if c.peer == hit.peer && c.idleSince.Before(begun) {
			p.removeLocked(c, ClosedSibling, &doomed)
		}
		c = newer
	}
	p.mu.Unlock()
	doomed.shut()
}
