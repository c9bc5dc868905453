package simulation

import (
	"testing/synctest"
	"time"

	"github.com/idlewise/idlewise"
)

// watch looks at the Transport now and then, at moments when everything that can
// happen at that instant has happened.
func (w *world) watch() {
	for n := 0; ; n++ {
		// Not in step with anything.
		if !w.sleep(time.Duration(37+n%7*61) * time.Millisecond) {
			return
		}
		synctest.Wait()
		select {
		case <-w.stopping:
			return
		default:
		}
		w.look()
	}
}

// limitWindow is for how long a place that a policy permitted may wait to be used: a
// dial that has one is held back by the pace of dials.
const limitWindow = 30 * time.Second

// maxConns is how many connections any recent policy permits; 0: any number.
func (w *world) maxConns() int {
	most := 0
	for _, p := range w.inForce(time.Now().Add(-limitWindow)) {
		if p.MaxConns <= 0 {
			return 0
		}
		most = max(most, p.MaxConns)
	}
	return most
}

// checkLimit is called when a connection is dialed and n are open with it, those that
// drain included.
func (w *world) checkLimit(s *server, n int) {
	most := w.maxConns()
	switch {
	case most == 0 || n <= most:
	case w.plan.Protocol.http2():
		w.beyondLimit(s, most)
	default:
		w.exceeded(s, n, most)
	}
}

func (w *world) exceeded(s *server, n, most int) {
	w.violate("P5", "%d connections to server %d, MaxConns is %d", n, s.n, most)
}

// everReady reports whether a policy kept connections ready at some time.
func (w *world) everReady() bool {
	for _, p := range w.inForce(time.Time{}) {
		if p.MinIdleConns > 0 {
			return true
		}
	}
	return false
}

// look compares the Transport's books with the world's.
func (w *world) look() {
	s := w.tr.Stats()
	now := w.inForce(time.Now())
	idle, canaries, inFlight := 0, 0, 0
	for _, u := range s.Upstreams {
		idle += u.Idle
		canaries += u.Canaries
		inFlight += u.InFlight
		w.lookAt(u, now)
	}
	if n := int(w.running.Load()); inFlight != n {
		w.violate("P5", "%d calls are counted, there are %d", inFlight, n)
	}
	if limit := w.plan.Limits.Idle; limit > 0 && idle > limit {
		w.violate("P6", "%d connections are idle, Config.MaxIdleConns is %d", idle, limit)
	}
	if limit := w.plan.Limits.Canaries; limit != 0 && canaries > max(limit, 0) {
		w.violate("P6", "%d canaries, Config.MaxCanaries is %d", canaries, limit)
	}
	// More are remembered while more are in use, and then until another comes.
	if limit := w.plan.Limits.Upstreams; limit > 0 && len(s.Upstreams) > max(limit, int(w.mostUsed.Load())) {
		w.violate("P6", "%d upstreams are remembered, of which %d at most were in use, Config.MaxUpstreams is %d", len(s.Upstreams), w.mostUsed.Load(), limit)
	}
	if len(w.tr.RecentEvents()) > 1000 {
		w.violate("P6", "%d recent events", len(w.tr.RecentEvents()))
	}
}

func (w *world) lookAt(u idlewise.UpstreamStats, now []Policy) {
	var s *server
	for _, other := range w.servers {
		if other.URL == u.Name {
			s = other
		}
	}
	if s == nil {
		w.violate("P6", "an upstream of the name %q", u.Name)
		return
	}
	sockets := int(s.conns.Load())
	if u.Open < sockets || u.Open-u.Dialing > sockets {
		w.violate("P5", "%s counts %d connections as open, %d of them being dialed; there are %d", u.Name, u.Open, u.Dialing, sockets)
	}
	if u.Idle > 0 || u.Dialing > 0 {
		// Else all serve requests, perhaps from before the limit.
		if n, most := u.Open-u.Draining, w.maxConns(); most > 0 && n > most {
			w.exceeded(s, n, most)
		}
	}
	if u.Canaries > 1 {
		w.violate("P6", "%s has %d canaries", u.Name, u.Canaries)
	}
	maxIdle, maxConns := 0, 0
	for _, p := range now {
		n := p.MaxIdleConns
		if n <= 0 {
			n = 100
		}
		maxIdle = max(maxIdle, n)
		if p.MaxConns <= 0 {
			maxConns = 1 << 30
		}
		maxConns = max(maxConns, p.MaxConns)
	}
	if u.Idle > maxIdle {
		w.violate("P6", "%s has %d idle connections, MaxIdleConns is %d", u.Name, u.Idle, maxIdle)
	}
	if u.Draining > 0 && !w.plan.Protocol.http2() {
		w.violate("P5", "%d connections to %s drain", u.Draining, u.Name)
	}
	// Whoever waits must be waiting for something.
	if u.Waiting > 0 && u.Dialing == 0 && u.Open < maxConns && !w.plan.Protocol.http2() {
		w.violate("P5", "%d calls to %s wait, but nothing is dialed, and only %d of %d connections are open (%d idle, %d in use, %d closing)", u.Waiting, u.Name, u.Open, maxConns, u.Idle, u.InUse, u.Closing)
	}
}
