package simulation

import "fmt"

// murmur makes some plans about promise P3: servers that say more than they were
// asked, over plain and TLS connections, to callers that come at once, just before,
// just behind, or so slowly that it comes between a request's start and its first
// byte. Of what else may happen little is left, lest it hides that.
func (d dice) murmur(p *Plan) {
	if !d.percent(20) {
		return
	}
	*p = Plan{
		Seed: p.Seed, Protocol: pick(d, HTTP1, HTTP1, TLS), Servers: []Server{{}}, Length: 5 * second, End: EndClose,
		Network: Network{Latency: pick(d, 0, 0, Duration(200_000), 5*ms)},
		Policy:  Policy{MaxConns: pick(d, 0, 1, 1, 2), NoLearning: d.percent(50)},
	}
	if d.percent(50) {
		p.Policy.LivenessCheckAfter = -1 // a look finds unread bytes, too
	}
	after := pick(d, 20*ms, 100*ms, 500*ms)
	s := &p.Servers[0]
	for _, fault := range []string{
		"surplus-bytes " + forged,
		fmt.Sprintf("idle-bytes %s after=%v", forged, after),
		fmt.Sprintf("idle-bytes %s after=%v jitter=%v", forged, after, after),
	} {
		if d.percent(60) {
			s.Faults = append(s.Faults, fault+pick(d, "", " probability=0.5", " probability=0.2"))
		}
	}
	for range pick(d, 1, 2, 4) {
		c := Client{}
		for range 20 + d.IntN(40) {
			c.Calls = append(c.Calls, d.murmured(after))
		}
		p.Clients = append(p.Clients, c)
	}
}

// murmured is a call that meets bytes that come after so long.
func (d dice) murmured(after Duration) Call {
	c := Call{
		Gap:    pick(d, 0, 0, 0, d.upTo(ms), after, after-d.upTo(min(after, 4*Duration(slowBody))), after+d.upTo(ms)),
		Method: pick(d, "POST", "PUT", "DELETE"),
		Linger: d.percent(30),
		Want:   pick(d, 0, 100, 200, 5000, 20_000),
		Read:   pick(d, ReadAll, ReadAll, ReadAll, ReadAll, ReadAll, ReadPart, ReadNone),
	}
	c.Body = pick(d, NoBody, InMemory, Slow, SlowChunked, SlowChunked)
	if c.Body != NoBody {
		c.Size = pick(d, 1, 100, 1000)
	}
	if c.Body == SlowChunked {
		c.Method = pick(d, "DELETE", "DELETE", "POST")
	}
	return c
}
