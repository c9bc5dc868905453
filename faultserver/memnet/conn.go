package memnet

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is one end of a connection. It is a net.Conn whose methods behave as a
// *net.TCPConn's on Linux and return the same errors; all of them may be called
// at the same time.
type Conn struct {
	// Assigned when the connection is made, never reassigned.
	network *Network
	out     *path
	peer    *Conn
	local   net.Addr
	remote  net.Addr

	// What follows is guarded by network.mu.

	// The application's side.
	closed        bool // by Close or Abort
	readable      *sync.Cond
	writable      *sync.Cond // for room, and for a turn
	writing       bool       // Writes take turns, so that each stays in one piece
	readDeadline  deadline
	writeDeadline deadline

	socket
}

func newConn(n *Network, out *path) *Conn {
	c := &Conn{
		network:  n,
		out:      out,
		local:    out.from.addr(),
		remote:   out.to.addr(),
		readable: sync.NewCond(&n.mu),
		writable: sync.NewCond(&n.mu),
	}
	c.edge, c.told = n.receiveBuffer, n.receiveBuffer
	c.receivedAt = time.Now()
	c.heardAt = c.receivedAt
	c.timing.timer.run = c.retry
	c.ackTimer.run = c.acknowledgeNow
	return c
}

// LocalAddr is a *net.TCPAddr, or where a listener was given a name, an address
// with that name. A dialer's is never used a second time.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the other end's [Conn.LocalAddr].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Read waits for data. What has arrived is returned first, even after a RST
// (Linux does not discard it). Then, after a FIN, io.EOF; after a RST without a
// FIN, once, syscall.ECONNRESET, unless a Write got it before; then io.EOF. The
// same goes for syscall.ETIMEDOUT.
// It fails with os.ErrDeadlineExceeded past the deadline and with net.ErrClosed
// on a closed connection. All errors but io.EOF are *net.OpError.
func (c *Conn) Read(p []byte) (int, error) {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.opError("read", net.ErrClosed)
		case len(p) == 0:
			return 0, nil
		case c.readDeadline.expired:
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		case len(c.unread) > 0:
			n := c.takeLocked(p)
			c.madeRoomLocked()
			return n, nil
		case c.finReceived:
			// Before the pending error: a kernel that has seen a FIN tells
			// readers of nothing else. The error is left for a Write.
			return 0, io.EOF
		case c.pending != 0:
			return 0, c.opError("read", os.NewSyscallError("read", c.takePendingLocked()))
		case c.gone || c.readShut:
			return 0, io.EOF
		}
		c.readable.Wait()
	}
}

func (c *Conn) takeLocked(p []byte) (n int) {
	for n < len(p) && len(c.unread) > 0 {
		taken := copy(p[n:], c.unread[0])
		n += taken
		if c.unread[0] = c.unread[0][taken:]; len(c.unread[0]) == 0 {
			c.unread[0] = nil
			c.unread = c.unread[1:]
		}
	}
	c.unreadBytes -= int64(n)
	return n
}

// Write sends p, and blocks while the send buffer is full
// ([Options.SendBuffer]). Success means that the kernel took it: the other end
// may be closed, and will answer with a RST.
//
// After a RST, or when the kernel gave up (syscall.ETIMEDOUT,
// [Options.GiveUpAfter]), the first call gets the pending error, unless a Read got it
// before: syscall.ECONNRESET, or EPIPE if a FIN had come first; later ones get
// EPIPE, as does a Write after CloseWrite. It fails with os.ErrDeadlineExceeded
// past the deadline and with net.ErrClosed on a closed connection. All errors
// are *net.OpError.
func (c *Conn) Write(p []byte) (written int, err error) {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	// Whatever ends a wait for room ends the one for a turn: the Write whose
	// turn it is leaves for the same reason.
	for c.writing {
		c.writable.Wait()
	}
	c.writing = true
	defer func() {
		c.writing = false
		c.writable.Broadcast()
	}()
	for {
		switch {
		case c.closed:
			return written, c.opError("write", net.ErrClosed)
		case c.writeDeadline.expired:
			return written, c.opError("write", os.ErrDeadlineExceeded)
		case c.pending != 0:
			return written, c.opError("write", os.NewSyscallError("write", c.takePendingLocked()))
		case c.gone || c.finSent:
			return written, c.opError("write", os.NewSyscallError("write", syscall.EPIPE))
		case written == len(p): // nothing to write
			return written, nil
		}
		room := min(c.network.sendBuffer-(c.written-c.acked), c.network.segmentSize)
		if room <= 0 {
			c.writable.Wait()
			continue
		}
		data := bytes.Clone(p[written : written+min(int(room), len(p)-written)])
		written += len(data)
		c.queueLocked(&outgoing{data: data})
		if written == len(p) {
			return written, nil
		}
	}
}

// SetDeadline sets both deadlines, as net.Conn documents: pending calls obey it
// too, a deadline in the past ends them, and zero means none. It fails with
// net.ErrClosed on a closed connection.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, true, true) }

// SetReadDeadline sets the deadline of Read calls; see [Conn.SetDeadline].
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, true, false) }

// SetWriteDeadline sets the deadline of Write calls; see [Conn.SetDeadline]. A
// Write that it ends may have sent a part.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

func (c *Conn) setDeadlines(t time.Time, read, write bool) error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	if c.closed {
		return &net.OpError{Op: "set", Net: "tcp", Addr: c.local, Err: net.ErrClosed}
	}
	if read {
		c.readDeadline.setLocked(t, c.readable)
	}
	if write {
		c.writeDeadline.setLocked(t, c.writable)
	}
	return nil
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}
