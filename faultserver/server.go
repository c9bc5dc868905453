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

	set     settings
	ln      net.Listener
	t       TB // nil unless made by Start
	rules   *rules
	journal *Journal
	wg      sync.WaitGroup // every goroutine
	play    player
	control *http.Server // nil without Config.Control

	configured, runs ScenarioServer // by Config alone, and with its Scenario

	clientOnce sync.Once
	client     *http.Client

	mu         sync.Mutex // guards what follows; never held during I/O
	conns      map[*conn]struct{}
	lastConn   int64
	generation int
	closed     bool
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
// its field; nothing listens then.
func New(cfg Config) (*Server, error) {
	configured := settingsOf(&cfg)
	cfg.Scenario.configure(&cfg)
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	set, err := cfg.settings()
	if err != nil {
		return nil, err
	}
	ln := cfg.Listener
	if ln == nil {
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("faultserver: listen: %w", err)
		}
	}
	s := &Server{
		URL:        "http://" + ln.Addr().String(),
		set:        set,
		ln:         ln,
		rules:      newRules(cfg.Seed),
		journal:    &Journal{},
		conns:      make(map[*conn]struct{}),
		generation: 1,
		stop:       make(chan struct{}),
		configured: configured,
		runs:       settingsOf(&cfg),
	}
	if set.tls != nil {
		s.URL = "https://" + ln.Addr().String()
	}
	for _, f := range cfg.Faults {
		s.rules.add(f)
	}
	if cfg.Scenario != nil {
		if err := s.playInBackground(cfg.Scenario); err != nil { // it was validated, and fits its own settings
			ln.Close()
			return nil, fmt.Errorf("faultserver: %w", err)
		}
	}
	if cfg.Control != nil {
		s.serveControl(cfg.Control)
	}
	s.wg.Go(s.accept)
	return s, nil
}

// Addr returns the listener's address.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

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
// that Fault.Validate finds.
func (s *Server) InjectE(f Fault) (remove func(), err error) {
	if err := f.Validate(); err != nil {
		return func() {}, fmt.Errorf("faultserver: %w", err)
	}
	r := s.rules.add(f)
	if f.Kind.judgedWhenIdle() {
		for _, c := range s.snapshot() {
			c.rearmIdle()
		}
	}
	return func() { s.rules.remove(r) }, nil
}

func (s *Server) accept() {
	for {
		nc, err := s.ln.Accept()
		if err != nil {
			s.mu.Lock()
			closed := s.closed
			s.mu.Unlock()
			if closed || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of descriptors, or a connection gone before it was
			// accepted: both pass.
			select {
			case <-time.After(5 * time.Millisecond):
				continue
			case <-s.stop:
				return
			}
		}
		c := s.newConn(nc)
		if c == nil {
			nc.Close()
			return
		}
		s.play.connection(s)
		s.wg.Go(c.serve)
	}
}

// newConn enters a connection in the books, or returns nil after Close.
func (s *Server) newConn(nc net.Conn) *conn {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.lastConn++
	c := &conn{srv: s, raw: nc, nc: nc, id: s.lastConn, opened: now}
	c.unblocked = sync.NewCond(&c.mu)
	c.ctx, c.cancel = context.WithCancel(context.WithValue(context.Background(), http.LocalAddrContextKey, nc.LocalAddr()))
	c.row = s.journal.opened(ConnRecord{ID: c.id, Generation: s.generation, RemoteAddr: nc.RemoteAddr().String(), Opened: now})
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
