package memnet

import "syscall"

// socket is what a kernel knows of one end of a connection.
//
// Sequence numbers start at 0 with the first byte of data, and a FIN takes one,
// as in TCP (RFC 9293 §3.4); the SYN, in front of the data, is left out.
type socket struct {
	handshake *listener // who accepts, until the handshake is complete

	sent    int64 // bytes of data
	finSent bool
	acked   int64 // the sequence number that the other end has acknowledged

	next        int64 // the sequence number expected next
	finReceived bool
	unread      [][]byte
	read        int64 // bytes that the application took
	readShut    bool

	gone    bool          // reset by either side
	pending syscall.Errno // SO_ERROR; 0: none
}

type segmentKind uint8

const (
	handshake segmentKind = iota // the third packet, the dialer's acknowledgement
	payload
	fin
	acknowledgement
	reset
)

// segment is a packet of an established connection. Each but a reset
// acknowledges what had arrived when it was sent.
type segment struct {
	kind segmentKind
	seq  int64
	ack  int64
	data []byte
}

func (c *Conn) sendLocked(s segment) {
	s.ack = c.next
	peer := c.peer
	c.network.carryLocked(c.out, func() { peer.arriveLocked(s) })
}

func (c *Conn) sendDataLocked(data []byte) {
	seq := c.sent
	c.sent += int64(len(data))
	c.sendLocked(segment{kind: payload, seq: seq, data: data})
}

func (c *Conn) sendFinLocked() {
	c.finSent = true
	c.sendLocked(segment{kind: fin, seq: c.sent})
}

// arriveLocked is the kernel at work on a packet.
func (c *Conn) arriveLocked(s segment) {
	if s.kind == reset {
		// An acknowledgement in it does not count (tcpi_bytes_acked).
		if c.stateLocked() != Closed {
			c.failLocked()
		}
		return
	}
	if c.gone {
		if s.kind != acknowledgement {
			c.sendLocked(segment{kind: reset})
		}
		return
	}
	c.acked = max(c.acked, s.ack)
	if l := c.handshake; l != nil {
		// Any packet completes it: the one that should have may be lost.
		c.handshake = nil
		if l.establishedLocked(c); c.gone {
			return
		}
	}
	switch s.kind {
	case payload:
		c.dataArrivedLocked(s)
	case fin:
		c.finArrivedLocked(s)
	}
}

func (c *Conn) dataArrivedLocked(s segment) {
	if c.finSent && c.readShut {
		// Nobody can ever read it. If the application still holds the
		// connection it learns of it, as from a RST.
		c.failLocked()
		c.sendLocked(segment{kind: reset})
		return
	}
	if s.seq == c.next { // otherwise something before it was lost
		c.next += int64(len(s.data))
		c.unread = append(c.unread, s.data)
		c.readable.Broadcast()
	}
	c.sendLocked(segment{kind: acknowledgement})
}

func (c *Conn) finArrivedLocked(s segment) {
	if s.seq == c.next {
		c.next++
		c.finReceived = true
		c.readable.Broadcast()
	}
	c.sendLocked(segment{kind: acknowledgement})
}

// failLocked is what a RST does.
func (c *Conn) failLocked() {
	c.pending = syscall.ECONNRESET
	if c.stateLocked() == CloseWait {
		c.pending = syscall.EPIPE
	}
	c.gone = true
	c.wakeLocked()
}

func (c *Conn) takePendingLocked() syscall.Errno {
	err := c.pending
	c.pending = 0
	return err
}

func (c *Conn) wakeLocked() {
	c.readable.Broadcast()
	c.writable.Broadcast()
}
