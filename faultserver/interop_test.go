package faultserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func protocols(set ...func(*http.Protocols, bool)) *http.Protocols {
	p := new(http.Protocols)
	for _, f := range set {
		f(p, true)
	}
	return p
}

var (
	http1 = (*http.Protocols).SetHTTP1
	http2 = (*http.Protocols).SetHTTP2
	h2c   = (*http.Protocols).SetUnencryptedHTTP2
)

// everyProtocol runs a test over each way of reaching a server.
func everyProtocol(t *testing.T, test func(t *testing.T, cfg faultserver.Config, proto string)) {
	t.Run("HTTP/1.1", func(t *testing.T) { test(t, faultserver.Config{}, "HTTP/1.1") })
	t.Run("HTTP/1.1 under TLS", func(t *testing.T) {
		test(t, faultserver.Config{TLS: true, Protocols: protocols(http1)}, "HTTP/1.1")
	})
	t.Run("HTTP/2 under TLS", func(t *testing.T) { test(t, faultserver.Config{TLS: true}, "HTTP/2.0") })
	t.Run("HTTP/2 in cleartext", func(t *testing.T) {
		test(t, faultserver.Config{Protocols: protocols(h2c)}, "HTTP/2.0")
	})
}

func do(t *testing.T, s *faultserver.Server, method, path string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	require.NoError(t, err)
	resp, err := s.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(b)
}

func TestNetHTTPIsEchoedOverEveryProtocol(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		s := faultserver.Start(t, cfg)
		resp, body := do(t, s, "GET", "/a?b=c", nil)
		require.Equal(t, proto, resp.Proto)
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, "GET /a 0\n", body)
		require.EqualValues(t, len(body), resp.ContentLength)

		large := bytes.Repeat([]byte("x"), 6<<20) // more than every window
		_, body = do(t, s, "POST", "/b", bytes.NewReader(large))
		require.Equal(t, "POST /b 6291456\n", body)
		require.Len(t, s.Journal().Conns(), 1, "one connection is reused")
		require.Equal(t, proto, s.Journal().Conns()[0].Proto)
		require.EqualValues(t, len(large), s.Journal().Requests()[1].BodyBytes)
	})
}

func TestTheHandlerSeesARealRequest(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s|%s|%s|%v|%v|%s|%s|%v", r.Proto, r.Host, r.URL, r.TLS != nil, r.RemoteAddr != "",
				r.Header.Get("X-A"), r.RequestURI, r.Context().Value(http.LocalAddrContextKey) != nil)
		})
		s := faultserver.Start(t, cfg)
		req, _ := http.NewRequest("GET", s.URL+"/p?q=1", nil)
		req.Header.Set("X-A", "b")
		resp, err := s.Client().Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		require.Equal(t, fmt.Sprintf("%s|%s|/p?q=1|%v|true|b|/p?q=1|true", proto, s.Addr(), cfg.TLS), string(b))
	})
}

func TestLargeResponsesAndTrailersArrive(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		part := bytes.Repeat([]byte("0123456789abcdef"), 4096)
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Declared")
			for range 100 {
				w.Write(part)
			}
			w.Header().Set("X-Declared", "1")
			w.Header().Set(http.TrailerPrefix+"X-Undeclared", "2")
		})
		s := faultserver.Start(t, cfg)
		resp, body := do(t, s, "GET", "/", nil)
		require.Len(t, body, 100*len(part))
		require.Equal(t, "1", resp.Trailer.Get("X-Declared"))
		require.Equal(t, "2", resp.Trailer.Get("X-Undeclared"))
	})
}

func TestFlushedBytesArriveBeforeTheHandlerReturns(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		goOn := make(chan struct{})
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "first")
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
			<-goOn
			io.WriteString(w, "second")
		})
		s := faultserver.Start(t, cfg)
		resp, err := s.Client().Get(s.URL)
		require.NoError(t, err)
		defer resp.Body.Close()
		first := make([]byte, 5)
		_, err = io.ReadFull(resp.Body, first)
		require.NoError(t, err)
		require.Equal(t, "first", string(first))
		close(goOn)
		rest, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "second", string(rest))
	})
}

func TestBodilessResponsesHaveNoBody(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/204":
				w.WriteHeader(204)
			case "/304":
				w.WriteHeader(304)
			default:
				io.WriteString(w, "hello")
			}
		})
		s := faultserver.Start(t, cfg)
		for _, path := range []string{"/204", "/304"} {
			resp, body := do(t, s, "GET", path, nil)
			require.Equal(t, path, fmt.Sprintf("/%d", resp.StatusCode))
			require.Empty(t, body)
		}
		resp, body := do(t, s, "HEAD", "/", nil)
		require.Empty(t, body)
		require.EqualValues(t, 5, resp.ContentLength)
		_, body = do(t, s, "GET", "/", nil)
		require.Equal(t, "hello", body)
		require.Len(t, s.Journal().Conns(), 1)
	})
}

func TestRequestTrailersReachTheHandler(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, r.Trailer.Get("X-Sum"))
		})
		s := faultserver.Start(t, cfg)
		req, _ := http.NewRequest("POST", s.URL, struct{ io.Reader }{strings.NewReader("abc")})
		req.Trailer = http.Header{"X-Sum": nil}
		req.Trailer.Set("X-Sum", "6")
		resp, err := s.Client().Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		require.Equal(t, "6", string(b))
	})
}

func TestAnUnreadBodyDoesNotSpoilTheResponse(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "no thanks") })
		s := faultserver.Start(t, cfg)
		_, body := do(t, s, "POST", "/small", strings.NewReader("abc"))
		require.Equal(t, "no thanks", body)
		_, body = do(t, s, "GET", "/", nil)
		require.Equal(t, "no thanks", body)
		require.Len(t, s.Journal().Conns(), 1, "a small rest is read past")
	})
}

func TestManyRequestsAtOnceAreAllAnswered(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		s := faultserver.Start(t, cfg)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					resp, err := s.Client().Post(s.URL+"/n", "text/plain", strings.NewReader("body"))
					if err != nil {
						t.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		}
		wg.Wait()
		answered := 0
		for _, r := range s.Journal().Requests() {
			if r.Answered && r.Phase == faultserver.PhaseAnswered && r.BodyBytes == 4 {
				answered++
			}
		}
		require.Equal(t, 800, answered)
	})
}

func TestACleartextServerTellsHTTP1FromHTTP2(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Protocols: protocols(http1, h2c)})
	c := dialRaw(t, s)
	resp, _ := c.get("/")
	require.Equal(t, "HTTP/1.1", resp.Proto)

	transport := &http.Transport{Protocols: protocols(h2c)}
	defer transport.CloseIdleConnections()
	h2resp, err := (&http.Client{Transport: transport}).Get(s.URL)
	require.NoError(t, err)
	h2resp.Body.Close()
	require.Equal(t, "HTTP/2.0", h2resp.Proto)
}

func TestTheClientCancelsTheHandlersContextOnHTTP2(t *testing.T) {
	canceled := make(chan struct{})
	started := make(chan struct{})
	s := faultserver.Start(t, faultserver.Config{TLS: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
		close(canceled)
	})})
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
	go func() { <-started; cancel() }()
	_, err := s.Client().Do(req)
	require.ErrorIs(t, err, context.Canceled)
	<-canceled
}

func TestAGivenTLSConfigIsUsedAndTrusted(t *testing.T) {
	other := httptest.NewTLSServer(nil) // for its certificate
	defer other.Close()
	given := &tls.Config{Certificates: other.TLS.Certificates, MaxVersion: tls.VersionTLS12}
	s := faultserver.Start(t, faultserver.Config{TLS: true, TLSConfig: given})
	resp, _ := do(t, s, "GET", "/", nil)
	require.EqualValues(t, tls.VersionTLS12, resp.TLS.Version)
	require.Equal(t, "h2", resp.TLS.NegotiatedProtocol)
	require.True(t, resp.TLS.PeerCertificates[0].Equal(other.Certificate()))
	require.Empty(t, given.NextProtos, "the caller's configuration is not changed")
	require.Nil(t, faultserver.Start(t, faultserver.Config{}).TLSClientConfig())
}
