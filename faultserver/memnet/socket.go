package memnet

import (
	"syscall"
	"time"
)

// socket is what a kernel knows of one end of a connection, guarded by
// Network.mu.
//
// Sequence numbers start at 0 with the first byte of data, and a FIN takes one,
// as in TCP (RFC 9293 §3.4); the SYN, in front of the data, is left out.
type socket struct {
	dialed    bool      // this end sent the SYN
	handshake *listener // who accepts, until the handshake is complete

	// What is sent.
	finSent  bool        // or queued to be
	finFirst bool        // the other end's FIN had not arrived by then
	written  int64       // the sequence number behind everything written
	sent     int64       // and behind what was sent of it
	unsent   []*outgoing // waits for the window
	flying   []*outgoing // sent and not acknowledged
	acked    int64       // the sequence number that the other end has acknowledged
	edge     int64       // the window's end: the first one that may not be sent
	recover  int64       // the gaps in front of this one are filled without waiting
	timing   timing

	// What is received.
	next        int64 // the sequence number expected next
	finReceived bool
	unread      [][]byte
	unreadBytes int64
	ahead       []segment // arrived while something in front of it was missing
	readShut    bool
	told        int64 // the window's end, as the other end was told
	ackedTo     int64 // the sequence number that it was told to have arrived
	ackTimer    event // an acknowledgement that waits

	gone    bool          // reset by either side, or given up
	pending syscall.Errno // SO_ERROR; 0: none

	receivedAt, heardAt time.Time // the last data, the last acknowledgement
}

// outgoing is a segment on its way to be acknowledged.
type outgoing struct {
	seq    int64
	data   []byte
	fin    bool
	sentAt time.Time
	again  bool // sent more than once, so that its acknowledgement measures nothing
}

func (o *outgoing) end() int64 {
	if o.fin {
		return o.seq + 1
	}
	return o.seq + int64(len(o.data))
}

type segmentKind uint8

const (
	payload segmentKind = iota
	fin
	acknowledgement
	probe     // of a zero window, or of whether the other end is there
	handshake // the server's part of it, again
	reset
)

// segment is a packet of an established connection. Each but a reset
// acknowledges what had arrived when it was sent.
type segment struct {
	kind  segmentKind
	seq   int64
	ack   int64
	edge  int64
	data  []byte
	exact bool // a reset that answers a packet, and so carries the number expected
}

func (s *segment) end() int64 {
	if s.kind == fin {
		return s.seq + 1
	}
	return s.seq + int64(len(s.data))
}

// sendSegmentLocked sends a packet with what is to be acknowledged.
func (c *Conn) sendSegmentLocked(s segment) {
	s.ack = c.next
	// The window moves in large steps, so that nobody sends tiny segments
	// into it (RFC 9293 §3.8.6.2.2).
	if edge := c.next + c.roomLocked(); edge-c.told >= c.windowStep() {
		c.told = edge
	}
	s.edge = c.told
	if s.kind != reset {
		c.ackedTo = c.next
		c.network.cancelLocked(&c.ackTimer)
	}
	c.network.carryLocked(&event{path: c.out, arrival: arrival{c.peer, s}}, len(s.data))
}

// arriveLocked is the kernel at work on a packet.
func (c *Conn) arriveLocked(s segment) {
	if s.kind == reset {
		c.resetArrivedLocked(s)
		return
	}
	if c.gone {
		c.sendSegmentLocked(segment{kind: reset, exact: true})
		return
	}
	c.heardAt = time.Now()
	if l := c.handshake; l != nil && s.kind != handshake {
		// Any packet completes it: the one that should have may be lost.
		c.handshake = nil
		c.acceptableLocked()
		if l.establishedLocked(c); c.gone {
			return
		}
	}
	switch s.kind {
	case payload, fin:
		c.dataArrivedLocked(s)
	case probe, handshake:
		c.acknowledgeLocked(true)
	}
	if !c.gone {
		c.acknowledgedLocked(s.ack, s.edge)
	}
}

// resetArrivedLocked fails the connection. A RST's acknowledgement does not
// count (tcpi_bytes_acked), and one behind a gap has to be confirmed (RFC 5961
// §3.2).
func (c *Conn) resetArrivedLocked(s segment) {
	switch {
	case c.stateLocked() == Closed:
	case !s.exact && s.seq != c.next:
		c.sendSegmentLocked(segment{kind: acknowledgement})
	case c.stateLocked() == CloseWait:
		c.failLocked(syscall.EPIPE)
	default:
		c.failLocked(syscall.ECONNRESET)
	}
}

// failLocked ends the connection with an error for whoever asks first.
func (c *Conn) failLocked(err syscall.Errno) {
	c.pending = err
	c.endLocked()
	c.wakeLocked()
}

// endLocked stops everything that the kernel does for the connection.
func (c *Conn) endLocked() {
	c.gone = true
	c.unsent, c.flying, c.ahead = nil, nil, nil
	c.network.cancelLocked(&c.timing.timer)
	c.network.cancelLocked(&c.ackTimer)
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
