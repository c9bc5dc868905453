package faultserver

import "time"

// strikeAtAccept judges the faults of a connection's first moment. It is false
// if one of them has ended the connection.
func (c *conn) strikeAtAccept() bool {
	c.struck = c.srv.rules.judge(event{at: atAccept, proto: onBoth, tls: c.srv.set.tls != nil})
	if len(c.struck) == 0 {
		return true
	}
	kinds := make([]Kind, len(c.struck))
	for i, f := range c.struck {
		kinds[i] = f.Kind
	}
	c.srv.journal.change(func() { c.row.Faults = append(c.row.Faults, kinds...) })
	return true
}

// pause waits, and is false if the connection ended first.
func (c *conn) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}
