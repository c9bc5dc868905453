package simulation

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// A world is a plan while it runs.
type world struct {
	ledger
	plan    Plan
	net     *memnet.Network
	servers []*server
	tr      *idlewise.Transport
	events  atomic.Int64

	calls    sync.Map // *callRecord by its id
	sockets  sync.Map // *socket by its local address
	bodies   bodies
	running  atomic.Int64 // calls of RoundTrip, Warm and the like
	stopping chan struct{}
	stopped  atomic.Pointer[time.Time] // when the Transport was ended
	mostUsed atomic.Int64              // how many servers were in use at a time, at most

	// At the end.
	struck map[string][]faultserver.Kind // by call
	lied   map[string]bool               // connections, by the Transport's address, whose server said what is not true

	mu       sync.Mutex
	policies []policyInForce
}

// A server is a fault server and what the Transport has to do with it.
type server struct {
	*faultserver.Server
	w    *world
	n    int
	addr string

	calls   atomic.Int64
	conns   atomic.Int64 // being dialed or open: one count, since a dial that ends must not count twice or never
	crossed atomic.Bool  // a forged response crossed a request

	mu    sync.Mutex
	extra []extraDial
	dials []dialRecord
	sent  int // calls that were meant for it
}

type dialRecord struct {
	at     time.Time
	failed bool
}

// patience is how long a run may take in real time. Where it takes longer, some
// goroutine waits for a lock that is held by one that waits for virtual time, or
// runs in a circle.
const patience = 2 * time.Minute

// Run runs a plan in a bubble of virtual time, and judges it. t is only what
// testing/synctest wants; no test fails.
func Run(t *testing.T, p Plan) (r Report) {
	w := &world{plan: p}
	stuck := time.AfterFunc(patience, func() { panic(fmt.Sprintf("simulation: virtual time stands still; %s", Command(p.Seed))) })
	defer stuck.Stop()
	defer func() {
		// Other panics are none of ours to hide.
		if err := recover(); err != nil {
			if text := fmt.Sprint(err); len(text) < 8 || text[:8] != "deadlock" {
				panic(err)
			}
			w.violate("P5", "goroutines are left for ever: %v", err)
		}
		r = w.report
	}()
	synctest.Test(t, func(*testing.T) { w.run() })
	return w.report
}

func (w *world) run() {
	w.began = time.Now()
	w.stopping = make(chan struct{})
	if err := w.start(); err != nil {
		w.violate("plan", "%v", err)
		w.closeServers()
		return
	}
	var clients, others sync.WaitGroup
	for i, c := range w.plan.Clients {
		clients.Go(func() { w.client(i, c) })
	}
	for i, a := range w.plan.Actions {
		others.Go(func() { w.act(i, a) })
	}
	others.Go(w.watch)
	w.end(&clients, &others)
	w.judge()
	w.count(func(r *Report) { r.Spent = time.Since(w.began) })
}

func (w *world) start() error {
	p := &w.plan
	sendBuffer := 0
	if p.Protocol != HTTP1 {
		// net/http's HTTP/2 and crypto/tls write while they hold locks that others
		// wait for, and virtual time stands still while anybody waits for a lock.
		sendBuffer = 64 << 20
	}
	w.net = memnet.New(memnet.Options{
		Latency: p.Network.Latency.std(), Jitter: p.Network.Jitter.std(), Loss: p.Network.Loss,
		DelayedAck: p.Network.DelayedAck.std(), Seed: p.Seed, SendBuffer: sendBuffer,
	})
	protocols := new(http.Protocols)
	switch p.Protocol {
	case H2C:
		protocols.SetUnencryptedHTTP2(true)
	case TLSH2:
		protocols.SetHTTP2(true)
	default:
		protocols.SetHTTP1(true)
	}
	for i, s := range p.Servers {
		if err := w.startServer(i, s, protocols); err != nil {
			return err
		}
	}
	// A handshake with a server that has vanished ends, elsewhere by the kernel's
	// keep-alive, which memnet has not got.
	base := &http.Transport{Protocols: protocols, DialContext: w.dial, TLSHandshakeTimeout: 10 * time.Second}
	if p.Protocol.tls() {
		base.TLSClientConfig = w.servers[0].TLSClientConfig()
		base.TLSClientConfig.CurvePreferences = []tls.CurveID{tls.X25519} // the cheapest
	}
	var err error
	w.tr, err = idlewise.New(idlewise.Config{
		Base: base, Policies: p.Policy.policies(), MaxUpstreams: p.Limits.Upstreams, MaxIdleConns: p.Limits.Idle,
		MaxCanaries: p.Limits.Canaries, MaxReplayBytes: p.Limits.ReplayBytes,
		OnEvent: func(idlewise.Event) { w.events.Add(1) },
	})
	w.policies = []policyInForce{{policy: p.Policy, from: w.began}}
	return err
}

func (w *world) startServer(n int, plan Server, protocols *http.Protocols) error {
	s := &server{w: w, n: n, addr: fmt.Sprintf("10.0.0.%d:80", n+1)}
	cfg := faultserver.Config{
		Handler: s, Seed: w.plan.Seed + uint64(n), Protocols: protocols, TLS: w.plan.Protocol.tls(),
		Listen:    func(string) (net.Listener, error) { return w.net.Listen(s.addr) },
		Addresses: []string{s.addr[:len(s.addr)-3]}, Port: 80,
		Personality: plan.Personality, IdleTimeout: plan.Idle.std(), KeepAlive: plan.KeepAlive,
		MaxRequestsPerConn: plan.Requests, MaxConcurrentStreams: plan.Streams,
	}
	for _, text := range plan.Faults {
		f, err := faultserver.ParseFault(text)
		if err != nil {
			return err
		}
		cfg.Faults = append(cfg.Faults, f)
	}
	var err error
	if s.Server, err = faultserver.New(cfg); err != nil {
		return fmt.Errorf("server %d: %w", n, err)
	}
	w.servers = append(w.servers, s)
	return nil
}

func (w *world) closeServers() {
	for _, s := range w.servers {
		s.Close()
	}
}

// server returns the nth; a plan that was cut down has fewer than it had.
func (w *world) server(n int) *server { return w.servers[n%len(w.servers)] }

// sleep waits, or returns false early since the Transport is being ended.
func (w *world) sleep(d time.Duration) bool {
	if d <= 0 {
		select {
		case <-w.stopping:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.stopping:
		return false
	}
}

func (w *world) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	s := w.serverAt(addr)
	n := s.conns.Add(1)
	w.noteUse(s, 0)
	w.checkLimit(s, int(n))
	at := time.Now()
	c, err := w.net.DialContext(ctx, network, addr)
	s.mu.Lock()
	s.dials = append(s.dials, dialRecord{at, err != nil && ctx.Err() == nil})
	s.mu.Unlock()
	if err != nil {
		s.conns.Add(-1)
		return nil, err
	}
	return w.newSocket(s, c.(*memnet.Conn), at), nil
}

func (w *world) serverAt(addr string) *server {
	for _, s := range w.servers {
		if s.addr == addr {
			return s
		}
	}
	panic("dialed where nobody is: " + addr)
}

// noteUse notes how many servers are in use, of which s is one, now by so many calls
// more.
func (w *world) noteUse(s *server, calls int64) {
	s.calls.Add(calls)
	n := int64(0)
	for _, s := range w.servers {
		if s.calls.Load() > 0 || s.conns.Load() > 0 {
			n++
		}
	}
	if calls > 0 && w.plan.Limits.Upstreams > 0 {
		n = max(n, w.held(s))
	}
	for most := w.mostUsed.Load(); n > most && !w.mostUsed.CompareAndSwap(most, n); most = w.mostUsed.Load() {
	}
}

// held is how many upstreams the Transport counts as in use, with s, which is about
// to be. It knows of one thing more than the world does: dials that wait for their
// turn, which hold a place.
func (w *world) held(s *server) int64 {
	n := int64(1)
	for _, u := range w.tr.Stats().Upstreams {
		if u.Name != s.URL && (u.Open > 0 || u.InFlight > 0) {
			n++
		}
	}
	return n
}
