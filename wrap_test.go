package idlewise

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

type unwrapping struct{ inner http.RoundTripper }

func (u unwrapping) RoundTrip(r *http.Request) (*http.Response, error) { return u.inner.RoundTrip(r) }
func (u unwrapping) Unwrap() http.RoundTripper                         { return u.inner }

type clientGoStyle struct{ inner http.RoundTripper }

func (c *clientGoStyle) RoundTrip(r *http.Request) (*http.Response, error) {
	return c.inner.RoundTrip(r)
}
func (c *clientGoStyle) WrappedRoundTripper() http.RoundTripper { return c.inner }

// uncomparable makes == on the interface panic.
type uncomparable struct{ _ map[string]int }

func (uncomparable) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no") }

type endless struct{}

func (e endless) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no") }
func (e endless) Unwrap() http.RoundTripper                       { return e }

func TestWrapFollowsLayersDownToTheTransport(t *testing.T) {
	inner := &http.Transport{MaxConnsPerHost: 3}
	tr, err := Wrap(unwrapping{&clientGoStyle{inner}}, Config{})
	require.NoError(t, err)
	require.Equal(t, 3, tr.Explain("http://example.com").Policy.MaxConns)
	require.Same(t, inner, tr.base.original)
	require.NotNil(t, tr.keepAlive, "layers may end with their last reference")
	tr, err = Wrap(nil, Config{})
	require.NoError(t, err)
	require.Same(t, http.DefaultTransport, tr.base.original)
}

func TestWrapSaysWhichTypeItCannotFollowAndTheRemedy(t *testing.T) {
	tr, err := New(Config{})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		rt   http.RoundTripper
		want string
	}{
		"a foreign one":            {http.NewFileTransport(http.Dir(".")), "http.fileTransport has no *http.Transport to take over"},
		"a foreign one inside":     {unwrapping{uncomparable{}}, "the idlewise.uncomparable inside idlewise.unwrapping has no *http.Transport"},
		"one that cannot compare":  {uncomparable{}, "the idlewise.uncomparable has no *http.Transport"},
		"a typed nil":              {(*http.Transport)(nil), "the *http.Transport is nil"},
		"a typed nil layer":        {(*clientGoStyle)(nil), "the *idlewise.clientGoStyle is nil"},
		"a typed nil inside":       {unwrapping{(*http.Transport)(nil)}, "the *http.Transport inside idlewise.unwrapping is nil"},
		"nothing inside":           {unwrapping{nil}, "what idlewise.unwrapping wraps is nil"},
		"idlewise":                 {tr, "it is an idlewise.Transport already"},
		"one that unwraps forever": {endless{}, "unwrapped 100 times without an end"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Wrap(c.rt, Config{})
			require.ErrorContains(t, err, c.want)
			_, err = WrapClient(&http.Client{Transport: c.rt}, Config{})
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err = Wrap(&http.Transport{}, Config{Base: &http.Transport{}, MaxUpstreams: -1})
	require.ErrorContains(t, err, "Config.Base: Wrap takes the base")
	require.ErrorContains(t, err, "Config.MaxUpstreams")
}

func TestWrapClientKeepsTheClientAsItWas(t *testing.T) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 17}
	wrapped, err := WrapClient(client, Config{})
	require.NoError(t, err)
	require.EqualValues(t, 17, wrapped.Timeout)
	require.IsType(t, &http.Transport{}, client.Transport, "the original is not changed")
	require.IsType(t, &Transport{}, wrapped.Transport)
	wrapped, err = WrapClient(nil, Config{})
	require.NoError(t, err)
	require.NotSame(t, http.DefaultClient, wrapped)
}

func TestPassthroughHandsEverythingToTheWrapped(t *testing.T) {
	calls := 0
	outer := roundTripFunc(func(r *http.Request) (*http.Response, error) { calls++; return nil, errors.New("mine") })
	tr, err := Wrap(passing{outer, &http.Transport{}}, Config{Passthrough: true})
	require.NoError(t, err)
	req, _ := http.NewRequest("GET", "http://example.com", nil)
	_, err = tr.RoundTrip(req)
	require.EqualError(t, err, "mine")
	require.Equal(t, 1, calls)
	require.Empty(t, tr.Stats().Upstreams)
	tr.CloseIdleConnections()
}

func TestPassthroughEndsAsATransportDoes(t *testing.T) {
	for name, end := range map[string]func(*Transport) error{
		"Close":    (*Transport).Close,
		"Shutdown": func(tr *Transport) error { return tr.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, worldConfig{client: Config{Passthrough: true}}, func(t *testing.T, w *world) {
				_, err := w.do(t.Context(), "GET", "/", "")
				require.NoError(t, err)
				require.EqualValues(t, 1, w.open.Load())
				require.NoError(t, end(w.tr))
				synctest.Wait()
				require.Zero(t, w.open.Load(), "idle connections of the Base are closed")
				body := &closeCounter{}
				req, err := http.NewRequest("POST", w.url("/"), body)
				require.NoError(t, err)
				_, err = w.tr.RoundTrip(req)
				require.ErrorIs(t, err, ErrClosed)
				require.Equal(t, 1, body.closed)
			})
		})
	}
}

type closeCounter struct{ closed int }

func (c *closeCounter) Read([]byte) (int, error) { return 0, io.EOF }
func (c *closeCounter) Close() error             { c.closed++; return nil }

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type passing struct {
	http.RoundTripper
	inner *http.Transport
}

func (p passing) Unwrap() http.RoundTripper { return p.inner }

func TestTheZeroTransportAndDefaultTransportWork(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	defer srv.Close()
	for name, tr := range map[string]*Transport{"zero": {}, "default": DefaultTransport} {
		t.Run(name, func(t *testing.T) {
			resp, err := (&http.Client{Transport: tr}).Get(srv.URL)
			require.NoError(t, err)
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			require.Equal(t, "hello", string(b))
			tr.CloseIdleConnections()
		})
	}
	require.ErrorContains(t, DefaultTransport.Close(), "cannot be closed")
	require.ErrorContains(t, DefaultTransport.Shutdown(context.Background()), "make a Transport of your own")
}

// Programs set http.DefaultTransport = idlewise.DefaultTransport.
func TestADefaultTransportThatReplacedNetHTTPsDoesNotCopyItself(t *testing.T) {
	before := http.DefaultTransport
	defer func() { http.DefaultTransport = before }()
	tr := &Transport{}
	http.DefaultTransport = tr
	require.NoError(t, tr.ready())
	require.Same(t, before, tr.base.original)
}

// A deafConn does not tell a Read that it was closed until it is over.
type deafConn struct {
	net.Conn
	over <-chan struct{}
}

func (c deafConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, net.ErrClosed) {
		<-c.over
	}
	return n, err
}

func TestABadRequestGetsNetHTTPsErrorAndItsBodyIsClosed(t *testing.T) {
	// It answers nothing, since http.Transport may take an answer before it notices
	// that the request was canceled.
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // or the client's end is not noticed
		<-r.Context().Done()
	}))
	defer srv.Close()
	// When the body turns out too short, the writer closes the connection, and what
	// the reader hears of that can come first, 5 times in 190,000 with http.Transport
	// under load. Here it hears of it when everything is over.
	over := make(chan struct{})
	defer close(over)
	deaf := func() *http.Transport {
		return &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			return deafConn{c, over}, err
		}}
	}
	tr, err := New(Config{Base: deaf()})
	require.NoError(t, err)
	defer tr.Close()
	std := deaf()
	defer std.CloseIdleConnections()
	good, _ := http.NewRequest("POST", srv.URL, nil)
	for name, spoil := range map[string]func(*http.Request){
		"no URL":             func(r *http.Request) { r.URL = nil },
		"no header":          func(r *http.Request) { r.Header = nil },
		"no host":            func(r *http.Request) { r.URL.Host = "" },
		"unknown scheme":     func(r *http.Request) { r.URL.Scheme = "gopher" },
		"no scheme":          func(r *http.Request) { r.URL.Scheme = "" },
		"bad method":         func(r *http.Request) { r.Method = "a b" },
		"bad header name":    func(r *http.Request) { r.Header["a b"] = []string{"x"} },
		"bad header value":   func(r *http.Request) { r.Header["A"] = []string{"x\ny"} },
		"bad trailer":        func(r *http.Request) { r.Trailer = http.Header{"a b": nil} },
		"a body too short":   func(r *http.Request) { r.ContentLength = 10 },
		"a canceled context": func(r *http.Request) { ctx, c := context.WithCancel(r.Context()); c(); *r = *r.WithContext(ctx) },
		"a canceled request": func(r *http.Request) {
			c := make(chan struct{})
			close(c)
			r.Cancel = c //lint:ignore SA1019 http.Client still sets it
		},
		"a host with a space": func(r *http.Request) { r.URL.Host = "exa mple.com:80" },
	} {
		t.Run(name, func(t *testing.T) {
			try := func(rt http.RoundTripper) (string, *watchedBody) {
				req := good.Clone(context.Background())
				body := &watchedBody{Reader: strings.NewReader("body")}
				req.Body = body
				spoil(req)
				resp, err := rt.RoundTrip(req)
				if err == nil {
					resp.Body.Close()
					return "", body
				}
				return err.Error(), body
			}
			ours, ourBody := try(tr)
			theirs, theirBody := try(std)
			// net/http itself says one or the other, as its goroutines fall.
			const chance = " while waiting for connection"
			require.Equal(t, strings.TrimSuffix(theirs, chance), strings.TrimSuffix(ours, chance))
			require.EqualValues(t, theirBody.closed.Load(), ourBody.closed.Load(), "times the body was closed")
			require.EqualValues(t, 1, ourBody.closed.Load())
		})
	}
}

func TestTLSSessionsAreResumedUnlessTheProgramAuthenticatesByItself(t *testing.T) {
	require.NotNil(t, withResumption(nil).ClientSessionCache)
	own := tls.NewLRUClientSessionCache(1)
	require.Equal(t, own, withResumption(&tls.Config{ClientSessionCache: own}).ClientSessionCache)
	for name, cfg := range map[string]*tls.Config{
		"client certificates":   {Certificates: []tls.Certificate{{}}},
		"GetClientCertificate":  {GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, nil }},
		"VerifyPeerCertificate": {VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { return nil }},
	} {
		require.Nil(t, withResumption(cfg).ClientSessionCache, name)
	}
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	tr, err := Wrap(srv.Client().Transport, Config{})
	require.NoError(t, err)
	defer tr.Close()
	for i := range 2 {
		resp, err := tr.RoundTrip(httptest.NewRequest("GET", srv.URL, nil))
		require.NoError(t, err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		require.Equal(t, i == 1, resp.TLS.DidResume)
		tr.CloseIdleConnections()
	}
}
