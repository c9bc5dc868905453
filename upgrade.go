package idlewise

import (
	"fmt"
	"net"
	"time"
)

// An UpgradeEnd says how a connection ended that a 101 response had handed to
// the program, such as a WebSocket.
type UpgradeEnd struct {
	ConnID   uint64
	Local    net.Addr      // nil if unknown
	Remote   net.Addr      // nil if unknown
	Age      time.Duration // since the connection was dialed
	Upgraded time.Duration // since the 101 response
	By       EndedBy
}

// String describes the end in a line.
func (e UpgradeEnd) String() string {
	return fmt.Sprintf("upgraded connection %d to %v: ended by %v after %v", e.ConnID, e.Remote, e.By, e.Upgraded.Round(time.Millisecond))
}

// EndedBy says who ended an upgraded connection, as far as was seen until the
// program closed it.
type EndedBy uint8

// Who can have ended it.
const (
	EndedByProgram   EndedBy = iota // nothing of an end was seen before the program closed it
	EndedByServerFIN                // the server had closed it or, halfway, its side of it
	EndedByServerRST                // the server, or something on the way, had reset it

	endedByKinds
)

var endedByNames = [endedByKinds]string{"program", "server_fin", "server_rst"}

// String returns "program", "server_fin" or "server_rst".
func (b EndedBy) String() string {
	if b < endedByKinds {
		return endedByNames[b]
	}
	return fmt.Sprintf("EndedBy(%d)", uint8(b))
}

// MarshalText makes it readable in JSON, also as a map's key.
func (b EndedBy) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// An upgrade is a connection's second life.
type upgrade struct {
	at    time.Time
	trace *Trace // of the request, or nil
}

// upgraded takes note that the connection is the program's now. Its caller has
// it, and the program not yet.
func (c *conn) upgraded(trace *Trace) {
	c.ending = ClosedUpgraded
	if c.tcp != nil {
		c.upgrade.Store(&upgrade{c.headerAt, trace})
	}
}

// socketClosed runs when the socket was closed, perhaps under locks of net/http.
func (c *conn) socketClosed() {
	if u := c.upgrade.Load(); u != nil {
		c.upgradeEnded(u)
	}
	c.freeSlot()
}

func (c *conn) upgradeEnded(u *upgrade) {
	now := time.Now()
	end := UpgradeEnd{
		ConnID: c.id, Local: c.local, Remote: c.remote,
		Age: elapsed(c.born, now), Upgraded: elapsed(u.at, now),
	}
	switch c.tcp.ended() {
	case endFIN:
		end.By = EndedByServerFIN
	case endRST:
		end.By = EndedByServerRST
	}
	p := c.pool
	p.mu.Lock()
	dropped := p.dropped
	if !dropped {
		p.counts.upgradesEnded[end.By]++
	}
	if n := p.u.t.news; n != nil {
		n.tell(UpgradeEnded{p.u.info(now), end})
	}
	p.mu.Unlock()
	if dropped {
		r := &p.u.t.registry
		r.mu.Lock()
		r.past.upgradesEnded[end.By]++
		r.mu.Unlock()
	}
	if u.trace != nil && u.trace.UpgradeDone != nil {
		go u.trace.UpgradeDone(end) // the program's, and this may be under locks
	}
}
