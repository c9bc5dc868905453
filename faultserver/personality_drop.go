package faultserver

import (
	"io"
	"net"
	"time"
)

// flowReader reads for a personality that forgets idle flows, as a load
// balancer or a NAT does. Once the flow is forgotten the server sees nothing of
// what the client sends.
//
// This is as far as a process gets without rights in the kernel: the client's
// bytes are still acknowledged, by the kernel, before the RST or the silence. A
// connection that can do better has a method Vanish() error, after which the
// client's packets are lost, or Forget() error, after which they draw a RST; it
// is called at the idle timeout.
type flowReader struct {
	c *conn
	io.Reader
}

func (r flowReader) Read(p []byte) (int, error) {
	for {
		n, err := r.Reader.Read(p)
		if err != nil || !r.c.flowGone() {
			return n, err
		}
		if r.c.srv.set.character.drop == dropReset {
			r.c.shut(ending{how: closeRST, by: ServerRST, reason: IdleTimeout})
			return 0, net.ErrClosed
		}
		// Silence: read on, so that the client's end is noticed.
	}
}

func (c *conn) flowGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.idle.gone
}

// forgetFlow is the idle timeout of a personality that drops.
func (c *conn) forgetFlow() {
	c.mu.Lock()
	limit := c.srv.set.character.idleLimit(c.proto)
	forgotten := c.state == idle && time.Since(c.idle.since) >= limit
	c.idle.gone = c.idle.gone || forgotten
	c.mu.Unlock()
	if !forgotten {
		return
	}
	// An error leaves the connection to flowReader.
	if c.srv.set.character.drop == dropReset {
		if f, ok := c.raw.(interface{ Forget() error }); ok {
			f.Forget()
		}
	} else if v, ok := c.raw.(interface{ Vanish() error }); ok {
		v.Vanish()
	}
}
