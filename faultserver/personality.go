package faultserver

import (
	"fmt"
	"slices"
	"time"
)

// announcement is when a server sends a Keep-Alive header.
type announcement uint8

const (
	never announcement = iota
	always
	ifAsked // only to requests that carry Connection: keep-alive
)

// pingEffect is what an HTTP/2 PING does to a server's idle timer.
type pingEffect uint8

const (
	pingUnknown pingEffect = iota // treated as pingIgnored
	pingIgnored
	pingResets
	noHTTP2 // the server named does not speak it
)

// flowDrop is how a middlebox forgets a connection that was idle for too long:
// it sends nothing then, and what it does with the next packet is this.
type flowDrop uint8

const (
	noDrop     flowDrop = iota // a server, which closes
	dropReset                  // the client's next packet is answered with a RST
	dropSilent                 // nothing is answered any more
)

// personality is how a named server treats connections by default.
type personality struct {
	name     string
	aliases  []string
	text     string // what it is, and what of it is not imitated
	shutdown string // what Drain and Restart imitate
	source   string

	idle     time.Duration // 0: never closes
	idle2    time.Duration // on HTTP/2; 0: as idle, negative: never
	late     time.Duration // its timer fires up to this much later
	ping     pingEffect
	told     time.Duration // the timeout in its Keep-Alive header
	announce announcement
	counts   bool // the header counts down max=
	requests int  // per connection; 0: no limit
	age      time.Duration
	how      closeHow
	drop     flowDrop      // instead of closing
	goAway   time.Duration // from the last GOAWAY to the FIN of an empty connection
	head     time.Duration // from a request's first byte to its head's end; 0: no limit
	says408  bool          // when that has passed, before it closes
	leaving  leaving       // how it drains
}

const noTimeout time.Duration = -1

// Personalities returns the names that Config.Personality knows, sorted,
// without the aliases; see [DescribePersonality].
func Personalities() []string {
	names := make([]string, len(personalities))
	for i := range personalities {
		names[i] = personalities[i].name
	}
	slices.Sort(names)
	return names
}

func personalityByName(name string) (personality, error) {
	if name == "" {
		return personality{}, nil
	}
	for _, p := range personalities {
		if p.name == name || slices.Contains(p.aliases, name) {
			return p, nil
		}
	}
	return personality{}, unknownName("server", name, Personalities())
}

// scaled lets the personality's times pass faster by the factor. The announced
// timeout is kept true: it is in whole seconds, so that one under a second is
// not announced at all.
func (p personality) scaled(factor float64) personality {
	if factor == 1 {
		return p
	}
	for _, d := range []*time.Duration{
		&p.idle, &p.idle2, &p.late, &p.told, &p.age, &p.goAway, &p.head, &p.leaving.patience, &p.leaving.gap, &p.leaving.freshFor,
	} {
		if *d > 0 {
			*d = time.Duration(float64(*d) / factor)
		}
	}
	return p
}

// idleLimit is the idle timeout on a protocol, 0 for none.
func (p *personality) idleLimit(proto protoSet) time.Duration {
	if proto == onHTTP2 && p.idle2 != 0 {
		return max(p.idle2, 0)
	}
	return p.idle
}

// keepAlive is the value of the Keep-Alive header for the nth response of a
// connection, or "" for none.
func (p *personality) keepAlive(nth int, asked bool) string {
	seconds := int64(p.told / time.Second)
	if p.announce == never || p.announce == ifAsked && !asked || seconds < 1 {
		return ""
	}
	value := fmt.Sprintf("timeout=%d", seconds)
	if p.counts && p.requests > 0 {
		value += fmt.Sprintf(", max=%d", p.requests-nth)
	}
	return value
}
