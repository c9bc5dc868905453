package faultserver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// TB is the part of testing.TB that the server needs, so that programs do not
// import package testing.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Server is a running server. All its methods may be called from any goroutine.
type Server struct {
	// URL is the server's base, http://127.0.0.1:port or https://….
	URL string
	// ControlURL is the control endpoint's base; "" without Config.Control.
	ControlURL string

	set       settings
	endpoints []*endpoint // never empty, never changed
	t         TB          // nil unless made by Start
	rules     *rules
	journal   *Journal
	names     names
	gate      gate // closed while the server is paused
	pauses    pauses
	outage    outage
	leftovers leftovers
	shaping   sync.Mutex     // held while shaping faults meet connections
	wg        sync.WaitGroup // every goroutine
	play      player
	control   *http.Server    // nil without Config.Control
	base      context.Context // of every request; never reassigned

	configured, runs ScenarioServer // by Config alone, and with its Scenario

	clientOnce sync.Once
	client     *http.Client

	mu         sync.Mutex // guards what follows; never held during I/O
	conns      map[*conn]struct{}
	lastConn   int64
	generation int
	closed     bool
	down       bool          // what is accepted is dropped
	stop       chan struct{} // closed by Close
}

// Start starts a server for a test and closes it when the test ends. A mistake
// in the configuration ends the test.
func Start(t TB, cfg Config) *Server {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	s.t = t
	t.Cleanup(func() { s.Close() })
	return s
}

// New starts a server. Its error names every mistake in the configuration by
// its field; nothing listens then: Config.Listener and Config.Control are closed.
func New(cfg Config) (*Server, error) {
	s, err := newServer(cfg)
	if err == nil {
		return s, nil
	}
	for _, ln := range []net.Listener{cfg.Listener, cfg.Control} {
		if ln != nil {
			ln.Close()
		}
	}
	return nil, err
}

func newServer(cfg Config) (*Server, error) {
	configured := settingsOf(&cfg)
	cfg.Scenario.configure(&cfg)
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	set, err := cfg.settings()
	if err != nil {
		return nil, err
	}
	endpoints, err := openEndpoints(&cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{
		URL:        "http://" + endpoints[0].addr.String(),
		set:        set,
		endpoints:  endpoints,
		rules:      newRules(cfg.Seed),
		journal:    &Journal{},
		conns:      make(map[*conn]struct{}),
		generation: 1,
		stop:       make(chan struct{}),
		configured: configured,
		runs:       settingsOf(&cfg),
	}
	s.pauses.gate = &s.gate
	// httputil.ReverseProxy cuts a broken response off, by a panic, only if it
	// finds this key, and else lets it look complete. Others call the server's
	// methods; this one serves nothing.
	s.base = context.WithValue(context.Background(), http.ServerContextKey, &http.Server{Handler: set.handler})
	if set.tls != nil {
		s.URL = "https://" + endpoints[0].addr.String()
	}
	err = s.SetNames(cfg.Names)
	for i, f := range cfg.Faults {
		if _, injectErr := s.inject(f); injectErr != nil {
			err = errors.Join(err, fmt.Errorf("faultserver: Config.Faults[%d]: %w", i, injectErr))
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	if cfg.Scenario != nil {
		if err := s.playInBackground(cfg.Scenario); err != nil {
			s.Close()
			return nil, fmt.Errorf("faultserver: %w", err)
		}
	}
	if cfg.Control != nil {
		s.serveControl(cfg.Control)
	}
	for _, e := range endpoints {
		s.wg.Go(func() { s.accept(e) })
	}
	return s, nil
}

// Addr returns the address the server listens on, of several the first.
func (s *Server) Addr() net.Addr { return s.endpoints[0].addr }

// Addrs returns every address the server listens on, in the order of
// Config.Addresses. They have one port.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.endpoints))
	for i, e := range s.endpoints {
		addrs[i] = e.addr
	}
	return addrs
}

// Journal returns the server's journal, always the same.
func (s *Server) Journal() *Journal { return s.journal }

// TLSClientConfig returns a new configuration that trusts the server's
// certificate under any address. Without TLS it is nil. If the server's own
// configuration chooses certificates by function, it verifies nothing.
func (s *Server) TLSClientConfig() *tls.Config {
	if s.set.tls == nil {
		return nil
	}
	return clientTLS(s.set.tls)
}

// Client returns a net/http client with a transport of its own that trusts the
// certificate and speaks the protocols served. It is always the same
// client; Close closes its idle connections.
func (s *Server) Client() *http.Client {
	s.clientOnce.Do(func() {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(s.set.http1)
		if s.set.tls != nil {
			protocols.SetHTTP2(s.set.http2)
		} else {
			// net/http uses HTTP/1 if both are allowed: it cannot know.
			protocols.SetUnencryptedHTTP2(s.set.http2)
		}
		s.client = &http.Client{Transport: &http.Transport{
			TLSClientConfig: s.TLSClientConfig(), Protocols: protocols, DialContext: s.set.dial,
		}}
	})
	return s.client
}

// Inject puts a fault in force, on existing connections too, and returns a
// function that takes it out again; that function may be called repeatedly. A
// mistake in the fault ends the test if the server was made by Start, and
// panics else; see InjectE.
func (s *Server) Inject(f Fault) (remove func()) {
	remove, err := s.InjectE(f)
	switch {
	case err == nil:
	case s.t != nil:
		s.t.Helper()
		s.t.Fatalf("%v", err)
	default:
		panic(err)
	}
	return remove
}

// InjectE is Inject for faults that come from outside: it returns the mistakes
// that Fault.Validate finds, and refuses what can never strike on this server
// (kinds of TLS on one without, kinds of a protocol that it does not speak) and
// what its listener or the kernel cannot do, saying what is missing. Nothing is in force then.
func (s *Server) InjectE(f Fault) (remove func(), err error) {
	remove, err = s.inject(f)
	if err != nil {
		return func() {}, fmt.Errorf("faultserver: %w", err)
	}
	return remove, nil
}

func (s *Server) inject(f Fault) (remove func(), err error) {
	added, err := s.swapFaults(nil, []Fault{f})
	if err != nil {
		return nil, err
	}
	return func() { s.endFaults(added) }, nil
}

func (s *Server) accept(e *endpoint) {
	for {
		nc, err := e.accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// Out of descriptors, or a connection gone before it was
			// accepted: both pass.
			if !sleep(5*time.Millisecond, s.stop) {
				return
			}
			continue
		}
		c := s.newConn(nc)
		if c == nil {
			nc.Close()
			continue
		}
		if c.acceptFaults() {
			s.wg.Go(c.serve)
		}
	}
}

// newConn enters a connection in the books, or returns nil while the server is
// down and after Close.
func (s *Server) newConn(nc net.Conn) *conn {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.down {
		return nil
	}
	s.lastConn++
	sock := newSocket(nc, s)
	c := &conn{srv: s, raw: sock, nc: sock, id: s.lastConn, opened: now}
	c.unblocked = sync.NewCond(&c.mu)
	c.ctx, c.cancel = context.WithCancel(context.WithValue(s.base, http.LocalAddrContextKey, nc.LocalAddr()))
	c.row = s.journal.opened(ConnRecord{ID: c.id, Generation: s.generation, RemoteAddr: nc.RemoteAddr().String(), LocalAddr: nc.LocalAddr().String(), Opened: now})
	s.conns[c] = struct{}{}
	return c
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

func (s *Server) snapshot() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connsLocked()
}

// connsLocked returns the open connections in the order of acceptance, so that
// runs in virtual time repeat.
func (s *Server) connsLocked() []*conn {
	return slices.SortedFunc(maps.Keys(s.conns), func(a, b *conn) int { return cmp.Compare(a.id, b.id) })
}
