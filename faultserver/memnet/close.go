package memnet

import (
	"net"
	"os"
	"syscall"
)

// Close ends both directions and every pending call. The other end gets a FIN
// behind the data, or a RST if data had arrived here that was not read. Data
// that arrives afterwards is answered by a RST. A second call fails with
// net.ErrClosed.
func (c *Conn) Close() error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	if len(c.unread) > 0 {
		c.abortLocked()
		return nil
	}
	c.releaseLocked()
	if c.stateLocked() != Closed && !c.finSent {
		c.queueFinLocked()
	}
	return nil
}

// Abort closes the connection with a RST in place of a FIN, as Close does after
// SetLinger(0). Data on its way here is lost; data already sent arrives before
// the RST. It fails with net.ErrClosed if the connection is closed.
func (c *Conn) Abort() error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.abortLocked()
	return nil
}

func (c *Conn) abortLocked() {
	ended := c.stateLocked() == Closed
	c.releaseLocked()
	c.endLocked()
	if !ended {
		c.sendSegmentLocked(segment{kind: reset, seq: c.sent})
	}
}

func (c *Conn) queueFinLocked() {
	c.finSent, c.finFirst = true, !c.finReceived
	c.queueLocked(&outgoing{fin: true})
}

// releaseLocked takes the connection from the application.
func (c *Conn) releaseLocked() {
	c.closed = true
	c.readShut = true
	c.unread, c.unreadBytes = nil, 0
	c.readDeadline.stopLocked()
	c.writeDeadline.stopLocked()
	c.wakeLocked()
}

// CloseWrite sends a FIN behind the data; reading goes on. Writes, pending ones
// too, fail with syscall.EPIPE. It fails with net.ErrClosed on a closed
// connection and with syscall.ENOTCONN on one that was reset, or that both
// sides have ended; a second call does nothing.
func (c *Conn) CloseWrite() error {
	return c.shutdown(func() {
		if !c.finSent {
			c.writable.Broadcast()
			c.queueFinLocked()
		}
	})
}

// CloseRead ends pending Reads, and makes Read return io.EOF whenever there is
// nothing to read. As on Linux the other end is not told, and what it sends can
// still be read; unless CloseWrite was called too, then it is answered by a
// RST. Errors are CloseWrite's.
func (c *Conn) CloseRead() error {
	return c.shutdown(func() {
		c.readShut = true
		c.readable.Broadcast()
	})
}

func (c *Conn) shutdown(side func()) error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	if c.stateLocked() == Closed {
		return c.opError("close", os.NewSyscallError("shutdown", syscall.ENOTCONN))
	}
	side()
	return nil
}
