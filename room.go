package idlewise

import "time"

// Callers are served in the order in which they came. The one that has waited
// longest may need a newer connection than those there are: a resend, a policy's
// retry, or a request WithFreshConn. If only MaxConns keeps one from being dialed, an
// older one makes room for it, instead of serving those behind it for ever.

// roomWantedLocked reports whether c's place is wanted so.
func (p *pool) roomWantedLocked(c *conn, now time.Time) bool {
	first := p.waiters.head
	if first == nil || !c.born.Before(first.notBefore) || p.mayOpenLocked() {
		return false
	}
	coming, share := p.closingLocked(), p.mayShareLocked()
	if coming > 0 && share {
		return false // what is dialed in its place may serve all
	}
	for _, d := range p.dials {
		own := d.owner != nil && d.owner.queued
		if !share && !own && p.promisingLocked(d, now) && (d.held || !d.started.Before(first.notBefore)) {
			coming++
		}
	}
	for w := first; w != nil && c.born.Before(w.notBefore); w = w.next {
		if w.dialing || share && p.sharableLocked(w, now) {
			continue
		}
		if coming--; coming < 0 {
			return true
		}
	}
	return false
}

// closingLocked is how many sockets count as open of connections that are gone.
func (p *pool) closingLocked() int {
	n := p.open - p.dialing - p.nConns
	if p.canary != nil {
		n--
	}
	return max(n, 0)
}

// makeRoomLocked closes the oldest idle connections whose places are wanted. If there
// is none, an HTTP/2 connection ends its streams and gets no others.
func (p *pool) makeRoomLocked(now time.Time, doomed *doomedList) {
	made := false
	for c := p.oldest; c != nil; {
		newer := c.prev
		if p.roomWantedLocked(c, now) {
			p.removeLocked(c, ClosedPoolFull, doomed)
			made = true
		} else if made {
			return
		}
		c = newer
	}
	if !made {
		p.drainForRoomLocked(now)
	}
}

// drainForRoomLocked lets the HTTP/2 connection that has the fewest streams drain, if
// its place is wanted. Streams can last for hours, so that it does not count against
// MaxConns from here on, as after GOAWAY; but lest there be one for each caller, there
// is no second one before its last stream has ended.
func (p *pool) drainForRoomLocked(now time.Time) {
	if p.waiters.head == nil || p.waiters.head.notBefore.IsZero() {
		return
	}
	var least *conn
	for _, c := range p.shared {
		switch {
		case c.draining && c.ending == ClosedPoolFull:
			return
		case c.ending != reasonNone || c.streams == 0 || !p.roomWantedLocked(c, now):
		case least == nil || c.streams < least.streams:
			least = c
		}
	}
	if least != nil {
		p.drainLocked(least, ClosedPoolFull)
	}
}
