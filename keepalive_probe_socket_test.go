package idlewise

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// These go over real sockets, and assert on no time. One connection each: on a
// busy machine several ends may look like one instant.

const shortIdle = 150 * time.Millisecond

func probeOnce(t *testing.T, base *http.Transport, target string, opt ProbeOptions) *ProbeReport {
	t.Helper()
	tr, err := New(Config{Base: base})
	require.NoError(t, err)
	defer tr.Close()
	opt.Timeout = 20 * time.Second
	r, err := tr.Probe(t.Context(), target, opt)
	require.NoError(t, err)
	return r
}

func idleServer(t *testing.T, withTLS bool) *httptest.Server {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.IdleTimeout = shortIdle
	if withTLS {
		srv.EnableHTTP2 = true
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv
}

func TestAProbeOverRealSocketsSeesTheEnd(t *testing.T) {
	plain := idleServer(t, false)
	secure := idleServer(t, true)
	roots := secure.Client().Transport.(*http.Transport).TLSClientConfig
	http1Roots := roots.Clone() // a Transport that speaks HTTP/2 adds it to its own
	for name, c := range map[string]struct {
		base *http.Transport
		url  string
		end  ProbeEnd
	}{
		"plain":              {&http.Transport{}, plain.URL, ProbeEndFIN},
		"without keep-alive": {&http.Transport{DisableKeepAlives: true}, plain.URL, ProbeEndFIN},
		"limited":            {&http.Transport{MaxConnsPerHost: 1}, plain.URL, ProbeEndFIN},
		"TLS":                {&http.Transport{TLSClientConfig: http1Roots}, secure.URL, ProbeEndCloseNotify},
		"HTTP/2":             {&http.Transport{TLSClientConfig: roots, ForceAttemptHTTP2: true}, secure.URL, ProbeEndGoAway},
		"own TLS dialer": {&http.Transport{DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&tls.Dialer{Config: http1Roots}).DialContext(ctx, network, addr)
		}}, secure.URL, ProbeEndClosed},
	} {
		t.Run(name, func(t *testing.T) {
			r := probeOnce(t, c.base, c.url, ProbeOptions{Connections: 1})
			require.Equal(t, ProbeTimeout, r.Finding, r.String())
			require.Equal(t, 1, r.Measured, r.String())
			require.Equal(t, c.end, r.End, r.String())
		})
	}
}

func TestAProbeGoesThroughTheProxy(t *testing.T) {
	secure := idleServer(t, true)
	for _, overTLS := range []bool{false, true} {
		e := &env{T: t, base: &http.Transport{}}
		e.trust(secure)
		proxy := e.proxy(overTLS, func() string { return secure.Listener.Addr().String() })
		e.base.Proxy = http.ProxyURL(proxy)
		r := probeOnce(t, e.base, secure.URL, ProbeOptions{Connections: 1})
		require.Equal(t, ProbeTimeout, r.Finding, r.String())
		require.Equal(t, 1, r.Measured)
		require.Equal(t, proxy.Redacted(), r.Proxy)
		u, err := url.Parse(proxy.String())
		require.NoError(t, err)
		require.Equal(t, u.Host, r.Conns[0].Remote, "it is the proxy's connection")
	}
}

func TestAProbeSeesARealReset(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.IdleReset, After: shortIdle}}})
	r := probeOnce(t, &http.Transport{}, s.URL, ProbeOptions{Connections: 1})
	require.Equal(t, ProbeEndRST, r.End, r.String())
}

func TestADialerMayTieItsConnectionToItsContext(t *testing.T) {
	srv := idleServer(t, false)
	tied := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			context.AfterFunc(ctx, func() { c.Close() })
		}
		return c, err
	}
	r := probeOnce(t, &http.Transport{DialContext: tied}, srv.URL, ProbeOptions{Connections: 1})
	require.Equal(t, ProbeEndFIN, r.End, r.String())
}
