package idlewise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// A world is a server and a Transport in virtual time, joined by a network in
// memory.
type world struct {
	*testing.T
	net    *memnet.Network
	server *faultserver.Server
	tr     *Transport
	gate   *gate
	dials  atomic.Int64
	open   atomic.Int64 // sockets that the Transport holds
	most   atomic.Int64 // the highest that open ever was
	refuse atomic.Int64 // so many dials are refused
	books  bool
}

var errRefused = errors.New("refused by the test")

const worldAddr = "10.0.0.1:80"

type worldConfig struct {
	latency time.Duration
	server  faultserver.Config
	client  Config
	gated   bool // the handler is the world's gate
	books   bool // idlewise can see what the network's kernels know
	base    func(*http.Transport)
}

// A gate is a handler that answers when it is told to.
type gate struct {
	arrived chan struct{}
	open    chan struct{}
}

// newGate must be called in the bubble: waiting on a channel from outside is
// not what virtual time waits for.
func newGate() *gate { return &gate{make(chan struct{}, 1000), make(chan struct{}, 1000)} }

func (g *gate) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	g.arrived <- struct{}{}
	select {
	case <-g.open:
	case <-r.Context().Done():
	}
}

// inWorld runs f in a bubble of virtual time.
func inWorld(t *testing.T, cfg worldConfig, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, net: memnet.New(memnet.Options{Latency: cfg.latency}), books: cfg.books}
		listener, err := w.net.Listen(worldAddr)
		require.NoError(t, err)
		cfg.server.Listener = listener
		cfg.server.DialContext = w.net.DialContext
		if cfg.gated {
			w.gate = newGate()
			cfg.server.Handler = w.gate
		}
		w.server, err = faultserver.New(cfg.server)
		require.NoError(t, err)
		base := &http.Transport{DialContext: w.dial}
		if cfg.base != nil {
			cfg.base(base)
		}
		if cfg.server.TLS {
			base.TLSClientConfig = w.server.TLSClientConfig()
			base.ForceAttemptHTTP2 = true
		}
		cfg.client.Base = base
		w.tr, err = New(cfg.client)
		require.NoError(t, err)

		func() {
			defer w.end(cfg.latency) // also if f gives up
			f(t, w)
		}()
		require.Zero(t, w.open.Load(), "sockets left open")
		for _, u := range w.tr.Stats().Upstreams {
			require.Zero(t, u.Open, "connections counted as open after Close")
		}
	})
}

func (w *world) end(latency time.Duration) {
	w.tr.Close()
	w.server.Close()
	time.Sleep(2*latency + time.Second)
	synctest.Wait()
}

func (w *world) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if w.refuse.Add(-1) >= 0 {
		return nil, errRefused
	}
	w.dials.Add(1)
	n := w.open.Add(1)
	for {
		most := w.most.Load()
		if n <= most || w.most.CompareAndSwap(most, n) {
			break
		}
	}
	c, err := w.net.DialContext(ctx, network, addr)
	if err != nil {
		w.open.Add(-1)
		return nil, err
	}
	counted := &countedConn{Conn: c, open: &w.open}
	if w.books {
		return &accountedConn{c.(*memnet.Conn), counted}, nil
	}
	return counted, nil
}

// An accountedConn is a countedConn that can be asked for its books.
type accountedConn struct {
	*memnet.Conn
	counted *countedConn
}

func (c *accountedConn) Close() error { return c.counted.Close() }

// A countedConn counts itself out when it is closed.
type countedConn struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		defer c.open.Add(-1)
	}
	return c.Conn.Close()
}

func (w *world) url(path string) string { return w.server.URL + path }

// do sends a request and reads the whole response.
func (w *world) do(ctx context.Context, method, path, body string) (string, error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, w.url(path), r)
	require.NoError(w, err)
	return w.send(req)
}

func (w *world) send(req *http.Request) (string, error) {
	resp, err := w.tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func (w *world) mustDo(method, path, body string) string {
	w.Helper()
	s, err := w.do(context.Background(), method, path, body)
	require.NoError(w, err)
	synctest.Wait()
	return s
}

// only returns the counters of the one upstream there is.
func (w *world) only() UpstreamStats {
	s := w.tr.Stats()
	require.Len(w, s.Upstreams, 1)
	return s.Upstreams[0]
}

func (w *world) closed(reason CloseReason) int {
	synctest.Wait()
	return int(w.only().Closed[reason])
}

// executions sums how often the handler ran.
func (w *world) executions() int {
	n := 0
	for _, e := range w.server.Journal().Executions() {
		n += e
	}
	return n
}

func keyed(req *http.Request, n int) *http.Request {
	req.Header.Set("X-Fault-Key", fmt.Sprintf("%s-%d", req.Method, n))
	return req
}
