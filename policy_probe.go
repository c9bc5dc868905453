package idlewise

import (
	"fmt"
	"net/url"
	"time"
)

// A ProbePolicy says whether and how the server's idle timeout is measured in
// the background: by opening three connections beside the pool, sending one
// request on each, and watching when the server closes them. What is measured
// is learned, as if it had been seen on the pool's own connections, but before
// a request has met a closed one: for upstreams whose requests must not fail
// and cannot be repeated, or are too few to learn from.
//
// The first probe begins with the first request to the upstream. Others follow
// at intervals, each with a request, so that an upstream that is not used is
// not probed. There is one at a time per upstream, and four in the whole
// Transport; others wait their turn. One that is under way when the upstream
// has not been used for MaxIdleTime (or 90 s, where that is off) ends, as it
// does with CloseIdleConnections, Shutdown and Close. Requests never wait for a
// probe, nor do they get its errors: Transport.Explain tells those, and Stats
// counts them.
//
// The connections are not in the pool and carry no other requests. They count
// against MaxConns: there must be room for two at least, and a request that
// needs the room ends the probe.
//
// There are no probes where Learning is Off, where the Base has
// DisableKeepAlives, and for WebSockets, whose connections are not reused.
// Where ServerKeepAlive is set, Explain shows both what is configured and what
// was measured.
//
// As in Policy, a field that is zero is inherited by itself, so that an
// upstream can have a Path of its own and everything else from
// Policies.Default.
type ProbePolicy struct {
	// Every is the time from one probe to the next, varied by ±10 %. It must
	// be at least five times Timeout. A tenth of it must pass after a probe
	// that measured nothing, or was ended early. A server's timeout changes
	// with its configuration only: some hours are often enough. Negative: off.
	//
	// Default: off.
	Every time.Duration

	// Timeout is how long a probe may take. A server's timeout that is longer
	// is not measured; it is only known to be longer. At most 24 h.
	//
	// Default: 30 s or 5 % more than MaxIdleTime, whichever is longer, since
	// no connection is kept beyond that; 2 min where MaxIdleTime is off.
	Timeout time.Duration

	// Method is the method of the probe's requests: GET, HEAD, OPTIONS or
	// TRACE, as they are repeated and nobody asked for them.
	//
	// Default: HEAD, or GET where the server answers HEAD with 405 or 501.
	Method string

	// Path is the path of the probe's requests, perhaps with a query. One that
	// costs the server little, such as that of a health check, is best. The
	// status of the response does not matter.
	//
	// Default: /
	Path string
}

const (
	// A probe runs for a fifth of the time at most.
	probeShare = 5

	// The automatic timeout exceeds MaxIdleTime by this, or by a twentieth:
	// more than the margin of a deadline just above MaxIdleTime, the
	// connections' different beginnings and their first responses.
	probeBeyond = 30 * time.Second
)

func (p ProbePolicy) inherit(parent ProbePolicy) ProbePolicy {
	fill(&p.Every, parent.Every)
	fill(&p.Timeout, parent.Timeout)
	fill(&p.Method, parent.Method)
	fill(&p.Path, parent.Path)
	return p
}

// probeTimeout is how long a background probe may take.
func (p *Policy) probeTimeout() time.Duration {
	switch {
	case p.Probe.Timeout > 0:
		return p.Probe.Timeout
	case p.MaxIdleTime > 0:
		return min(p.MaxIdleTime+max(probeBeyond, p.MaxIdleTime/20), maxProbeTimeout)
	}
	return defaultProbeTimeout
}

// mistakesAlone reports what is wrong with p whatever it inherits.
func (p ProbePolicy) mistakesAlone(path string) []error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf(path+".Probe."+field+": "+format, args...))
	}
	switch {
	case p.Timeout < 0:
		wrong("Timeout", "%v is negative; a probe has to end, give a positive time, or 0 for the default", p.Timeout)
	case p.Timeout > maxProbeTimeout:
		wrong("Timeout", "%v is more than a day; a probe has to end, give at most %v", p.Timeout, maxProbeTimeout)
	}
	if !isSafe(p.Method) {
		wrong("Method", "%q may have effects, and nobody asked for the probe's requests; use GET, HEAD, OPTIONS or TRACE", p.Method)
	}
	if _, err := p.target(); err != nil {
		wrong("Path", "%q is none; give one such as /health", p.Path)
	}
	return errs
}

// contradictions reports what is wrong with p's Probe, with everything
// inherited filled in.
func (p *Policy) probeContradictions(path string) []error {
	least := probeShare * p.probeTimeout()
	if p.Probe.Every <= 0 || p.Probe.Every >= least || p.Probe.Timeout < 0 {
		return nil
	}
	return []error{fmt.Errorf("%s.Probe.Every: %v is too short for probes that may take %v; raise it to at least %v, or lower Probe.Timeout", path, p.Probe.Every, p.probeTimeout(), least)}
}

// target is the path and query of p's requests.
func (p ProbePolicy) target() (*url.URL, error) {
	path := p.Path
	fill(&path, "/")
	if path[0] != '/' {
		return nil, fmt.Errorf("%q does not begin with /", path)
	}
	u, err := url.ParseRequestURI(path)
	if err == nil && (u.Host != "" || u.User != nil) {
		err = fmt.Errorf("%q names a host", path)
	}
	return u, err
}

// options are those of a background probe on conns connections.
func (p *Policy) probeOptions(conns int) ProbeOptions {
	return ProbeOptions{
		Method: p.Probe.Method, ElicitHint: p.ElicitHint == On,
		Connections: conns, Timeout: p.probeTimeout(),
	}.withDefaults()
}

// probeURL is what a background probe of u asks for.
func (u *upstream) probeURL() (*url.URL, error) {
	target, err := u.policy().Probe.target()
	if err != nil {
		return nil, err
	}
	target.Scheme, target.Host = u.key.scheme, u.host
	return target, nil
}
