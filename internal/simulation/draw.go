package simulation

import (
	"math/rand/v2"
	"slices"
	"time"
)

const ms = Duration(time.Millisecond)
const second = Duration(time.Second)

// Draw makes the plan of a seed, always the same.
func Draw(seed uint64) Plan {
	d := dice{rand.New(rand.NewPCG(seed, 1))}
	p := Plan{Seed: seed}
	p.Protocol = pick(d, HTTP1, HTTP1, HTTP1, HTTP1, HTTP1, HTTP1, H2C, H2C, TLS, TLSH2)
	p.Network = d.network()
	t := pick(d, 500*ms, second, 2*second, 5*second, 5*second, 30*second)
	servers := pick(d, 1, 1, 1, 2, 3)
	if d.percent(8) {
		servers = 6
		p.Limits.Upstreams = pick(d, 1, 2, 4)
	}
	for range servers {
		p.Servers = append(p.Servers, d.server(p.Protocol, t))
	}
	if d.percent(20) {
		p.Limits.Idle = 1 + d.IntN(4)
	}
	p.Limits.Canaries = pick(d, 0, 0, -1, 1)
	p.Limits.ReplayBytes = pick(d, int64(0), 0, 2000)
	p.Policy = d.policy(t)

	scene := scene{dice: d, plan: &p, idle: t}
	switch {
	case d.percent(6):
		scene.storm()
	default:
		scene.traffic()
	}
	scene.actions()
	p.Actions = slices.DeleteFunc(p.Actions, func(a Action) bool {
		faults := p.Servers[a.Server].Faults
		return a.Do == Inject && len(faults) == 1 && lies(faults[0])
	})
	p.End = pick(d, EndClose, EndShutdown, EndIdle)
	if p.End == EndIdle {
		scene.finish()
	}
	again := dice{rand.New(rand.NewPCG(seed, 2))}
	p.Policy.ElicitHint, p.Policy.Retry.Numbered = again.percent(10), again.percent(10)
	for _, c := range p.Clients {
		for i := range c.Calls {
			if c.Calls[i].Body == Slow && again.percent(50) {
				c.Calls[i].Body = SlowAgain
			}
		}
	}
	dice{rand.New(rand.NewPCG(seed, 3))}.murmur(&p)
	return p
}

// Dice are what is drawn from.
type dice struct{ *rand.Rand }

func pick[T any](d dice, from ...T) T { return from[d.IntN(len(from))] }

func (d dice) percent(n int) bool { return d.IntN(100) < n }

// upTo is uniform in [0, max).
func (d dice) upTo(max Duration) Duration { return Duration(d.Float64() * float64(max)) }

func (d dice) between(lo, hi Duration) Duration { return lo + d.upTo(hi-lo) }

func (d dice) network() Network {
	n := Network{Latency: pick(d, 0, Duration(200*time.Microsecond), ms, 5*ms, 25*ms, 100*ms)}
	if d.percent(20) {
		n.Jitter = n.Latency/2 + ms
	}
	if d.percent(10) {
		n.Loss = pick(d, 0.01, 0.05)
	}
	if d.percent(20) {
		n.DelayedAck = 40 * ms
	}
	n.Blind = d.percent(10)
	return n
}

var personalities = []string{
	"apache", "aws-alb", "aws-nlb", "azure-lb-rst", "caddy", "envoy", "falcon", "go", "gunicorn", "gunicorn-sync", "haproxy",
	"hypercorn", "jetty", "kestrel", "nginx", "node", "puma", "puma6", "tomcat", "undertow", "uvicorn",
}

func (d dice) server(proto Protocol, idle Duration) Server {
	s := Server{}
	if d.percent(60) {
		s.Personality = pick(d, personalities...)
	}
	if s.Personality == "" || d.percent(50) {
		s.Idle = idle
	}
	if !proto.http2() && d.percent(15) {
		s.KeepAlive = pick(d, "timeout=1", "timeout=5", "timeout=5, max=3", "timeout=60", "max=0", "timeout=junk")
	}
	if d.percent(15) {
		s.Requests = 1 + d.IntN(20)
	}
	if proto.http2() {
		s.Streams = pick(d, uint32(0), 0, 1, 2, 8)
	}
	for range pick(d, 0, 0, 1, 2, 4) {
		s.Faults = append(s.Faults, d.fault(proto, idle))
	}
	// Nobody could see that such a body was cut, or has something behind it.
	if i := slices.IndexFunc(s.Faults, lies); i >= 0 {
		s.Faults = s.Faults[i : i+1]
	}
	return s
}

func (d dice) policy(idle Duration) Policy {
	p := Policy{
		NoHint:     d.percent(15),
		NoLearning: d.percent(40),
		NoEvidence: d.percent(10),
		MaxConnAge: pick(d, 0, 0, 0, 3*second, 20*second),
		Group:      pick(d, "", "", "", "one"),
	}
	if d.percent(35) {
		p.ServerKeepAlive = pick(d, idle, idle, idle+idle/2, idle/2)
	}
	if d.percent(30) {
		p.MaxIdleTime = pick(d, idle, idle/2, 2*idle, 100*ms)
	}
	if d.percent(25) {
		p.IdleMargin = pick(d, 50*ms, idle/4, -1)
	}
	if d.percent(30) {
		p.LivenessCheckAfter = pick(d, -1, 10*ms)
	}
	if d.percent(20) {
		p.UnackedTimeout = pick(d, -1, 2*second, 5*second)
	}
	if d.percent(15) {
		p.BodyIdleTimeout = pick(d, 200*ms, 3*second)
	}
	if d.percent(15) {
		p.MaxRequestsPerConn = 1 + d.IntN(10)
	}
	if d.percent(50) {
		p.MaxConns = 1 + d.IntN(4)
	}
	if d.percent(15) {
		p.MaxIdleConns = 1 + d.IntN(3)
	}
	if d.percent(10) {
		p.MinIdleConns = 1
	}
	if d.percent(10) {
		p.DialRate, p.DialBurst = pick(d, 1.0, 5, 20), pick(d, 0, 1, 3)
	}
	if d.percent(35) {
		p.Retry = d.retry()
	}
	if d.percent(10) {
		p.Breaker = 1 + d.IntN(5)
	}
	return p
}

func (d dice) retry() Retry {
	return Retry{
		Max:           pick(d, 0, 1, 2, 4),
		WaitMin:       pick(d, 0, ms, 20*ms),
		PerTry:        pick(d, 0, 0, 100*ms, second),
		ReplayBody:    pick(d, int64(0), 0, 100, 100_000),
		AutoKey:       d.percent(10),
		NonIdempotent: d.percent(7),
		Eager:         d.percent(50),
	}
}
