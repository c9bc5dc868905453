package memnet

import "net"

// Vanish ends the connection for whoever holds it without a word to the other
// end: nothing is sent any more, what was already sent still arrives, and
// nothing that the other end sends is acknowledged or answered, ever. It is how
// the process at one end of a wire looks when its machine has lost power. It
// fails with net.ErrClosed on a closed connection.
func (c *Conn) Vanish() error { return c.leave(true) }

// Forget ends the connection for whoever holds it without a word to the other
// end, whose next packet, of whatever kind, draws a RST, as from a load
// balancer or a machine that knows no such connection. What was already sent
// still arrives. It fails with net.ErrClosed on a closed connection.
func (c *Conn) Forget() error { return c.leave(false) }

func (c *Conn) leave(dead bool) error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.peer.out.dead = dead // else what arrives is answered as on any connection that is gone
	c.releaseLocked()
	c.endLocked()
	return nil
}

// CanVanish says that the connections of this listener have a method Vanish.
func (l *listener) CanVanish() {}

// CanForget says that the connections of this listener have a method Forget.
func (l *listener) CanForget() {}
