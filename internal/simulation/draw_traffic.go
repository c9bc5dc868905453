package simulation

import (
	"cmp"
	"slices"
	"time"
)

// A scene is a plan while its traffic is drawn.
type scene struct {
	dice
	plan *Plan
	idle Duration // about the servers' idle timeout
}

// traffic is clients whose pauses lie about the moments at which something ends.
func (s *scene) traffic() {
	clients := pick(s.dice, 1, 1, 2, 3, 5, 10)
	s.plan.Length = Duration(3+s.IntN(5)) * max(s.idle, second)
	same := s.percent(50) // all of them make similar calls
	form := s.call()
	for range clients {
		c := Client{Start: pick(s.dice, 0, s.upTo(s.idle))}
		for range 2 + s.IntN(14) {
			call := s.call()
			if same {
				gap := call.Gap
				call = form
				call.Gap = gap
			}
			c.Calls = append(c.Calls, call)
		}
		s.plan.Clients = append(s.plan.Clients, c)
	}
}

// storm is a crowd that does not let go of a server in trouble.
func (s *scene) storm() {
	s.plan.Length = Duration(12+s.IntN(4)) * second
	s.plan.Network.Latency = min(s.plan.Network.Latency, 5*ms)
	if s.percent(50) {
		s.plan.Policy.Retry = Retry{Max: pick(s.dice, 2, 4), WaitMin: ms, Eager: s.percent(50)}
		s.plan.Policy.Breaker = 0
		s.plan.Servers[0].Faults = []string{pick(s.dice, "status code=503", "fin-after-request", "rst-after-request probability=0.7")}
	} else {
		s.plan.Actions = append(s.plan.Actions, Action{At: s.between(0, 2*second), Do: Stop, For: 10 * second})
	}
	switch s.plan.Protocol { // handshakes take too much of the processor
	case TLS:
		s.plan.Protocol = HTTP1
	case TLSH2:
		s.plan.Protocol = H2C
	}
	for range 2 + s.IntN(4) {
		call := s.call()
		call.Gap, call.Server, call.Method, call.Think, call.Size = s.between(10*ms, 50*ms), 0, pick(s.dice, "GET", "PUT", "POST"), 0, min(call.Size, 1000)
		call.Read, call.Until = ReadAll, s.plan.Length
		if call.Body == Slow || call.Body == Failing {
			call.Body = Replayable
		}
		s.plan.Clients = append(s.plan.Clients, Client{Calls: []Call{call}})
	}
}

func (s *scene) call() Call {
	c := Call{
		Gap:    s.gap(),
		Server: s.IntN(len(s.plan.Servers)),
		Method: pick(s.dice, "POST", "POST", "POST", "GET", "GET", "PUT", "DELETE", "HEAD", "PATCH"),
		Option: pick(s.dice, "", "", "", "", "", "", Idempotent, NotIdempotent, WithoutRetry, FreshConn),
		Key:    s.percent(10),
		Read:   pick(s.dice, ReadAll, ReadAll, ReadAll, ReadAll, ReadAll, ReadAll, ReadSlowly, ReadPart, ReadNone),
		Silent: s.percent(15),
		Want:   pick(s.dice, 0, 0, 100, 100, 5000, 100_000),
	}
	if c.Read == ReadSlowly {
		c.Silent = false // whoever reads slowly must say on which connection
	}
	if c.Method != "HEAD" && c.Method != "GET" && s.percent(85) {
		c.Body = pick(s.dice, InMemory, InMemory, InMemoryBut, Replayable, Replayable, Stream, Chunked, Slow, Failing)
		c.Size = pick(s.dice, 0, 1, 100, 1000, 5000, 150_000)
	}
	if s.percent(25) {
		c.Think = pick(s.dice, s.upTo(20*ms), s.upTo(second), s.upTo(s.idle))
	}
	if s.percent(15) {
		c.Cancel = pick(s.dice, s.upTo(4*Duration(s.plan.Network.Latency)+ms), s.upTo(second))
	}
	if s.percent(60) {
		c.Timeout = pick(s.dice, 10*second, 10*second, s.between(ms, second), s.upTo(8*s.plan.Network.Latency)+ms)
	}
	return c
}

// gap draws a pause. Those that matter end when the server's idle timeout, or
// what the policy makes of it, does.
func (s *scene) gap() Duration {
	rtt := 2 * s.plan.Network.Latency
	pol := s.plan.Policy
	limit := cmp.Or(pol.MaxIdleTime, s.idle)
	if pol.ServerKeepAlive > 0 {
		limit = pol.ServerKeepAlive - max(pol.IdleMargin, 0)
		if pol.IdleMargin == 0 {
			limit = pol.ServerKeepAlive - lowMargin(pol.ServerKeepAlive)
		}
	}
	var g Duration
	switch s.IntN(8) {
	case 0:
		return 0
	case 1, 2:
		g = s.upTo(20 * ms)
	case 3:
		g = s.upTo(2 * s.idle)
	case 4: // the request crosses the server's FIN
		g = s.idle - rtt + s.upTo(rtt+ms)
	case 5:
		g = s.idle + Duration(s.NormFloat64()*float64(2*ms+rtt))
	case 6: // before the sweep has tidied up
		g = limit + s.upTo(2*ms)
	case 7:
		g = limit + pick(s.dice, 0, -1, Duration(time.Microsecond), -ms)
	}
	return max(g, 0)
}

// lowMargin is the least that the automatic margin can be.
func lowMargin(t Duration) Duration {
	return max(10*ms, min(t/5, max(250*ms, t/100)))
}

// actions are what befalls the servers, the network and the Transport.
func (s *scene) actions() {
	for range pick(s.dice, 0, 0, 1, 2, 4, 8) {
		s.plan.Actions = append(s.plan.Actions, s.action())
	}
	slices.SortStableFunc(s.plan.Actions, func(a, b Action) int { return cmp.Compare(a.At, b.At) })
}

func (s *scene) action() Action {
	a := Action{
		At:     s.upTo(s.plan.Length),
		Server: s.IntN(len(s.plan.Servers)),
		For:    pick(s.dice, s.upTo(100*ms), s.upTo(second), s.upTo(5*second)),
	}
	a.Do = pick(s.dice, Restart, Restart, Kill, Crash, Crash, Stop, Pause, Inject, Inject, CutServer, Forget, SetLatency,
		SetPolicies, SetPolicies, SetPolicies, CloseIdle, Warm)
	switch a.Do {
	case Inject:
		a.Fault, a.For = s.fault(s.plan.Protocol, s.idle), s.upTo(s.plan.Length)
		if lies(a.Fault) {
			a.Fault = "silent-close"
		}
	case SetLatency:
		a.For = s.upTo(100 * ms)
	case SetPolicies:
		p := s.policy(s.idle)
		if s.percent(60) { // only the limits
			drawn := p
			p = s.plan.Policy
			p.MaxConns, p.MaxIdleTime, p.ServerKeepAlive = drawn.MaxConns, drawn.MaxIdleTime, drawn.ServerKeepAlive
		}
		a.Policy = &p
	case Warm:
		a.Count = 1 + s.IntN(4)
	}
	return a
}

// finish makes every call end by itself.
func (s *scene) finish() {
	for i := range s.plan.Clients {
		for j := range s.plan.Clients[i].Calls {
			c := &s.plan.Clients[i].Calls[j]
			if c.Timeout == 0 {
				c.Timeout = 10 * second
			}
		}
	}
}
