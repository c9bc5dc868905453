package faultserver

import (
	"net"
	"slices"
	"time"
)

// idleWatch is what happens to a connection if it stays idle. Guarded by the
// connection's lock.
type idleWatch struct {
	since   time.Time
	timers  []*time.Timer         // of a drain
	armed   map[*rule]*time.Timer // the faults judged in this idle time, or to be judged in it
	timeout *time.Timer           // Config.IdleTimeout; made once, then reset
	pinged  time.Time             // the last PING that counts as activity
	gone    bool                  // a middlebox has forgotten the connection, see flowReader
}

func (w *idleWatch) stop() {
	if w.timeout != nil {
		w.timeout.Stop()
	}
	for _, t := range w.timers {
		t.Stop()
	}
	w.timers = w.timers[:0]
	for _, t := range w.armed {
		t.Stop()
	}
	clear(w.armed)
}

func (w *idleWatch) addTimer(t *time.Timer) { w.timers = append(w.timers, t) }

// becomeIdle starts the idle time. A connection that is draining ends here.
func (c *conn) becomeIdle() {
	c.mu.Lock()
	if c.state == shut {
		c.mu.Unlock()
		return
	}
	c.state = idle
	c.idle.since = time.Now()
	if c.draining && c.http2 == nil && c.srv.set.character.leaving.endsWithAnswer() {
		c.mu.Unlock()
		c.shut(finBecause(Draining))
		return
	}
	c.armIdleTimeoutLocked()
	c.armIdleFaultsLocked()
	c.mu.Unlock()
}

// armIdleTimeoutLocked makes the timeout count from now.
func (c *conn) armIdleTimeoutLocked() {
	p := &c.srv.set.character
	if limit := p.idleLimit(c.proto); limit > 0 {
		after := limit + c.srv.rules.draw(p.late)
		if c.idle.timeout == nil {
			c.idle.timeout = time.AfterFunc(after, c.idleTimedOut)
		} else {
			c.idle.timeout.Reset(after)
		}
	}
}

// pinged is called when an HTTP/2 PING has come: to some servers that is
// activity. Faults still count from when the connection fell idle.
func (c *conn) pinged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.srv.set.character.ping == pingResets && c.state == idle {
		c.idle.pinged = time.Now()
		c.armIdleTimeoutLocked()
	}
}

// rearmIdle makes faults injected while the connection is idle count from when
// it fell idle: one whose time has already passed strikes at once.
func (c *conn) rearmIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == idle || c.state == speaking {
		c.armIdleFaultsLocked()
	}
}

// armIdleFaultsLocked makes each fault in force that may strike in this idle
// time be judged in it, once, however often it is called.
func (c *conn) armIdleFaultsLocked() {
	since := c.idle.since
	e := event{at: atIdle, proto: c.proto, request: c.last, nthOnConn: c.requests}
	waiting := c.srv.rules.waiting(e)
	for r, t := range c.idle.armed {
		if !slices.Contains(waiting, r) {
			t.Stop()
			delete(c.idle.armed, r)
		}
	}
	for _, r := range waiting {
		if c.idle.armed[r] != nil {
			continue
		}
		if c.idle.armed == nil {
			c.idle.armed = make(map[*rule]*time.Timer)
		}
		due := since.Add(c.srv.rules.delay(r.fault))
		if r.fault.Kind == CloseAfterAge {
			due = c.opened.Add(r.fault.After)
		}
		c.idle.armed[r] = time.AfterFunc(time.Until(due), func() { c.idleFaultDue(r, since) })
	}
}

// becomeBusy begins a request and returns its number on the connection and the
// idle time before it. It is false if the connection has ended: the end came
// first, even if the client's bytes have arrived.
func (c *conn) becomeBusy() (nth int, idleFor time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.state == speaking {
		c.unblocked.Wait()
	}
	switch c.state {
	case shut:
		return 0, 0, false
	case idle:
		idleFor = time.Since(c.idle.since)
		c.idle.stop()
	case fresh:
		c.idle.stop()
	}
	c.state = busy
	c.requests++
	return c.requests, idleFor, true
}

// claimIdle takes an idle connection for the server to act on. Whoever claims
// must shut it or unclaim it.
func (c *conn) claimIdle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.state == speaking {
		c.unblocked.Wait()
	}
	if c.state != idle {
		return false
	}
	c.state = speaking
	return true
}

// claimIdleSince is claimIdle if the idle time that began then still lasts.
func (c *conn) claimIdleSince(since time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.state == speaking { // another fault that is due
		c.unblocked.Wait()
	}
	if c.state != idle || !c.idle.since.Equal(since) {
		return false
	}
	c.state = speaking
	return true
}

func (c *conn) unclaim() {
	c.mu.Lock()
	if c.state == speaking {
		c.state = idle
	}
	drained := c.state == idle && c.draining && c.http2 == nil && c.srv.set.character.leaving.idle == idleClosed
	c.unblocked.Broadcast()
	c.mu.Unlock()
	if drained { // drain found it speaking
		c.shut(finBecause(Draining))
	}
}

func (c *conn) idleTimedOut() {
	if !c.awaitResume() {
		return
	}
	// A timer that was stopped too late may run in the next idle period.
	c.mu.Lock()
	p := &c.srv.set.character
	since := c.idle.since
	if c.idle.pinged.After(since) {
		since = c.idle.pinged
	}
	early := c.state == idle && time.Since(since) < p.idleLimit(c.proto)
	h2 := c.http2
	c.mu.Unlock()
	if early {
		return
	}
	if p.drop != noDrop {
		c.forgetFlow()
		return
	}
	if !c.claimIdle() {
		return
	}
	e := ending{how: p.how, by: ServerFIN, reason: IdleTimeout, wait: p.goAway}
	if h2 != nil {
		h2.goAwayNow(0, e)
		return
	}
	c.shut(e)
}

// idleFaultDue runs when a fault's time has passed in the idle period that
// began at since.
func (c *conn) idleFaultDue(r *rule, since time.Time) {
	if !c.awaitResume() {
		return
	}
	if !c.claimIdleSince(since) {
		return
	}
	if !c.srv.rules.strikesIdle(r) {
		c.unclaim()
		return
	}
	c.mu.Lock()
	nc, h2 := c.nc, c.http2
	c.mu.Unlock()
	switch k := r.fault.Kind; k {
	case IdleClose:
		c.shut(finByFault(k))
	case IdleVanish:
		c.shut(silenceByFault(k))
	case IdleForget:
		c.shut(ending{how: closeForgotten, by: BySilence, reason: FaultStruck, fault: k})
	case IdleReset:
		c.shut(rstByFault(k))
	case Idle408:
		writeAll(nc, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		c.shut(finByFault(k))
	case IdleHalfClose:
		c.halfClose(finByFault(k))
		c.unclaim()
	case IdleBytes:
		writeAll(nc, r.fault.Value)
		c.unclaim()
	case IdleGoAway:
		c.unclaim() // streams may come until the second GOAWAY
		h2.goAwayGracefully(ending{how: closeLinger, by: ServerFIN, reason: FaultStruck, fault: k}, 0)
	case CloseAfterAge:
		e := finByFault(k)
		if h2 != nil && r.fault.Announced {
			h2.goAwayNow(0, e)
			return
		}
		c.shut(e)
	}
}

// writeAll ignores the error: the reading side finds out.
func writeAll(nc net.Conn, s string) { nc.Write([]byte(s)) }
