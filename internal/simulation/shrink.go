package simulation

import (
	"slices"
	"testing"
	"time"
)

// tries is how often a plan is run before it counts as one that does not fail: the
// order of what happens at one instant is the scheduler's, and differs.
const tries = 3

// Shrink cuts a plan that breaks a promise down for as long as something is left
// to cut, and the time is not over. The plan it returns breaks the same promise, at
// least in one of a few runs; the report is that run's.
func Shrink(t *testing.T, p Plan, promise string, within time.Duration) (Plan, Report) {
	s := shrinking{t: t, promise: promise, until: time.Now().Add(within), best: p}
	s.fails(p)
	for s.round() {
	}
	return s.best, s.report
}

// A shrinking is a plan while it is cut down.
type shrinking struct {
	t       *testing.T
	promise string
	until   time.Time
	best    Plan
	report  Report
}

func (s *shrinking) fails(p Plan) bool {
	for range tries {
		if time.Now().After(s.until) {
			return false
		}
		if r := Run(s.t, p); r.breaks(s.promise) {
			s.best, s.report = p, r
			return true
		}
	}
	return false
}

// round tries everything once, and reports whether something could be cut.
func (s *shrinking) round() bool {
	smaller := cut(s, func(p *Plan) *[]Client { return &p.Clients })
	smaller = cut(s, func(p *Plan) *[]Action { return &p.Actions }) || smaller
	for i := range s.best.Clients {
		smaller = cut(s, func(p *Plan) *[]Call { return &p.Clients[i].Calls }) || smaller
	}
	for i := range s.best.Servers {
		smaller = cut(s, func(p *Plan) *[]string { return &p.Servers[i].Faults }) || smaller
	}
	for _, simpler := range simplifications {
		p := s.best.clone()
		if simpler(&p) && s.fails(p) {
			smaller = true
		}
	}
	for i := range s.best.Clients {
		for j := range s.best.Clients[i].Calls {
			for _, simpler := range simplerCalls {
				p := s.best.clone()
				if simpler(&p.Clients[i].Calls[j]) && s.fails(p) {
					smaller = true
				}
			}
		}
	}
	return smaller && time.Now().Before(s.until)
}

// cut leaves out parts of a list, halves first, single elements last.
func cut[T any](s *shrinking, list func(*Plan) *[]T) (smaller bool) {
	for n := len(*list(&s.best)); n > 0; n /= 2 {
		for from := 0; from+n <= len(*list(&s.best)); {
			p := s.best.clone()
			l := list(&p)
			*l = slices.Delete(*l, from, from+n)
			if s.fails(p) {
				smaller = true
			} else {
				from += n
			}
		}
	}
	return smaller
}

func (p Plan) clone() Plan {
	p.Clients = slices.Clone(p.Clients)
	for i := range p.Clients {
		p.Clients[i].Calls = slices.Clone(p.Clients[i].Calls)
	}
	p.Servers = slices.Clone(p.Servers)
	for i := range p.Servers {
		p.Servers[i].Faults = slices.Clone(p.Servers[i].Faults)
	}
	p.Actions = slices.Clone(p.Actions)
	return p
}

// zero sets a field to its zero value, and reports whether it was another.
func zero[T comparable](field *T) bool {
	var none T
	was := *field != none
	*field = none
	return was
}

// simplifications make a plan simpler, or report that it is already.
var simplifications = []func(*Plan) bool{
	func(p *Plan) bool { // the last server
		if len(p.Servers) == 1 {
			return false
		}
		p.Servers = p.Servers[:len(p.Servers)-1]
		return true
	},
	func(p *Plan) bool { return zero(&p.Policy) },
	func(p *Plan) bool { return zero(&p.Policy.Retry) },
	func(p *Plan) bool { return zero(&p.Policy.Breaker) },
	func(p *Plan) bool { return zero(&p.Policy.MaxConns) },
	func(p *Plan) bool { return zero(&p.Policy.MaxIdleConns) },
	func(p *Plan) bool { return zero(&p.Policy.MinIdleConns) },
	func(p *Plan) bool { return zero(&p.Policy.MaxRequestsPerConn) },
	func(p *Plan) bool { return zero(&p.Policy.MaxConnAge) },
	func(p *Plan) bool { return zero(&p.Policy.MaxIdleTime) },
	func(p *Plan) bool { return zero(&p.Policy.ServerKeepAlive) },
	func(p *Plan) bool { return zero(&p.Policy.IdleMargin) },
	func(p *Plan) bool { return zero(&p.Policy.LivenessCheckAfter) },
	func(p *Plan) bool { return zero(&p.Policy.UnackedTimeout) },
	func(p *Plan) bool { return zero(&p.Policy.BodyIdleTimeout) },
	func(p *Plan) bool { return zero(&p.Policy.Group) },
	func(p *Plan) bool { p.Policy.DialBurst = 0; return zero(&p.Policy.DialRate) },
	func(p *Plan) bool { return zero(&p.Policy.NoHint) },
	func(p *Plan) bool { return zero(&p.Policy.NoLearning) },
	func(p *Plan) bool { return zero(&p.Policy.NoEvidence) },
	func(p *Plan) bool { return zero(&p.Policy.ElicitHint) },
	func(p *Plan) bool { return zero(&p.Limits) },
	func(p *Plan) bool { return zero(&p.Network.Loss) },
	func(p *Plan) bool { return zero(&p.Network.Jitter) },
	func(p *Plan) bool { return zero(&p.Network.DelayedAck) },
	func(p *Plan) bool { return zero(&p.Network.Blind) },
	func(p *Plan) bool { return zero(&p.Network.Latency) },
	func(p *Plan) bool { return zero(&p.Servers[0].Personality) },
	func(p *Plan) bool { return zero(&p.Servers[0].KeepAlive) },
	func(p *Plan) bool { return zero(&p.Servers[0].Requests) },
	func(p *Plan) bool { return zero(&p.Servers[0].Streams) },
	func(p *Plan) bool {
		if p.End == EndClose {
			return false
		}
		p.End = EndClose
		return true
	},
	func(p *Plan) bool {
		if p.Protocol == HTTP1 {
			return false
		}
		p.Protocol = HTTP1
		return true
	},
}

var simplerCalls = []func(*Call) bool{
	func(c *Call) bool { c.Size = 0; return zero(&c.Body) },
	func(c *Call) bool { return zero(&c.Size) },
	func(c *Call) bool { return zero(&c.Want) },
	func(c *Call) bool { return zero(&c.Think) },
	func(c *Call) bool { return zero(&c.Cancel) },
	func(c *Call) bool { return zero(&c.Timeout) },
	func(c *Call) bool { return zero(&c.Option) },
	func(c *Call) bool { return zero(&c.Key) },
	func(c *Call) bool { return zero(&c.Read) },
	func(c *Call) bool { return zero(&c.Silent) },
	func(c *Call) bool { return zero(&c.Linger) },
	func(c *Call) bool { return zero(&c.Gap) },
}
