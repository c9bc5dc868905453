package faultserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Config describes a server. Its zero value is a plain HTTP/1.1 server on a
// free port of 127.0.0.1 that echoes and never misbehaves.
type Config struct {
	// Handler answers the requests that faults let through. nil: [Echo].
	//
	// It may be called from many goroutines. When the connection or, on
	// HTTP/2, the stream ends, the request's context is canceled; the handler
	// must then return, Close waits for it. On HTTP/1 a client that goes away
	// is noticed only when the server next reads or writes.
	Handler http.Handler
	// Listener accepts the connections; the server closes it in Close. A
	// connection with a method Abort() error is reset with it. nil: a free TCP
	// port of 127.0.0.1.
	Listener net.Listener
	// Listen makes the listener for an address, and makes it again on the same
	// address after an outage that closed it (RefuseConnections, Server.Stop,
	// Server.Crash). It excludes Listener. nil: net.Listen for TCP.
	Listen func(address string) (net.Listener, error)
	// Addresses are the IP addresses to listen on, all on one port; Server.URL
	// has the first. On Linux all of 127.0.0.0/8 is there. It excludes Listener.
	// nil: 127.0.0.1.
	Addresses []string
	// Port is the TCP port of all Addresses. It excludes Listener. 0: a free one.
	Port int
	// Names are what the names stand for that Server.Resolver resolves, see
	// Server.SetNames. nil: every name stands for all the server's addresses.
	Names map[string][]string

	// DialContext is how the client of Server.Client reaches the Listener, for
	// one that package net cannot dial. nil: the net/http default.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// Personality gives the timeouts, the Keep-Alive header, the number of
	// requests per connection, the way of closing and of shutting down of a
	// well-known server, see [Personalities] and [DescribePersonality]. "": no
	// timeouts, no limits, graceful.
	Personality string
	// TimeScale is how many times faster than in life the personality's times
	// pass: with 100 an idle timeout of 5 s is 50 ms. An announced timeout is
	// scaled too, and omitted if it falls below a second. It does not apply to
	// IdleTimeout and to faults. 0: 1.
	TimeScale float64
	// IdleTimeout is how long a connection may be idle before the server
	// closes it. HTTP/1: from the last byte of a response to the first byte of
	// the next request; a connection without a request yet is not idle.
	// HTTP/2: while no stream is open. Negative: no limit. 0: the
	// personality's.
	IdleTimeout time.Duration
	// KeepAlive is sent as the Keep-Alive header of every HTTP/1 response that
	// keeps the connection. "": the personality's.
	KeepAlive string
	// MaxRequestsPerConn is after how many requests the server ends a
	// connection, announcing it. Negative: no limit. 0: the personality's.
	MaxRequestsPerConn int

	// TLS serves TLS.
	TLS bool
	// TLSConfig is used for it, and needs a certificate. Its NextProtos, if
	// empty, follow from Protocols. nil: a certificate made in memory for
	// localhost, 127.0.0.1 and ::1.
	TLSConfig *tls.Config
	// Protocols are the protocols served. UnencryptedHTTP2 is HTTP/2 by prior
	// knowledge without TLS. nil: HTTP/1.1, and under TLS also HTTP/2.
	Protocols *http.Protocols
	// MaxConcurrentStreams is how many streams an HTTP/2 client may have open;
	// more are refused with REFUSED_STREAM. 0: 250.
	MaxConcurrentStreams uint32

	// Faults are in force from the start, in the order given; more come with
	// Server.Inject.
	Faults []Fault
	// Seed feeds the draws of Fault.Probability and Fault.Jitter. Equal seeds
	// give equal draws; which request gets which depends on their order.
	Seed uint64

	// Control serves the control endpoint, see Server.ControlHandler, on this
	// listener, which must be on a loopback address; the server closes it in
	// Close. nil: none.
	Control net.Listener
	// ControlRemote lets the control endpoint be reached from other machines
	// and under any Host header. Whoever reaches it can do to the server
	// whatever a test can.
	ControlRemote bool

	// HeaderFaults lets requests carry faults for themselves in the header
	// [FaultHeader]. Off: the header is passed on to the handler.
	HeaderFaults bool

	// Scenario is played from the start: its server settings fill the fields
	// that are zero here, and its first phase is in force before the first
	// connection. Server.Phase tells where it is. nil: none.
	Scenario *Scenario
}

const defaultMaxStreams = 250

// validate reports every mistake by its field's name.
func (cfg *Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("faultserver: "+format, args...)) }

	if _, err := personalityByName(cfg.Personality); err != nil {
		bad("Config.Personality: %w", err)
	}
	if cfg.TimeScale < 0 || math.IsNaN(cfg.TimeScale) || math.IsInf(cfg.TimeScale, 0) {
		bad("Config.TimeScale: %v is not a factor above 0", cfg.TimeScale)
	}
	if strings.ContainsAny(cfg.KeepAlive, "\r\n") {
		bad("Config.KeepAlive: %q: a header's value has no line breaks", cfg.KeepAlive)
	}
	if cfg.TLSConfig != nil {
		if !cfg.TLS {
			bad("Config.TLSConfig: set, but TLS is false")
		}
		t := cfg.TLSConfig
		if len(t.Certificates) == 0 && t.GetCertificate == nil && t.GetConfigForClient == nil {
			bad("Config.TLSConfig: has no certificate")
		}
	}
	if p := cfg.Protocols; p != nil {
		switch {
		case !p.HTTP1() && !p.HTTP2() && !p.UnencryptedHTTP2():
			bad("Config.Protocols: is empty")
		case cfg.TLS && p.UnencryptedHTTP2():
			bad("Config.Protocols: UnencryptedHTTP2 is set, but TLS is true")
		case !cfg.TLS && p.HTTP2():
			bad("Config.Protocols: HTTP2 needs TLS; without it, set UnencryptedHTTP2")
		}
	}
	if cfg.Listener != nil && cfg.Listen != nil {
		bad("Config.Listen: set, but Listener is too")
	}
	if cfg.Listener != nil && len(cfg.Addresses) > 0 {
		bad("Config.Addresses: set, but Listener is too")
	}
	if cfg.Port != 0 && cfg.Listener != nil {
		bad("Config.Port: set, but Listener is too")
	}
	if cfg.Port < 0 || cfg.Port > 65535 {
		bad("Config.Port: %d is not a port", cfg.Port)
	}
	for i, a := range cfg.Addresses {
		if net.ParseIP(a) == nil || slices.Contains(cfg.Addresses[:i], a) {
			bad("Config.Addresses[%d]: %q is not an IP address (without port), or there twice", i, a)
		}
	}
	if _, err := parseNames(cfg.Names); err != nil {
		bad("Config.Names: %w", err)
	}
	for i, f := range cfg.Faults {
		err := f.Validate()
		if err == nil {
			err = cfg.reach().supports(f)
		}
		if err != nil {
			bad("Config.Faults[%d]: %w", i, err)
		}
	}
	if cfg.Control != nil {
		if err := controlListener(cfg.Control, cfg.ControlRemote); err != nil {
			bad("Config.Control: %w", err)
		}
	}
	if cfg.Scenario != nil {
		err := cfg.Scenario.Validate()
		if err == nil {
			if err = cfg.Scenario.unsupported(cfg.reach().supports); err != nil {
				err = fmt.Errorf("scenario %s: %w", cfg.Scenario.Name, err)
			}
		}
		if err != nil {
			bad("Config.Scenario: %w", err)
		}
	}
	return errors.Join(errs...)
}

// settings are the configuration with every default filled in. They never
// change while the server runs.
type settings struct {
	handler    http.Handler
	character  personality
	keepAlive  string // overrides the character's announcement
	maxStreams uint32
	http1      bool
	http2      bool // by ALPN or by prior knowledge
	tls        *tls.Config
	reach      reach
	dial       func(ctx context.Context, network, address string) (net.Conn, error)

	headerFaults  bool
	controlRemote bool
}

func (cfg *Config) settings() (settings, error) {
	p, err := personalityByName(cfg.Personality)
	if err != nil {
		return settings{}, err
	}
	if cfg.TimeScale > 0 {
		p = p.scaled(cfg.TimeScale)
	}
	switch {
	case cfg.IdleTimeout > 0:
		p.idle, p.idle2, p.late = cfg.IdleTimeout, 0, 0
	case cfg.IdleTimeout < 0:
		p.idle, p.idle2 = 0, 0
	}
	switch {
	case cfg.MaxRequestsPerConn > 0:
		p.requests = cfg.MaxRequestsPerConn
	case cfg.MaxRequestsPerConn < 0:
		p.requests = 0
	}
	set := settings{
		handler: cfg.Handler, character: p, keepAlive: cfg.KeepAlive,
		maxStreams: cfg.MaxConcurrentStreams, http1: true, http2: cfg.TLS, dial: cfg.DialContext,
	}
	set.reach = cfg.reach()
	set.headerFaults, set.controlRemote = cfg.HeaderFaults, cfg.ControlRemote
	if set.handler == nil {
		set.handler = Echo
	}
	if set.maxStreams == 0 {
		set.maxStreams = defaultMaxStreams
	}
	if cfg.Protocols != nil {
		set.http1 = cfg.Protocols.HTTP1()
		set.http2 = cfg.Protocols.HTTP2() || cfg.Protocols.UnencryptedHTTP2()
	}
	if cfg.TLS {
		set.tls, err = serverTLS(cfg.TLSConfig, set.http1, set.http2)
	}
	return set, err
}
