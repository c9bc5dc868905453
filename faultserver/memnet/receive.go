package memnet

import (
	"cmp"
	"slices"
	"syscall"
	"time"
)

// dataArrivedLocked takes in data or a FIN.
func (c *Conn) dataArrivedLocked(s segment) {
	switch {
	case s.kind == payload && c.finSent && c.readShut && s.end() > c.next:
		// Nobody can ever read it. If the application still holds the
		// connection it learns of it, as from a RST.
		c.failLocked(syscall.ECONNRESET)
		c.sendSegmentLocked(segment{kind: reset, seq: c.written, exact: true})
	case s.end() <= c.next: // again
		c.acknowledgeLocked(true)
	case s.seq > c.next: // something in front of it is missing
		c.keepAheadLocked(s)
		c.acknowledgeLocked(true)
	default:
		late := len(c.ahead) > 0
		c.takeInLocked(s)
		for len(c.ahead) > 0 && c.ahead[0].seq <= c.next {
			if c.ahead[0].end() > c.next {
				c.takeInLocked(c.ahead[0])
			}
			c.ahead = c.ahead[1:]
		}
		c.readable.Broadcast()
		c.acknowledgeLocked(late)
	}
}

func (c *Conn) takeInLocked(s segment) {
	c.next = s.end()
	if s.kind == fin {
		c.finReceived = true
		return
	}
	c.unread = append(c.unread, s.data)
	c.unreadBytes += int64(len(s.data))
	c.receivedAt = time.Now()
}

func (c *Conn) keepAheadLocked(s segment) {
	at, known := slices.BinarySearchFunc(c.ahead, s.seq, func(a segment, seq int64) int { return cmp.Compare(a.seq, seq) })
	if !known {
		c.ahead = slices.Insert(c.ahead, at, s)
	}
}

// acknowledgeLocked sends an acknowledgement, at once or in a while.
func (c *Conn) acknowledgeLocked(atOnce bool) {
	n := c.network
	if atOnce || n.delayedAck == 0 || c.next-c.ackedTo > n.segmentSize {
		c.sendSegmentLocked(segment{kind: acknowledgement})
		return
	}
	if c.ackTimer.index == 0 {
		n.planLocked(&c.ackTimer, time.Now().Add(n.delayedAck))
		n.deliverLocked()
	}
}

func (c *Conn) acknowledgeNow() { c.acknowledgeLocked(true) }

func (c *Conn) roomLocked() int64 { return max(0, c.network.receiveBuffer-c.unreadBytes) }

func (c *Conn) windowStep() int64 {
	return max(1, min(c.network.segmentSize, c.network.receiveBuffer/2))
}

// madeRoomLocked tells the other end, after a Read, if the window has become
// much larger than it knows.
func (c *Conn) madeRoomLocked() {
	if c.gone || c.finReceived {
		return
	}
	known, room := c.told-c.next, c.roomLocked()
	if room >= 2*known && room-known >= c.windowStep() {
		c.acknowledgeLocked(true)
	}
}
