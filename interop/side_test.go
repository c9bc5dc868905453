package interop

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

// patience is how long a test waits for what is bound to happen.
const patience = 20 * time.Second

// A proto is a way to speak HTTP.
type proto string

const (
	http1 proto = "HTTP/1"
	https proto = "HTTP/1 over TLS"
	http2 proto = "HTTP/2"
	h2c   proto = "h2c"
)

// A side is one of the two transports under test, and how it is called.
type side struct {
	*testing.T
	proto proto
	ours  bool

	base    *http.Transport // may be changed until the first request
	raw     bool            // call RoundTrip, not an http.Client
	timeout time.Duration   // of the client
	handler http.Handler    // of start, where that is given nil
	made    http.RoundTripper
}

// bothSides runs f over http.Transport, the reference, and over idlewise, and
// sees each time that nothing is left running.
func bothSides(t *testing.T, p proto, f func(s *side)) {
	for _, name := range []string{"net-http", "idlewise"} {
		t.Run(name, func(t *testing.T) { f(newSide(t, p, name == "idlewise")) })
	}
}

// overProtos is bothSides over each of the protocols.
func overProtos(t *testing.T, f func(s *side), protos ...proto) {
	for _, p := range protos {
		t.Run(string(p), func(t *testing.T) { bothSides(t, p, f) })
	}
}

func newSide(t *testing.T, p proto, ours bool) *side {
	s := &side{T: t, proto: p, ours: ours, base: &http.Transport{}}
	running := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, running) })
	t.Cleanup(s.close)
	return s
}

func (s *side) close() {
	if tr, ok := s.made.(*idlewise.Transport); ok {
		require.NoError(s, tr.Close())
	}
	s.base.CloseIdleConnections()
}

// transport returns the transport, made from what base is at the first call.
func (s *side) transport() http.RoundTripper {
	if s.made == nil {
		s.made = s.base
		if s.ours {
			tr, err := idlewise.New(idlewise.Config{Base: s.base})
			require.NoError(s, err)
			s.made = tr
		}
	}
	return s.made
}

// closedFor returns how many connections idlewise closed for a reason, and
// whether this is idlewise at all.
func (s *side) closedFor(why idlewise.CloseReason) (uint64, bool) {
	tr, ok := s.transport().(*idlewise.Transport)
	if !ok {
		return 0, false
	}
	return tr.Stats().Total.Closed[why], true
}

func (s *side) client() *http.Client {
	return &http.Client{Transport: s.transport(), Timeout: s.timeout}
}

// send sends req in the way under test.
func (s *side) send(req *http.Request) (*http.Response, error) {
	if s.raw {
		return s.transport().RoundTrip(req)
	}
	return s.client().Do(req)
}

// fail sends req, reads the response to its end, and returns the error.
func (s *side) fail(req *http.Request) error {
	resp, err := s.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// request makes a request with a body that can be sent again, unless it is "".
func (s *side) request(method, url, body string) *http.Request {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, url, r)
	require.NoError(s, err)
	return req
}

// once makes a request whose body cannot be sent again.
func (s *side) once(method, url, body string) *http.Request {
	req := s.request(method, url, body)
	req.GetBody = nil
	return req
}

// warm leaves an idle connection to srv.
func (s *side) warm(url string) {
	require.NoError(s, s.fail(s.request("GET", url+"/warm", "")))
}

// start starts a server that speaks the side's protocol, and makes the base
// speak it and trust the server.
func (s *side) start(h http.Handler, faults ...faultserver.Fault) *faultserver.Server {
	if h == nil {
		h = s.handler
	}
	cfg := faultserver.Config{Handler: h, Faults: faults, Protocols: new(http.Protocols)}
	s.base.Protocols = new(http.Protocols)
	switch s.proto {
	case http1, https:
		cfg.TLS = s.proto == https
		cfg.Protocols.SetHTTP1(true)
		s.base.Protocols.SetHTTP1(true)
	case http2:
		cfg.TLS = true
		cfg.Protocols.SetHTTP2(true)
		s.base.Protocols.SetHTTP2(true)
	case h2c:
		cfg.Protocols.SetUnencryptedHTTP2(true)
		s.base.Protocols.SetUnencryptedHTTP2(true)
	}
	srv := faultserver.Start(s.T, cfg)
	if cfg.TLS {
		s.base.TLSClientConfig = srv.TLSClientConfig()
	}
	// Cleanups run last in, first out: clients go before their server, which
	// waits for its handlers.
	s.Cleanup(s.close)
	return srv
}

// serve starts net/http's server with the side's protocol. Unlike faultserver's
// on HTTP/1 it tells handlers at once that their client went away.
func (s *side) serve(h http.Handler) *httptest.Server {
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = quiet
	s.base.Protocols = new(http.Protocols)
	switch s.proto {
	case http1, https:
		s.base.Protocols.SetHTTP1(true)
	case http2:
		s.base.Protocols.SetHTTP2(true)
		srv.EnableHTTP2 = true
	case h2c:
		s.base.Protocols.SetUnencryptedHTTP2(true)
	}
	if s.proto == https || s.proto == http2 {
		srv.StartTLS()
		s.base.TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig
	} else {
		srv.Config.Protocols = s.base.Protocols
		srv.Start()
	}
	s.Cleanup(srv.Close)
	s.Cleanup(s.close)
	return srv
}

// listen serves raw connections and returns the listener's address.
func (s *side) listen(serve func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s, err)
	var mu sync.Mutex
	var conns []net.Conn
	var closed bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			if closed {
				c.Close() // it was accepted a moment before the listener was closed
			}
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	s.Cleanup(func() {
		l.Close()
		mu.Lock()
		closed = true
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// closedPort returns an address at which nothing listens.
func (s *side) closedPort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s, err)
	require.NoError(s, l.Close())
	return l.Addr().String()
}

// dialing makes the base dial by dial, whose number is counted from 1.
func (s *side) dialing(dial func(ctx context.Context, number int, addr string) (net.Conn, error)) {
	var mu sync.Mutex
	number := 0
	s.base.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
		mu.Lock()
		number++
		n := number
		mu.Unlock()
		return dial(ctx, n, addr)
	}
}

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// soon is a context for what must not take for ever.
func (s *side) soon() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.Cleanup(cancel)
	return ctx
}

// await waits for what another goroutine is bound to do.
func (s *side) await(ch <-chan struct{}, what string) {
	s.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		require.Fail(s, "waited in vain for "+what)
	}
}

func mustParse(t require.TestingT, raw string) *url.URL {
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u
}
