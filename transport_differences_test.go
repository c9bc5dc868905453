package idlewise

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// The differences that docs/compatibility.md lists and no other clause shows:
// here they are seen on both sides, so that a listed one that has vanished is
// noticed, too.
func TestTheContractsListedDifferences(t *testing.T) {
	const listed = "docs/compatibility.md"
	runContract(t, []clause{
		{says: "PutIdleConn knows nothing of the pool's decision", differs: listed, holds: func(e *env) {
			srv := e.serve(echo)
			put := make(chan error, 1)
			req := e.request("GET", srv.URL, nil)
			resp, err := e.roundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{PutIdleConn: func(err error) { put <- err }})))
			require.NoError(e, err)
			e.client().CloseIdleConnections()
			e.noteResult(resp, err)
			require.Equal(e, e.ours, <-put == nil)
		}},
		{says: "a cause survives on a used HTTP/2 connection", over: http2, differs: listed, holds: func(e *env) {
			srv := e.serve(echo)
			e.get(srv.URL)
			ctx, cancel := context.WithCancelCause(e.Context())
			cancel(errOwnCause)
			_, err := e.roundTrip(e.bodied(srv.URL).WithContext(ctx))
			require.Equal(e, e.ours, errors.Is(err, errOwnCause), "%v", err)
			e.note("%v", err)
		}},
		{says: "GetConn is called once for an h2c request", over: h2c, differs: listed, holds: func(e *env) {
			srv := e.serve(echo)
			times := 0
			for range 2 { // net/http asks twice on a used connection
				req := e.request("GET", srv.URL, nil)
				e.do(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GetConn: func(string) { times++ }})))
			}
			require.Equal(e, map[bool]int{true: 2, false: 3}[e.ours], times)
		}},
		{says: "GetConn is called once for a tunnelled HTTP/2 request, with the proxy's address", over: http2, differs: listed, holds: func(e *env) {
			srv := e.serve(echo)
			proxy := e.proxy(false, hostPortOf(&srv))
			e.base.Proxy = http.ProxyURL(proxy)
			var asked []string
			for range 2 {
				req := e.request("GET", "https://example.com/", nil)
				e.do(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GetConn: func(hostPort string) { asked = append(asked, hostPort) }})))
			}
			if e.ours {
				require.Equal(e, []string{proxy.Host, proxy.Host}, asked)
			} else {
				require.Contains(e, asked, "example.com:443")
			}
		}},
		{says: "a RecordHeaderError has a wrapper around the dialer's connection", differs: listed, holds: func(e *env) {
			srv := e.serve(echo)
			_, err := e.roundTrip(e.bodied(strings.Replace(srv.URL, "http:", "https:", 1)))
			var header tls.RecordHeaderError
			require.ErrorAs(e, err, &header)
			_, bare := header.Conn.(*net.TCPConn)
			require.Equal(e, !e.ours, bare)
			e.note("%T", header.Conn)
		}},
		{says: "later changes to the Base have no effect, and there is no CancelRequest", differs: listed, holds: func(e *env) {
			srv := e.serve(echo)
			e.get(srv.URL)
			e.client().CloseIdleConnections()
			e.base.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }
			_, ok := e.rt().(interface{ CancelRequest(*http.Request) })
			require.Equal(e, !e.ours, ok)
			resp, err := e.roundTrip(e.request("GET", srv.URL, nil))
			require.Equal(e, e.ours, err == nil)
			if err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}},
		{says: "MaxConnsPerHost holds when the streams of an HTTP/2 connection are used up", over: http2, differs: listed, holds: func(e *env) {
			e.base.MaxConnsPerHost, e.base.ForceAttemptHTTP2 = 1, true
			var conns sync.Map
			end := make(chan struct{})
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conns.Store(r.RemoteAddr, true)
				if r.URL.Path == "/held" {
					http.NewResponseController(w).Flush()
					<-end
				}
			}))
			srv.Config.ErrorLog, srv.Config.HTTP2 = quiet, &http.HTTP2Config{MaxConcurrentStreams: 1}
			srv.EnableHTTP2 = true
			srv.StartTLS()
			e.trust(srv)
			e.Cleanup(srv.Close)
			e.Cleanup(srv.CloseClientConnections)

			rt, answered := e.rt(), make(chan error, 1)
			get := func(path string) (*http.Response, error) { return rt.RoundTrip(e.request("GET", srv.URL+path, nil)) }
			e.get(srv.URL)
			held, err := get("/held")
			require.NoError(e, err)
			go func() {
				resp, err := get("/")
				if err == nil {
					resp.Body.Close()
				}
				answered <- err
			}()
			if !e.ours {
				require.NoError(e, <-answered)
			}
			close(end)
			e.noteResult(held, err)
			if e.ours {
				require.NoError(e, <-answered)
			}
			n := 0
			conns.Range(func(any, any) bool { n++; return true })
			require.Equal(e, map[bool]int{true: 1, false: 2}[e.ours], n)
		}},
	})
}
