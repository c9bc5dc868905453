// Package tcpinfo asks what is known of a TCP connection below the program:
// what the other kernel acknowledged, what is still queued, which error is
// pending, and whether anything has arrived. The kernel is asked, or the
// connection itself if it is an [Accountant]. Where neither knows, every answer
// says so.
package tcpinfo

import (
	"net"
	"time"
)

// Tick is the coarsest grain of the kernel's clock in what it tells: jiffies
// at the lowest frequency in use, 100 Hz.
const Tick = 10 * time.Millisecond

// Info is one look at a socket: Linux's TCP_INFO and SIOCOUTQ.
//
// Acked and Queued count what Linux counts. The SYN of the side that dialed is
// one more acknowledged byte, an accepted connection's is not; a FIN is one
// more queued byte once it was sent, and one more acknowledged byte once it was
// acknowledged. So on the dialing side, before it sends a FIN, the books balance
// if Acked-1+Queued is the number of bytes written.
//
// They are read by two system calls: on a connection in use an acknowledgement
// can come between them. On one in state Close nothing changes any more.
type Info struct {
	State State

	Acked    uint64 // tcpi_bytes_acked. A RST's own acknowledgement does not count
	Queued   uint64 // SIOCOUTQ: written and not acknowledged. Survives a RST
	NotSent  uint64 // tcpi_notsent_bytes: the part of Queued that waits for the window
	Received uint64 // tcpi_bytes_received; a FIN counts as one

	Unacked     uint32 // tcpi_unacked: packets in flight. 0 while a zero window keeps everything back
	Retransmits uint32 // tcpi_retransmits: time-outs since something was acknowledged
	Probes      uint32 // tcpi_probes: window or keep-alive probes since one was answered

	SinceReceived time.Duration // tcpi_last_data_recv, in steps of up to a Tick
	SinceAck      time.Duration // tcpi_last_ack_recv: since anything at all was acknowledged, even again
	RTT           time.Duration // tcpi_rtt, smoothed
}

// An Accountant is a connection that answers for itself, as those of an
// in-memory network do. It is asked before the kernel is; its answers mean what
// the functions of this package say.
type Accountant interface {
	TCPInfo() (Info, bool)
	TakeError() (pending error, ok bool)
	Peek() (n int, pending error, ok bool)
}

// Of looks at a connection. It reports false where there is no evidence to be
// had: c is neither an [Accountant] nor exactly a *net.TCPConn, the connection
// is a Multipath TCP one (whose subflow's numbers are not the stream's), c is
// closed, the kernel is older than Linux 4.2, or it is not Linux.
//
// It does not wait, changes nothing, and may be called at any time.
func Of(c net.Conn) (Info, bool) {
	switch c := c.(type) {
	case Accountant:
		return c.TCPInfo()
	case *net.TCPConn:
		var info Info
		ok := false
		err := control(c, func(fd uintptr) { info, ok = OfSocket(fd) })
		return info, ok && err == nil
	}
	return Info{}, false
}

// TakeError returns the pending error of a socket (SO_ERROR), a syscall.Errno,
// or nil if there is none. Whoever asks first clears it: a later Read or Write
// does not get it. On Linux a RST behind a FIN leaves EPIPE, one without a FIN
// ECONNRESET. ok is false where it cannot be told.
func TakeError(c net.Conn) (pending error, ok bool) {
	switch c := c.(type) {
	case Accountant:
		return c.TakeError()
	case *net.TCPConn:
		err := control(c, func(fd uintptr) { pending, ok = TakeSocketError(fd) })
		return pending, ok && err == nil
	}
	return nil, false
}

// Peek reports what the next Read would find, without waiting: how many bytes,
// at least, or io.EOF, or the error. 0 and nil: nothing has arrived and the
// connection is open. Bytes and io.EOF stay where they are; a pending error is
// taken by it, as by any read. ok is false where it cannot be told.
func Peek(c net.Conn) (n int, pending error, ok bool) {
	switch c := c.(type) {
	case Accountant:
		return c.Peek()
	case *net.TCPConn:
		err := control(c, func(fd uintptr) { n, pending, ok = PeekSocket(fd) })
		return n, pending, ok && err == nil
	}
	return 0, nil, false
}

// Silent is [Peek] for an idle connection, and how long ago data was received
// last, 0 if that is not known: in one go, for the path of a request. silent
// means that the connection is open and nothing has arrived. ok is false where
// it cannot be told.
func Silent(c net.Conn) (silent bool, since time.Duration, ok bool) {
	var n int
	var pending error
	switch c := c.(type) {
	case Accountant:
		n, pending, ok = c.Peek()
		info, _ := c.TCPInfo()
		since = info.SinceReceived
	case *net.TCPConn:
		err := control(c, func(fd uintptr) {
			n, pending, ok = PeekSocket(fd)
			if ok && n == 0 && pending == nil {
				since, _ = SinceReceived(fd)
			}
		})
		ok = ok && err == nil
	}
	if !ok || n > 0 || pending != nil {
		return false, 0, ok
	}
	return true, since, true
}

// control runs f with the socket. SyscallConn's Read would wait for a pending
// Read to end; Control does not.
func control(c *net.TCPConn, f func(fd uintptr)) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(f)
}
