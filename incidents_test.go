package idlewise_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// An incident is a scenario of the fault server re-enacted in virtual time:
// pods that play it behind one name, and clients that know nothing of it.
type incident struct {
	scenario string
	latency  time.Duration // one way
	policy   idlewise.Policy
	base     func(*http.Transport) // further settings, for both transports

	pods     int                                    // 0: 1
	life     func(pod int, s *faultserver.Scenario) // makes a pod's own of the scenario
	refusing []string                               // phases in which a pod accepts no connection
	handler  func(*ledger) http.Handler             // nil: the ledger itself
}

func TestEveryIncidentIsEmbeddedByName(t *testing.T) {
	require.Subset(t, faultserver.Scenarios(), []string{
		"uvicorn-five-seconds", "load-balancer-600s", "response-lost", "rolling-restart", "scale-down", "graceful-falcon",
		"no-graceful-stop", "node-autoscaling", "reconnect-storm", "daily-restart", "lb-30s-upgrade",
	})
}

// A play is one performance of an incident, with one transport.
type play struct {
	*testing.T
	incident
	withIdlewise bool
	closing      []func()

	rt     http.RoundTripper
	tr     *idlewise.Transport // rt, or nil: net/http's is at work
	net    *memnet.Network
	pods   []*pod
	ledger *ledger
	seed   uint64
	begin  time.Time
	turn   atomic.Int64 // whose turn it is to be dialed
	dials  atomic.Int64

	told incidentEvents // by p.tr

	mu       sync.Mutex // guards what follows while callers are at work
	calls    []call
	failedOn map[uint64]int // attempts by p.tr, by connection
}

// A pod is one of the servers behind the name.
type pod struct {
	*faultserver.Server
	address  string
	refusing []string
}

// A call is a request that was made, and what came of it.
type call struct {
	key        string
	method     string
	idempotent bool
	at, took   time.Duration // since the play began; until the body was read
	status     int           // 0: RoundTrip failed
	err        error         // also of reading the body
}

// url is of the one name behind which the pods are.
func (p *play) url(path string) string {
	scheme, _, _ := strings.Cut(p.pods[0].URL, ":")
	return scheme + "://api.internal:80" + path
}

// withBoth performs the incident twice, each time anew, and hands what came of
// it to the verdicts.
func (in incident) withBoth(t *testing.T, program func(*play), idle, nethttp func(*play)) {
	t.Helper()
	t.Run("idlewise", func(t *testing.T) { in.perform(t, true, program, idle) })
	t.Run("net-http", func(t *testing.T) { in.perform(t, false, program, nethttp) })
}

func (in incident) perform(t *testing.T, withIdlewise bool, program, verdict func(*play)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &play{T: t, incident: in, withIdlewise: withIdlewise, ledger: newLedger(), begin: time.Now(), failedOn: make(map[uint64]int)}
		p.net = memnet.New(memnet.Options{Latency: in.latency})
		p.startPods()
		p.rt = p.newTransport()
		func() {
			defer p.end() // also if the program gives up
			program(p)
		}()
		for _, c := range p.failures(always)[:min(20, len(p.failures(always)))] {
			t.Logf("at %v, after %v: %s: %v", c.at, c.took, c.key, c.err)
		}
		t.Logf("%d calls, %d failed, %d of them idempotent; %d dials", len(p.calls), len(p.failures(always)), len(p.failures(idempotent)), p.dials.Load())
		verdict(p)
		if p.tr != nil {
			p.booksBalance()
		}
	})
}

// newTransport makes a client of the kind that performs. The first one is p.tr.
func (p *play) newTransport() http.RoundTripper {
	base := &http.Transport{
		DialContext: p.dial, MaxIdleConnsPerHost: 10_000, IdleConnTimeout: 90 * time.Second,
		TLSClientConfig: p.pods[0].TLSClientConfig(),
	}
	if p.base != nil {
		p.base(base)
	}
	p.closing = append(p.closing, base.CloseIdleConnections)
	if !p.withIdlewise {
		return base
	}
	cfg := idlewise.Config{Base: base, MaxIdleConns: -1, Policies: idlewise.Policies{Default: p.policy}}
	if p.tr == nil {
		cfg.OnEvent = p.told.note
	}
	tr, err := idlewise.New(cfg)
	require.NoError(p, err)
	p.closing = append(p.closing, func() { tr.Close() })
	if p.tr == nil {
		p.tr = tr
	}
	return tr
}

func (p *play) startPods() {
	for k := range max(p.incident.pods, 1) {
		sc, err := faultserver.LoadScenario(p.scenario)
		require.NoError(p, err)
		if p.life != nil {
			p.life(k, sc)
		}
		p.seed = sc.Server.Seed
		address := fmt.Sprintf("10.0.0.%d:80", k+1)
		listener, err := p.net.Listen(address)
		require.NoError(p, err)
		var handler http.Handler = p.ledger
		if p.handler != nil {
			handler = p.handler(p.ledger)
		}
		s, err := faultserver.New(faultserver.Config{Scenario: sc, Listener: listener, Handler: handler})
		require.NoError(p, err)
		p.pods = append(p.pods, &pod{s, address, p.refusing})
	}
}

func (p *play) end() {
	for _, end := range p.closing {
		end()
	}
	for _, pod := range p.pods {
		pod.Close()
	}
	time.Sleep(2*p.latency + 2*time.Second)
	synctest.Wait()
}

func (pod *pod) refuses() bool { return slices.Contains(pod.refusing, pod.Phase().Phase) }

// dial is what resolving the name and connecting come to: the pods take turns,
// and as with net.Dialer the next address is tried where one refuses, or does
// not answer in its share of the time.
func (p *play) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	p.dials.Add(1)
	first := int(p.turn.Add(1))
	var last error
	for i := range p.pods {
		pod := p.pods[(first+i)%len(p.pods)]
		if pod.refuses() {
			time.Sleep(2 * p.latency)
			last = &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			continue
		}
		share, cancel := context.WithTimeout(ctx, time.Second)
		c, err := p.net.DialContext(share, network, pod.address)
		cancel()
		if err == nil || ctx.Err() != nil {
			return c, err
		}
		last = err
	}
	return nil, last
}

// A ledger is the service's database, one for all its pods: what was done how
// often. As a service that honours Idempotency-Key does, it does nothing twice
// for one key, and answers as it did the first time. It answers a while after
// the deed: in between a request has been executed, and its answer can be lost.
type ledger struct {
	mu   sync.Mutex
	done map[string]int
}

func newLedger() *ledger { return &ledger{done: make(map[string]int)} }

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	key, again := r.Header.Get("Idempotency-Key"), false
	l.mu.Lock()
	if key == "" {
		key = r.Header.Get("X-Fault-Key")
	} else {
		again = l.done[key] > 0
	}
	if !again {
		l.done[key]++
	}
	l.mu.Unlock()
	time.Sleep(5 * time.Millisecond)
	io.WriteString(w, key)
}

func (l *ledger) times(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done[key]
}

// callers runs a program several times at once, each with draws of its own.
func (p *play) callers(n int, program func(caller int, rng *rand.Rand)) {
	var wg sync.WaitGroup
	for caller := range n {
		wg.Go(func() { program(caller, rand.New(rand.NewPCG(p.seed, uint64(caller)))) })
	}
	wg.Wait()
}

// until runs a caller's calls with gaps between them until a time of the play.
func (p *play) until(end time.Duration, caller int, rng *rand.Rand, gap func() time.Duration) {
	for n := 0; ; n++ {
		time.Sleep(gap())
		if time.Since(p.begin) >= end {
			return
		}
		p.call(p.Context(), p.anyRequest(caller, n, rng))
	}
}

// anyRequest draws one of the kinds of requests a program makes.
func (p *play) anyRequest(caller, n int, rng *rand.Rand) *http.Request {
	kind := []string{"GET", "PUT", "DELETE", "POST", "keyed POST"}[rng.IntN(5)]
	return p.newRequest(kind, fmt.Sprintf("%s %d.%d", kind, caller, n))
}

// newRequest makes a request by which the journal and the ledger know it; that
// of a "keyed POST" is an Idempotency-Key, which transports see, too.
func (p *play) newRequest(kind, key string) *http.Request {
	method, header := kind, "X-Fault-Key"
	if kind == "keyed POST" {
		method, header = "POST", "Idempotency-Key"
	}
	var body io.Reader
	if method == "POST" || method == "PUT" {
		body = strings.NewReader(key)
	}
	req, err := http.NewRequest(method, p.url("/claims"), body)
	require.NoError(p, err)
	req.Header.Set(header, key)
	return req
}

// call makes a request, reads the response, and notes what came of it.
func (p *play) call(ctx context.Context, req *http.Request) call { return p.callBy(p.rt, ctx, req) }

func (p *play) callBy(rt http.RoundTripper, ctx context.Context, req *http.Request) call {
	keyed := req.Header.Get("Idempotency-Key")
	c := call{
		key: keyed + req.Header.Get("X-Fault-Key"), method: req.Method,
		idempotent: req.Method != "POST" || keyed != "", at: time.Since(p.begin),
	}
	if rt == http.RoundTripper(p.tr) {
		ctx = idlewise.WithTrace(ctx, &idlewise.Trace{AttemptDone: p.attemptDone})
	}
	var body []byte
	resp, err := rt.RoundTrip(req.WithContext(ctx))
	if c.err = err; err == nil {
		c.status = resp.StatusCode
		body, c.err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	c.took = time.Since(p.begin) - c.at
	if c.err == nil && (c.status != http.StatusOK || string(body) != c.key) {
		c.err = fmt.Errorf("%w: status %d, %q", errOthersAnswer, c.status, body)
	}
	p.mu.Lock()
	p.calls = append(p.calls, c)
	p.mu.Unlock()
	return c
}

func (p *play) attemptDone(a idlewise.Attempt) {
	if a.Err != nil {
		p.mu.Lock()
		p.failedOn[a.ConnID]++
		p.mu.Unlock()
	}
}

var errOthersAnswer = errors.New("not the request's own answer")

// around draws times of the span that is centered on a moment.
func around(rng *rand.Rand, moment, span time.Duration) time.Duration {
	return moment + time.Duration(rng.Int64N(int64(span))) - span/2
}
