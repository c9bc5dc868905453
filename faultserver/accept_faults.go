package faultserver

import "time"

// shapes reports whether the kind changes how a connection carries bytes, for
// as long as the fault is in force.
func (k Kind) shapes() bool {
	return k == Latency || k == Bandwidth || k == SlowClose || k == Loss
}

// judgeRules is judge for those who need to know later whether the fault is
// still in force.
func (rs *rules) judgeRules(e event) []*rule {
	if rs.armed[e.at].Load() == 0 {
		return nil
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var struck []*rule
	for _, r := range rs.list {
		if r.fault.Kind.spec().at == e.at && r.fits(e) && rs.strikesLocked(r) {
			struck = append(struck, r)
		}
	}
	return struck
}

// acceptFaults strikes a connection that has just been accepted, and is false
// if that ended it. It runs on the accepting goroutine, so that a late accept
// keeps the others waiting. A phase of a scenario that ends by this connection
// still strikes it.
func (c *conn) acceptFaults() bool {
	s := c.srv
	s.shaping.Lock()
	struck := s.rules.judgeRules(event{at: atAccept, proto: onBoth, tls: s.set.tls != nil})
	for _, r := range struck {
		c.struck = append(c.struck, r.fault)
		c.struckWhole(r)
	}
	c.judged = true
	s.shaping.Unlock()
	s.play.connection(s)

	for _, f := range c.struck {
		if f.Kind == AcceptLate {
			sleep(s.rules.delay(f), s.stop)
		}
	}
	if c.struck.has(AcceptReset) {
		c.shut(rstByFault(AcceptReset))
		return false
	}
	return true
}

// struckWhole enters a fault of the whole connection, and puts it in force if
// it shapes.
func (c *conn) struckWhole(r *rule) {
	c.srv.journal.change(func() { c.row.Faults = append(c.row.Faults, r.fault.Kind) })
	if r.fault.Kind.shapes() {
		c.raw.(*socket).shapedBy(r)
	}
}

// shapeOpen strikes the connections that are open with a fault that has come
// into force, in the order of acceptance. One that is being accepted is left to
// its acceptFaults. The caller holds Server.shaping.
func (s *Server) shapeOpen(r *rule) {
	for _, c := range s.snapshot() {
		if c.judged && s.rules.strikes(r) {
			c.struckWhole(r)
		}
	}
}

// unshape takes a removed fault from all connections. The caller holds
// Server.shaping.
func (s *Server) unshape(r *rule) {
	for _, c := range s.snapshot() {
		c.raw.(*socket).noLongerShapedBy(r)
	}
}

// pause waits, and is false if the connection ended first.
func (c *conn) pause(d time.Duration) bool { return sleep(d, c.ctx.Done()) }
