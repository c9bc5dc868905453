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
// This is as far as a process gets where the kernel has no better, see IdleVanish
// and IdleForget: the client's bytes are still acknowledged before the RST or
// the silence.
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

// forgetFlow is the idle timeout of a personality that drops. Where the kernel
// does not let it drop, flowReader does what it can.
func (c *conn) forgetFlow() {
	drop, how := IdleVanish, closeSilent
	if c.srv.set.character.drop == dropReset {
		drop, how = IdleForget, closeForgotten
	}
	if c.srv.supports(Fault{Kind: drop}) == nil {
		if c.claimIdle() {
			c.shut(ending{how: how, by: BySilence, reason: IdleTimeout})
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := c.srv.set.character.idleLimit(c.proto)
	c.idle.gone = c.idle.gone || c.state == idle && time.Since(c.idle.since) >= limit
}
