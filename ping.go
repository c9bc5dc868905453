package idlewise

import (
	"fmt"
	"net/http"
	"time"
)

// HTTP/2 notices a peer that has vanished by PING. net/http sends it on a
// connection on which nothing was received for PingAfter, in use or idle, and
// closes the connection if there is no answer within PingTimeout.

// A pinging is how an HTTP/2 connection is watched.
type pinging struct {
	after   time.Duration // 0: it is not
	timeout time.Duration
}

func (p *Policy) pinging() pinging {
	if p.PingAfter <= 0 {
		return pinging{}
	}
	return pinging{p.PingAfter, p.PingTimeout}
}

// lostAfter is how long nothing was received when a PING is lost; 0: none is sent.
func (p pinging) lostAfter() time.Duration {
	if p.after == 0 {
		return 0
	}
	return p.after + p.timeout
}

// maxPinging bounds how many copies of the Base are remembered: policies can be
// replaced any number of times.
const maxPinging = 64

// withPings returns the Transport that makes connections watched so. There is
// one for each way to watch them, since net/http takes it from there.
func (b *base) withPings(p pinging) *http.Transport {
	b.pingsMu.Lock()
	defer b.pingsMu.Unlock()
	if t := b.pings[p]; t != nil {
		return t
	}
	if b.pings == nil || len(b.pings) >= maxPinging {
		b.pings = make(map[pinging]*http.Transport)
	}
	t := b.http.Clone()
	if t.HTTP2 == nil {
		t.HTTP2 = new(http.HTTP2Config)
	}
	t.HTTP2.SendPingTimeout, t.HTTP2.PingTimeout = p.after, p.timeout
	b.pings[p] = t
	return t
}

func (p *Policy) pingMistakes(path string) []error {
	if p.PingTimeout < 0 {
		return []error{fmt.Errorf("%s.PingTimeout: %v is negative; to send no PING set PingAfter to -1", path, p.PingTimeout)}
	}
	return nil
}

// lostPing reports whether net/http closed the HTTP/2 connection, which has
// ended, since it got no answer to a PING. It does not tell where no stream is
// there to be failed. But nothing else makes it close a connection of which
// nothing was heard for so long: others answer PING.
func (c *conn) lostPing(now time.Time) bool {
	return c.h2 && c.tcp != nil && c.lostAfter > 0 && c.tcp.ended() == endNone &&
		c.tcp.silentFor(c.tcp.endedAt(now)) >= c.lostAfter
}

// hears notes that something of HTTP/2 was read.
func (s *signs) hears() { s.heard.Store(int64(time.Since(s.made))) }

// silentFor is for how long nothing of HTTP/2 had been read at the time.
func (s *signs) silentFor(at time.Time) time.Duration {
	return at.Sub(s.made) - time.Duration(s.heard.Load())
}
