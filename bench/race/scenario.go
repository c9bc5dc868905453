package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/idlewise/idlewise/faultserver"
)

var methods = []string{"GET", "PUT", "DELETE", "POST"}

// A scenario is what happens to a server under requests.
type scenario struct {
	name  string
	title string
	http2 bool
	// serve configures the server of one peer; disturb runs beside the requests.
	serve   func(o *options) faultserver.Config
	disturb func(ctx context.Context, s *faultserver.Server)
	// pause is what a caller waits before a request.
	pause func(rng *rand.Rand, keepAlive time.Duration) time.Duration
	// alone gives each caller a client of its own: in a shared pool it would be
	// given the connection that another has just used, and none would get old.
	alone bool
}

// keepAlive is uvicorn's, 20 times as fast as in life.
const keepAlive = 250 * time.Millisecond

var scenarios = []scenario{
	{
		name: "idle", title: "Gaps around the server's keep-alive (uvicorn's, 20 times as fast)", alone: true,
		serve: func(*options) faultserver.Config {
			return faultserver.Config{Personality: "uvicorn", TimeScale: 20}
		},
		pause: func(rng *rand.Rand, t time.Duration) time.Duration {
			const spread = 5 * time.Millisecond
			return t - spread + time.Duration(rng.Int64N(int64(2*spread)))
		},
	},
	{
		name: "restart", title: "A graceful restart every 50 ms under load, HTTP/1",
		serve:   func(*options) faultserver.Config { return faultserver.Config{} },
		disturb: every(50*time.Millisecond, (*faultserver.Server).Restart),
		pause:   upTo(4 * time.Millisecond),
	},
	{
		name: "kill", title: "All connections reset every 50 ms under load, HTTP/1",
		serve:   func(*options) faultserver.Config { return faultserver.Config{} },
		disturb: every(50*time.Millisecond, (*faultserver.Server).Kill),
		pause:   upTo(4 * time.Millisecond),
	},
	{
		name: "goaway", title: "A graceful GOAWAY every 100 requests, HTTP/2", http2: true,
		serve: func(*options) faultserver.Config {
			return faultserver.Config{TLS: true, Faults: []faultserver.Fault{{Kind: faultserver.GoAway, NthOnConn: 100}}}
		},
		pause: upTo(4 * time.Millisecond),
	},
}

func every(d time.Duration, do func(*faultserver.Server)) func(context.Context, *faultserver.Server) {
	return func(ctx context.Context, s *faultserver.Server) {
		ticker := time.NewTicker(d)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				do(s)
			case <-ctx.Done():
				return
			}
		}
	}
}

func upTo(d time.Duration) func(*rand.Rand, time.Duration) time.Duration {
	return func(rng *rand.Rand, _ time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }
}

// A lane is a peer in a scenario: its server, its clients, and what they saw.
type lane struct {
	peer    peer
	server  *faultserver.Server
	clients []client
	dials   atomic.Int64

	mu     sync.Mutex
	errors map[string]int // by method
	took   []time.Duration
	sent   int
	causes map[string]int
}

func newLane(sc *scenario, p peer, o *options) (*lane, error) {
	l := &lane{peer: p, errors: make(map[string]int), causes: make(map[string]int)}
	var err error
	if l.server, err = faultserver.New(sc.serve(o)); err != nil {
		return nil, err
	}
	e := env{dials: &l.dials, keepAlive: keepAlive}
	if sc.name != "idle" {
		e.keepAlive = 0
	}
	if sc.http2 {
		e.tls = l.server.TLSClientConfig()
	}
	n := 1
	if sc.alone {
		n = o.callers
	}
	for range n {
		c, err := p.make(e)
		if err != nil {
			l.close()
			return nil, err
		}
		l.clients = append(l.clients, c)
	}
	return l, nil
}

func (l *lane) close() {
	for _, c := range l.clients {
		c.close()
	}
	l.server.Close()
}

// run lets all peers meet the scenario at the same time.
func (sc *scenario) run(ctx context.Context, o *options) ([]*lane, error) {
	var lanes []*lane
	defer func() {
		for _, l := range lanes {
			l.close()
		}
	}()
	for _, p := range peers {
		if sc.http2 && !p.http2 {
			continue
		}
		l, err := newLane(sc, p, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		lanes = append(lanes, l)
	}
	ctx, cancel := context.WithCancel(ctx)
	var callers, disturbers sync.WaitGroup
	for _, l := range lanes {
		if sc.disturb != nil {
			disturbers.Go(func() { sc.disturb(ctx, l.server) })
		}
		for i := range o.callers {
			callers.Go(func() { l.call(ctx, sc, i, o) })
		}
	}
	callers.Wait()
	cancel()
	disturbers.Wait()
	return lanes, nil
}

// call is one caller. Every peer's has the same luck.
func (l *lane) call(ctx context.Context, sc *scenario, caller int, o *options) {
	rng := rand.New(rand.NewPCG(o.seed, uint64(caller)))
	c := l.clients[caller%len(l.clients)]
	for i := range o.requests / o.callers {
		pause := sc.pause(rng, keepAlive)
		if i == 0 {
			pause = time.Duration(rng.Int64N(int64(keepAlive))) // so that not all do everything at the same time
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		method := methods[rng.IntN(len(methods))]
		began := time.Now()
		err := c.do(method, l.server.URL+"/item", fmt.Sprintf("%s %d/%d", method, caller, i))
		l.note(method, time.Since(began), err)
	}
}

func (l *lane) note(method string, took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	if err != nil {
		l.errors[method]++
		l.causes[cause(err)]++
		return
	}
	l.took = append(l.took, took)
}

// twice counts the requests of a method that were executed more than once.
func (l *lane) twice(method string) (n int) {
	for key, times := range l.server.Journal().Executions() {
		if times > 1 && len(key) > len(method) && key[:len(method)+1] == method+" " {
			n++
		}
	}
	return n
}
