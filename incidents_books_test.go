package idlewise_test

import (
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

// incidentEvents are what OnEvent was told in a play.
type incidentEvents struct {
	mu     sync.Mutex
	opened map[string]bool // by the client's address
	closed map[idlewise.CloseReason]uint64
	last   map[string]idlewise.ConnectionClosed
	failed map[idlewise.Evidence]uint64
	resent map[idlewise.Evidence]uint64
	stale  uint64
}

func (n *incidentEvents) note(e idlewise.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.opened == nil {
		n.opened, n.last = make(map[string]bool), make(map[string]idlewise.ConnectionClosed)
		n.closed = make(map[idlewise.CloseReason]uint64)
		n.failed, n.resent = make(map[idlewise.Evidence]uint64), make(map[idlewise.Evidence]uint64)
	}
	switch e := e.(type) {
	case idlewise.ConnectionOpened:
		n.opened[e.Local.String()] = true
	case idlewise.ConnectionClosed:
		n.closed[e.Reason]++
		n.last[e.Local.String()] = e
	case idlewise.AttemptFailed:
		n.failed[e.Evidence]++
		if e.Resent {
			n.resent[e.Evidence]++
		}
		if e.Stale {
			n.stale++
		}
	}
}

// booksBalance compares what was counted, what was told, and what the servers'
// journals hold.
func (p *play) booksBalance() {
	p.Helper()
	s := p.tr.Stats().Total
	told := &p.told
	require.Zero(p, p.tr.Stats().EventsDropped)
	require.EqualValues(p, len(told.opened), s.Opened)
	require.Equal(p, told.closed, s.Closed)
	require.Equal(p, told.failed, s.Failed)
	require.Equal(p, told.resent, s.Resent)
	require.Equal(p, told.stale, s.StaleIdempotent+s.StaleOther)
	sum := uint64(0)
	for _, n := range s.Closed {
		sum += n
	}
	require.Equal(p, s.Opened, sum, "each connection was closed for one reason")

	for _, pod := range p.pods {
		for _, c := range pod.Journal().Conns() {
			e, ok := told.last[c.RemoteAddr]
			if !ok {
				continue // another client's, or gone before it was set up
			}
			require.Equal(p, c.LocalAddr, e.Remote.String())
			switch e.Reason {
			case idlewise.ClosedServerFIN, idlewise.ClosedServerRST, idlewise.ClosedLiveness:
				require.NotEqual(p, faultserver.ByClient, c.ClosedBy, "%v\n%+v", e, c)
			case idlewise.ClosedMaxAge, idlewise.ClosedPoolFull:
				if c.ClosedBy != faultserver.ByClient { // unless both did
					require.Less(p, e.Time.Sub(c.Closed).Abs(), p.latency+1, "%v\n%+v", e, c)
				}
			}
		}
	}
}
