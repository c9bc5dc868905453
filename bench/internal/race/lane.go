package race

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/bench/internal/clients"
	"github.com/idlewise/idlewise/faultserver"
)

// patience is how long a caller waits for an answer.
const patience = 10 * time.Second

// A Call is one request and what its caller saw.
type Call struct {
	Caller int
	Method string
	Gap    time.Duration // since the caller's request before ended; 0 for its first
	Took   time.Duration
	Dials  int // connections opened meanwhile; known only where callers are alone
	Err    error
}

// A Lane is a client in a scenario: its server and what its callers saw.
type Lane struct {
	Client string
	Calls  []Call // a caller's own are in order
	Conns  int

	server  *faultserver.Server
	clients []counted
	mu      sync.Mutex // guards Calls while the scenario runs
}

// A counted is a client and the number of connections it opened.
type counted struct {
	clients.Client
	dials *atomic.Int64
}

// Kinds are all that meet a scenario. idlewise is there twice where it can be
// told the server's keep-alive.
func (sc Scenario) Kinds() []clients.Kind {
	var kinds []clients.Kind
	for _, k := range clients.Peers {
		if k.HTTP2 || !sc.HTTP2 {
			kinds = append(kinds, k)
		}
	}
	if sc.KeepAlive == 0 {
		return append(kinds, clients.Idlewise("idlewise", idlewise.Policy{}))
	}
	return append(kinds,
		clients.Idlewise("idlewise, told", idlewise.Policy{ServerKeepAlive: sc.KeepAlive}),
		clients.Idlewise("idlewise, not told", idlewise.Policy{}))
}

// Run lets all clients meet the scenario at the same time, each against a server
// of its own, with the same requests at the same gaps.
func (sc Scenario) Run(ctx context.Context, o *Options) ([]*Lane, error) {
	sc = sc.at(o)
	n := o.Callers * sc.moreCallers
	each := max(1, o.Requests*sc.moreRequests/n)
	var lanes []*Lane
	defer func() {
		for _, l := range lanes {
			l.close()
		}
	}()
	for _, k := range sc.Kinds() {
		l, err := sc.newLane(k, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.Name, err)
		}
		lanes = append(lanes, l)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var callers, disturbers sync.WaitGroup
	for _, l := range lanes {
		if sc.disturb != nil {
			disturbers.Go(func() { sc.disturb(ctx, l.server) })
		}
		for i := range n {
			callers.Go(func() { l.call(ctx, &sc, i, each, o.Seed) })
		}
	}
	callers.Wait()
	err := ctx.Err()
	cancel()
	disturbers.Wait()
	for _, l := range lanes {
		for _, c := range l.clients {
			l.Conns += int(c.dials.Load())
		}
	}
	return lanes, err
}

func (sc Scenario) newLane(k clients.Kind, callers int) (*Lane, error) {
	l := &Lane{Client: k.Name}
	var err error
	if l.server, err = faultserver.New(sc.server); err != nil {
		return nil, err
	}
	n := 1
	if sc.Alone {
		n = callers
	}
	for range n {
		c, err := l.newClient(&sc, k)
		if err != nil {
			l.close()
			return nil, err
		}
		l.clients = append(l.clients, c)
	}
	return l, nil
}

func (l *Lane) newClient(sc *Scenario, k clients.Kind) (counted, error) {
	u, err := url.Parse(l.server.URL)
	if err != nil {
		return counted{}, err
	}
	dials := new(atomic.Int64)
	e := clients.Env{Address: u.Host, Dials: dials, Timeout: patience}
	if sc.HTTP2 {
		e.TLS = l.server.TLSClientConfig()
	}
	c, err := k.Make(e)
	return counted{c, dials}, err
}

func (l *Lane) close() {
	for _, c := range l.clients {
		c.Close()
	}
	l.server.Close()
}

// call is one caller. Every lane's has the same luck.
func (l *Lane) call(ctx context.Context, sc *Scenario, caller, requests int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, uint64(caller)))
	c := l.clients[caller%len(l.clients)]
	var into bytes.Buffer
	var ended time.Time
	for i := range requests {
		pause := sc.pause(rng, sc.KeepAlive)
		if i == 0 {
			// So that not all do everything at the same time.
			pause = time.Duration(rng.Int64N(int64(max(sc.KeepAlive, 250*time.Millisecond))))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		call := Call{Caller: caller, Method: Methods[rng.IntN(len(Methods))]}
		r := &clients.Request{
			Method: call.Method, URL: l.server.URL + "/item",
			Key: fmt.Sprintf("%s %d/%d", call.Method, caller, i),
		}
		if call.Method == "POST" || call.Method == "PUT" {
			r.Body = []byte("{}")
		}
		before, began := c.dials.Load(), time.Now()
		if i > 0 {
			call.Gap = began.Sub(ended)
		}
		call.Err = c.Do(r, &into)
		ended = time.Now()
		call.Took = ended.Sub(began)
		if sc.Alone {
			call.Dials = int(c.dials.Load() - before)
		}
		l.mu.Lock()
		l.Calls = append(l.Calls, call)
		l.mu.Unlock()
	}
}

// Twice counts the requests of a method that the server executed more than once.
func (l *Lane) Twice(method string) (n int) {
	for key, times := range l.server.Journal().Executions() {
		if times > 1 && strings.HasPrefix(key, method+" ") {
			n++
		}
	}
	return n
}
