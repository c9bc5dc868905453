package memnet

import (
	"io"
	"time"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// State is a connection's state as one end's kernel sees it, in TCP_INFO's
// numbers (tcpi_state). Its String is the name in small letters.
type State = tcpinfo.State

const (
	// Established: no FIN was sent and none has arrived.
	Established = tcpinfo.Established
	// SynReceived: accepted soon; the handshake's last packet has not arrived.
	SynReceived = tcpinfo.SynReceived
	// FinWait1: a FIN was sent and is not acknowledged, none has arrived.
	FinWait1 = tcpinfo.FinWait1
	// FinWait2: a FIN was sent and is acknowledged, none has arrived.
	FinWait2 = tcpinfo.FinWait2
	// CloseWait: the other end's FIN has arrived, none was sent.
	CloseWait = tcpinfo.CloseWait
	// LastAck: the other end's FIN has arrived, then one was sent and is not
	// acknowledged yet.
	LastAck = tcpinfo.LastAck
	// Closing: FINs crossed, the own one is not acknowledged yet.
	Closing = tcpinfo.Closing
	// Closed: FINs went both ways and are acknowledged (a program never sees
	// TIME_WAIT), or there was a RST, or the kernel gave up.
	Closed = tcpinfo.Close
)

// Accounting is what one end's kernel knows of a connection, as Linux counts in
// TCP_INFO and SIOCOUTQ.
type Accounting struct {
	State State

	// Sent is how many bytes Write took. Linux does not tell this one.
	Sent int64
	// Acked is what is known to have reached the other end's kernel
	// (tcpi_bytes_acked): bytes, a FIN as one more, and one more for the SYN
	// of the end that dialed. The acknowledgement takes a latency to come
	// back, and longer with [Options.DelayedAck]. It says nothing of the
	// application there, and does not grow after a RST, nor by one.
	Acked int64
	// Queued is what is not known to have (SIOCOUTQ), a FIN included. It
	// survives a RST.
	Queued int64
	// NotSent is the part of Queued that waits for the window
	// (tcpi_notsent_bytes).
	NotSent int64
	// Received is what has arrived, read or not (tcpi_bytes_received), a FIN
	// as one more.
	Received int64

	// Unacked is how many packets are in flight (tcpi_unacked); 0 while a
	// zero window keeps everything back.
	Unacked int
	// Retransmits is how many time-outs there were since something was
	// acknowledged (tcpi_retransmits).
	Retransmits int
	// Probes is how many probes of a zero window went out since anything came
	// back (tcpi_probes).
	Probes int

	// SinceReceived is how long ago data arrived last, or the connection was
	// made (tcpi_last_data_recv).
	SinceReceived time.Duration
	// SinceAck is how long ago anything at all came from the other end
	// (tcpi_last_ack_recv).
	SinceAck time.Duration
	// RTT is the smoothed round trip (tcpi_rtt).
	RTT time.Duration

	// PendingError is what SO_ERROR would say, without clearing it:
	// syscall.ECONNRESET after a RST, syscall.EPIPE after a FIN and a RST,
	// syscall.ETIMEDOUT after too long a silence; nil once a Read, a Write,
	// TakeError or Peek has returned it.
	PendingError error
}

// Accounting may be called at any time. On a closed connection, where a kernel
// would no longer be asked, it still answers.
func (c *Conn) Accounting() Accounting {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	now := time.Now()
	a := Accounting{
		State:         c.stateLocked(),
		Sent:          c.written,
		Acked:         c.acked,
		Queued:        c.written - c.acked,
		Received:      c.next,
		Unacked:       len(c.flying),
		Retransmits:   int(c.timing.retransmits),
		Probes:        int(c.timing.probes),
		SinceReceived: now.Sub(c.receivedAt),
		SinceAck:      now.Sub(c.heardAt),
		RTT:           c.timing.smoothed,
	}
	if c.finSent {
		a.Sent--
	}
	if c.dialed {
		a.Acked++
	}
	a.NotSent = c.written - c.sent
	if c.pending != 0 {
		a.PendingError = c.pending
	}
	return a
}

// TCPInfo is [Conn.Accounting] for idlewise itself. It reports false on a closed
// connection, as the kernel would.
func (c *Conn) TCPInfo() (tcpinfo.Info, bool) {
	a := c.Accounting()
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	return tcpinfo.Info{
		State:         a.State,
		Acked:         uint64(a.Acked),
		Queued:        uint64(a.Queued),
		NotSent:       uint64(a.NotSent),
		Received:      uint64(a.Received),
		Unacked:       uint32(a.Unacked),
		Retransmits:   uint32(a.Retransmits),
		Probes:        uint32(a.Probes),
		SinceReceived: a.SinceReceived,
		SinceAck:      a.SinceAck,
		RTT:           a.RTT,
	}, !c.closed
}

// TakeError returns the pending error and clears it, as reading SO_ERROR does:
// a later Read or Write does not get it. nil: there is none. It reports false on
// a closed connection.
func (c *Conn) TakeError() (pending error, ok bool) {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	if !c.closed && c.pending != 0 {
		pending = c.takePendingLocked()
	}
	return pending, !c.closed
}

// Peek reports what the next Read would find, as recv with MSG_PEEK and
// MSG_DONTWAIT does: how many bytes, or io.EOF, or the error; 0 and nil if
// Read would wait. Bytes and io.EOF stay, but a pending error is taken: Linux
// clears it for a peek, too. It looks past a pending Read and its deadline, and
// reports false on a closed connection.
func (c *Conn) Peek() (n int, pending error, ok bool) {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	switch {
	case c.closed:
		return 0, nil, false
	case c.unreadBytes > 0:
		return int(c.unreadBytes), nil, true
	case c.finReceived:
		return 0, io.EOF, true
	case c.pending != 0:
		return 0, c.takePendingLocked(), true
	case c.gone || c.readShut:
		return 0, io.EOF, true
	}
	return 0, nil, true
}

func (c *Conn) stateLocked() State {
	finAcked := c.finSent && c.acked == c.written
	switch {
	case c.gone:
		return Closed
	case c.handshake != nil:
		return SynReceived
	case c.finSent && c.finReceived && finAcked:
		return Closed
	case c.finSent && c.finReceived && c.finFirst:
		return Closing
	case c.finSent && c.finReceived:
		return LastAck
	case finAcked:
		return FinWait2
	case c.finSent:
		return FinWait1
	case c.finReceived:
		return CloseWait
	}
	return Established
}
