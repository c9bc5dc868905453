package faultserver

import (
	"crypto/tls"
	"time"
)

// halfClose sends a FIN and leaves the connection to be read from. For the
// journal that is its end; what the client sends from now on is still executed.
// A connection that cannot do it is closed.
func (c *conn) halfClose(e ending) {
	half, ok := c.raw.(interface{ CloseWrite() error })
	if !ok {
		e.how = closeFIN
		c.shut(e)
		return
	}
	now := time.Now()
	c.mu.Lock()
	if c.state == shut || c.unheard {
		c.mu.Unlock()
		return
	}
	c.unheard = true
	var idleAge time.Duration
	if c.state == speaking {
		idleAge = now.Sub(c.idle.since)
	}
	t, secure := c.nc.(*tls.Conn)
	abrupt := c.abrupt
	c.mu.Unlock()

	c.srv.journal.change(func() {
		c.row.Closed, c.row.ClosedBy, c.row.Reason, c.row.Fault, c.row.IdleAge = now, e.by, e.reason, e.fault, idleAge
	})
	if secure && !abrupt {
		t.CloseWrite() // close_notify only
	}
	half.CloseWrite()
	if e.linger > 0 {
		c.srv.wg.Go(func() {
			end := time.NewTimer(e.linger)
			defer end.Stop()
			select {
			case <-end.C:
				c.shut(finByFault(e.fault))
			case <-c.ctx.Done():
			}
		})
	}
}

// isUnheard reports whether the server can no longer answer.
func (c *conn) isUnheard() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unheard
}

// runUnheard executes a request whose answer has no way to go. It is true if
// the next one may be read.
func (x *exchange) runUnheard() (returned bool) {
	x.w = newResponse(x)
	x.w.wire = lostWire{}
	defer func() { // the handler may end by runtime.Goexit
		x.readBody()
		if !returned {
			x.wire.panicked()
		}
	}()
	return x.execute(x.w)
}
