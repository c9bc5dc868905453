package idlewise

import (
	"fmt"
	"math"
	"net"
	"time"
)

// A Toggle is a yes or no that can also be left to be inherited.
type Toggle int8

// The values of a Toggle.
const (
	Inherit Toggle = iota // as in Policies.Default, or else the default
	On
	Off
)

// String returns "inherit", "on" or "off".
func (t Toggle) String() string {
	switch t {
	case Inherit:
		return "inherit"
	case On:
		return "on"
	case Off:
		return "off"
	}
	return fmt.Sprintf("Toggle(%d)", int8(t))
}

// A Policy says how the connections to an upstream are kept.
//
// The zero value of a field means the value in Policies.Default, and there
// the default given below. A negative value means off. Durations under a
// millisecond are refused: they are a unit forgotten.
type Policy struct {
	// ServerKeepAlive is the server's idle timeout, where the operator knows
	// it: the time after which the server closes a connection without
	// requests. It is the true timeout, not a safe one; IdleMargin is
	// subtracted from it. It wins over what the server announces.
	//
	// Default: what the server announces in Keep-Alive, or unknown.
	ServerKeepAlive time.Duration

	// MaxIdleTime is the longest a connection may be idle, whatever the
	// server allows. Unlike ServerKeepAlive it is taken as it is, without a
	// margin. Off: no limit.
	//
	// Default: 90 s, or the Base's IdleConnTimeout.
	MaxIdleTime time.Duration

	// IdleMargin is how long before the server's idle timeout a connection
	// is retired. Off: no margin, for tests.
	//
	// Default: automatic, from the timeout T and the round-trip time:
	// max(1.25 RTT + 10 ms, min(20 % of T, max(250 ms, 1 % of T))). It is
	// widened, to T/2 at most, where requests meet closes all the same, and
	// narrowed again slowly, unless Learning is Off.
	IdleMargin time.Duration

	// Hint says whether Keep-Alive: timeout=N and max=N in HTTP/1 responses
	// are believed. Values above an hour are taken as an hour; what cannot
	// be parsed is ignored.
	//
	// Default: On.
	Hint Toggle

	// Learning says whether the server's idle timeout is learned from what its
	// connections come to: at which ages it closes them, at which they are
	// still alive. What is learned is used where ServerKeepAlive is not set.
	//
	// Default: On.
	Learning Toggle

	// Canary says whether now and then a connection that has reached its
	// deadline is kept open, without ever being used again, to see when the
	// server closes it: one per upstream at a time, and
	// Config.MaxCanaries in all. Without it a timeout that was raised is never
	// noticed.
	//
	// Default: On.
	Canary Toggle

	// Evidence says whether a request that must not be executed twice, and
	// whose connection failed, is sent again if the kernel shows that nothing
	// of it had reached the server before that closed the connection. It works
	// for TCP connections on Linux; docs/evidence.md has the proof and its one
	// assumption about servers. It takes a round trip more, at most 400 ms or
	// three round trips, until such a request's error is known.
	//
	// Default: On.
	Evidence Toggle

	// ElicitHint adds Connection: keep-alive to HTTP/1.1 requests that have
	// no Connection header. It is redundant in HTTP/1.1, but Apache httpd
	// and Tomcat announce their timeout only to clients that send it.
	//
	// Default: Off.
	ElicitHint Toggle

	// LivenessCheckAfter is the idle age from which on an HTTP/1 connection's
	// socket is looked at, by one system call, before a request is sent on
	// it: a FIN that has arrived and was not noticed yet shows there. It is
	// looked at earlier where half the time until its deadline has passed.
	// It works for TCP connections on Unix systems. Off: never.
	//
	// Default: 1 s.
	LivenessCheckAfter time.Duration

	// UnackedTimeout is how long a request may be in flight while its server
	// acknowledges nothing at all, though something waits to be acknowledged:
	// then the server, or the way to it, has vanished, and the request is sent
	// again on another connection if it may be. Servers that think or read
	// slowly acknowledge all the same. It must be longer than a round trip and
	// the packets lost now and then; under a few seconds it costs healthy
	// connections. It works for HTTP/1 over TCP on Linux; elsewhere TCPKeepAlive
	// and the kernel's own patience, a quarter of an hour, are what there is.
	// Off: never.
	//
	// Default: 20 s.
	UnackedTimeout time.Duration

	// TCPKeepAlive is how the kernel probes a connection on which nothing comes,
	// idle or in use: after Idle and then every Interval, and it gives the peer
	// up when Count probes were not answered. So a server that vanished while it
	// thought about a request is noticed, and an idle connection whose peer has
	// vanished goes before it is used. The kernel counts in seconds. It is set
	// on what the Base's dialer returns, in place of the dialer's own settings,
	// if that is exactly a *net.TCPConn.
	//
	// Parts left zero have their default; Enable must be true. A negative Idle
	// leaves the dialer's settings alone.
	//
	// Default: after 15 s, every 5 s, 3 times.
	TCPKeepAlive net.KeepAliveConfig

	// PingAfter is for how long nothing may be received on an HTTP/2 connection,
	// idle or in use, before its server is asked for a sign of life, by a PING.
	// What waits for a connection that is lost so is sent again on another if it
	// may be. Some servers, gRPC's among them, end connections that PING more
	// often than they like. It holds for connections dialed from then on. Off:
	// none is sent.
	//
	// Default: 30 s, or the Base's HTTP2.SendPingTimeout.
	PingAfter time.Duration

	// PingTimeout is how long the answer to a PING may take. Then the connection
	// is closed.
	//
	// Default: 15 s, or the Base's HTTP2.PingTimeout.
	PingTimeout time.Duration

	// BodyIdleTimeout is how long a Read of a response's body may wait for the
	// next byte. Then it fails with an error whose Timeout method returns
	// true, and the connection is closed. The time runs only while a Read
	// waits, and not on connections that a 101 response handed to the program.
	// (For the response's header there is the Base's ResponseHeaderTimeout.)
	//
	// Default: off.
	BodyIdleTimeout time.Duration

	// MaxConnAge is the longest a connection is used for new requests,
	// counted from its dial and varied by ±10 % per connection so that
	// connections opened together do not end together. It makes clients
	// notice DNS changes and new instances. If requests still come in the last
	// 5 s (or the last tenth, where that is less) of the only connection there
	// is, its successor is dialed in the background, so that none of them has to
	// wait for it. Off: no limit.
	//
	// Default: 10 min.
	MaxConnAge time.Duration

	// MaxRequestsPerConn is how many requests a connection is used for.
	//
	// Default: off, no limit.
	MaxRequestsPerConn int

	// MaxConns is how many connections may be open at a time: dialing, busy
	// and idle ones. Callers beyond it wait in the order in which they
	// came, until a connection is free or their context ends.
	//
	// Not counted are connections handed over to the program (101), and HTTP/2
	// connections that get no new streams after GOAWAY or at their MaxConnAge
	// and only end those they have, which may take hours.
	//
	// Default: off, no limit, or the Base's MaxConnsPerHost.
	MaxConns int

	// MaxIdleConns is how many connections are kept while idle; beyond it,
	// the one idle for longest is closed. Off: no limit but the
	// transport-wide Config.MaxIdleConns.
	//
	// Default: 100, or the Base's MaxIdleConnsPerHost where that is larger.
	MaxIdleConns int

	// DialRate is how many connections are dialed a second, and DialBurst how
	// many of them at once. Dials beyond that wait for their turn and a random
	// part of the next one's, until the callers' contexts end. It is for
	// servers that a thousand clients must not find at the same moment.
	//
	// Whatever the rate, from the second failure in a row on each further dial
	// waits for a random time of up to 50 ms, 100 ms, 200 ms and so on, at
	// most 1 s, until one succeeds.
	//
	// Default: off; a DialBurst of DialRate, rounded up.
	DialRate  float64
	DialBurst int

	// MinIdleConns is how many idle connections are kept ready, besides those
	// with requests, while the upstream is in use: until MaxIdleTime (or 90 s,
	// where that is off) after its last request or call of Warm. An HTTP/2
	// connection counts for all of them, in use or not.
	//
	// Before a deadline or MaxConnAge retires one of them its successor is
	// dialed, in the background and about as early as a dial takes, so that at
	// no instant fewer are ready; where MaxConns leaves no room for both, it is
	// dialed afterwards. So each costs the server one new connection per idle
	// timeout. One that was never used is replaced a second after its dial at
	// the soonest, and a server that cannot be dialed is tried about once a
	// second. Until a Breaker that has opened is closed again, none is dialed.
	//
	// Default: off. Then connections are dialed when requests need them; see
	// MaxConnAge for the one exception.
	MinIdleConns int

	// Retry says when requests are sent again although they were answered, or
	// though no connection could be had.
	//
	// Default: off; see Retry.
	Retry Retry

	// Breaker says when requests are not sent at all since the upstream fails.
	// NoBreaker is for none where the default policy has one.
	//
	// Default: none.
	Breaker *Breaker

	// Group is a name that upstreams share which are one system behind several
	// names or ports, such as the hosts of one load balancer. They share what is
	// learned about idle timeouts, the budget for retries, the breaker and the
	// pace of dials, as the policy of the upstream that was used first has them;
	// connections, and limits on their number, remain each upstream's own.
	//
	// Where SetPolicies moves an upstream, a group that knows nothing yet takes
	// over what the upstream has learned; who leaves a group takes a copy of what
	// it has learned along. A group ends with its last upstream's record.
	//
	// Default: none, every upstream by itself.
	Group string

	// Probe says whether the server's idle timeout is measured in the
	// background, by connections of its own.
	//
	// Default: off.
	Probe ProbePolicy
}

// The defaults of Policy's fields.
const (
	defaultMaxIdleTime  = 90 * time.Second
	defaultLivenessAge  = time.Second
	defaultUnacked      = 20 * time.Second
	defaultPingAfter    = 30 * time.Second
	defaultPingTimeout  = 15 * time.Second
	defaultMaxConnAge   = 10 * time.Minute
	defaultMaxIdleConns = 100
)

var defaultPolicy = Policy{
	MaxIdleTime:        defaultMaxIdleTime,
	Hint:               On,
	Learning:           On,
	Canary:             On,
	Evidence:           On,
	ElicitHint:         Off,
	LivenessCheckAfter: defaultLivenessAge,
	UnackedTimeout:     defaultUnacked,
	TCPKeepAlive:       defaultKeepAlive,
	PingAfter:          defaultPingAfter,
	PingTimeout:        defaultPingTimeout,
	BodyIdleTimeout:    -1,
	MaxConnAge:         defaultMaxConnAge,
	MaxRequestsPerConn: -1,
	MaxConns:           -1,
	MaxIdleConns:       defaultMaxIdleConns,
	MinIdleConns:       -1,
	DialRate:           -1,
	DialBurst:          -1,
	Retry:              defaultRetry,
	Breaker:            NoBreaker,
	Probe:              ProbePolicy{Every: -1},
}

// inherit fills p's zero fields from parent.
func (p Policy) inherit(parent Policy) Policy {
	fill(&p.ServerKeepAlive, parent.ServerKeepAlive)
	fill(&p.MaxIdleTime, parent.MaxIdleTime)
	fill(&p.IdleMargin, parent.IdleMargin)
	fill(&p.Hint, parent.Hint)
	fill(&p.Learning, parent.Learning)
	fill(&p.Canary, parent.Canary)
	fill(&p.Evidence, parent.Evidence)
	fill(&p.ElicitHint, parent.ElicitHint)
	fill(&p.LivenessCheckAfter, parent.LivenessCheckAfter)
	fill(&p.UnackedTimeout, parent.UnackedTimeout)
	p.TCPKeepAlive = inheritKeepAlive(p.TCPKeepAlive, parent.TCPKeepAlive)
	fill(&p.PingAfter, parent.PingAfter)
	fill(&p.PingTimeout, parent.PingTimeout)
	fill(&p.BodyIdleTimeout, parent.BodyIdleTimeout)
	fill(&p.MaxConnAge, parent.MaxConnAge)
	fill(&p.MaxRequestsPerConn, parent.MaxRequestsPerConn)
	fill(&p.MaxConns, parent.MaxConns)
	fill(&p.MaxIdleConns, parent.MaxIdleConns)
	fill(&p.MinIdleConns, parent.MinIdleConns)
	fill(&p.DialRate, parent.DialRate)
	fill(&p.DialBurst, parent.DialBurst)
	p.Retry = p.Retry.inherit(parent.Retry)
	fill(&p.Breaker, parent.Breaker)
	fill(&p.Group, parent.Group)
	p.Probe = p.Probe.inherit(parent.Probe)
	return p
}

func fill[T comparable](field *T, parent T) {
	var zero T
	if *field == zero {
		*field = parent
	}
}

// over reports whether n breaks the limit; a limit that is not positive is off.
func over[N int | time.Duration](n, limit N) bool { return limit > 0 && n > limit }

// durationFields lists the durations of a Policy by name, for validation.
func (p *Policy) durationFields() []durationField {
	return []durationField{
		{"ServerKeepAlive", p.ServerKeepAlive},
		{"MaxIdleTime", p.MaxIdleTime},
		{"IdleMargin", p.IdleMargin},
		{"LivenessCheckAfter", p.LivenessCheckAfter},
		{"UnackedTimeout", p.UnackedTimeout},
		{"TCPKeepAlive.Idle", p.TCPKeepAlive.Idle},
		{"TCPKeepAlive.Interval", p.TCPKeepAlive.Interval},
		{"PingAfter", p.PingAfter},
		{"PingTimeout", p.PingTimeout},
		{"BodyIdleTimeout", p.BodyIdleTimeout},
		{"MaxConnAge", p.MaxConnAge},
		{"Retry.WaitMin", p.Retry.WaitMin},
		{"Retry.WaitMax", p.Retry.WaitMax},
		{"Retry.PerTryTimeout", p.Retry.PerTryTimeout},
		{"Probe.Every", p.Probe.Every},
		{"Probe.Timeout", p.Probe.Timeout},
	}
}

type durationField struct {
	name  string
	value time.Duration
}

// missingUnit is the error for a duration that is too short to be meant.
func (f durationField) missingUnit(path string) error {
	if f.value <= 0 || f.value >= time.Millisecond {
		return nil
	}
	return fmt.Errorf("%s.%s: %v is under a millisecond; is the unit missing, as in %d * time.Second?", path, f.name, f.value, int64(f.value))
}

type toggleField struct {
	name  string
	value Toggle
}

// mistakesAlone reports what is wrong with p whatever it inherits. path names
// p in the messages.
func (p *Policy) mistakesAlone(path string) []error {
	var errs []error
	for _, f := range p.durationFields() {
		if err := f.missingUnit(path); err != nil {
			errs = append(errs, err)
		}
	}
	for _, f := range []toggleField{
		{"Hint", p.Hint}, {"Learning", p.Learning}, {"Canary", p.Canary}, {"Evidence", p.Evidence}, {"ElicitHint", p.ElicitHint},
		{"Retry.AutoIdempotencyKey", p.Retry.AutoIdempotencyKey}, {"Retry.NonIdempotent", p.Retry.NonIdempotent},
	} {
		if f.value < Inherit || f.value > Off {
			errs = append(errs, fmt.Errorf("%s.%s: %v is none of idlewise.Inherit, On and Off; use one of them", path, f.name, f.value))
		}
	}
	if math.IsNaN(p.DialRate) || math.IsInf(p.DialRate, 0) {
		errs = append(errs, fmt.Errorf("%s.DialRate: %v is no number of dials a second; use -1 for no limit", path, p.DialRate))
	}
	errs = append(errs, keepAliveMistakes(p.TCPKeepAlive, path)...)
	errs = append(errs, p.pingMistakes(path)...)
	errs = append(errs, p.Retry.mistakesAlone(path)...)
	errs = append(errs, p.Breaker.mistakes(path)...)
	return append(errs, p.Probe.mistakesAlone(path)...)
}

// contradictions reports what is wrong with p, a policy with everything
// inherited filled in.
func (p *Policy) contradictions(path string) []error {
	var errs []error
	if p.MaxConns > 0 && p.MinIdleConns > p.MaxConns {
		errs = append(errs, fmt.Errorf("%s.MinIdleConns: %d is more than MaxConns allows, %d; lower MinIdleConns or raise MaxConns", path, p.MinIdleConns, p.MaxConns))
	}
	if p.MaxIdleConns > 0 && p.MinIdleConns > p.MaxIdleConns {
		errs = append(errs, fmt.Errorf("%s.MinIdleConns: %d is more than MaxIdleConns allows, %d; lower MinIdleConns or raise MaxIdleConns", path, p.MinIdleConns, p.MaxIdleConns))
	}
	if p.DialBurst > 0 && p.DialRate <= 0 {
		errs = append(errs, fmt.Errorf("%s.DialBurst: %d is set without a DialRate, which it belongs to; set DialRate, too", path, p.DialBurst))
	}
	if p.ServerKeepAlive > 0 && p.IdleMargin >= p.ServerKeepAlive {
		errs = append(errs, fmt.Errorf("%s.IdleMargin: %v leaves nothing of ServerKeepAlive, %v, so that no connection would ever be reused; lower it, or set DisableKeepAlives on the Base if that is meant", path, p.IdleMargin, p.ServerKeepAlive))
	}
	errs = append(errs, p.Retry.contradictions(path)...)
	return append(errs, p.probeContradictions(path)...)
}
