package faultserver

import (
	"crypto/tls"
	"net"
)

// closeNotifySize is more than a close_notify takes with any cipher.
const closeNotifySize = 128

// part closes the connection without waiting. It is false, and has not closed
// it, if under a low rate the close_notify takes its time: crypto/tls waits 5 s
// for that, and whoever ends many connections, or waits with a context, is not
// to wait for one after the other. A paused server says nothing, not even a
// close_notify, and one that is being closed has no time for a slow one.
func (c *conn) part(nc net.Conn) bool {
	sock := c.raw.(*socket)
	if _, secure := nc.(*tls.Conn); secure {
		// Before the gate is asked, so that a pause that begins now finds
		// nobody who would wait for its end.
		sock.parting.Store(true)
		switch {
		case c.srv.gate.isClosed():
			nc = sock
		case !sock.writesSlowly(closeNotifySize):
		case isClosed(c.srv.stop):
			nc = sock
		default:
			return false
		}
	}
	nc.Close()
	return true
}

// writesSlowly reports whether n bytes would have to wait for a rate.
func (s *socket) writesSlowly(n float64) bool {
	sh := s.shape.Load()
	return sh != nil && sh.down != nil && sh.down.Tokens() < n
}
