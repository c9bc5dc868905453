package idlewise

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// numbering notes for each request which connection it came on.
func numbering(e *env, then http.HandlerFunc) http.HandlerFunc {
	seen := map[string]int{}
	return func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		if seen[r.RemoteAddr] == 0 {
			seen[r.RemoteAddr] = len(seen) + 1
		}
		n := seen[r.RemoteAddr]
		e.mu.Unlock()
		e.note("%s %s on connection %d", r.Method, r.URL.Path, n)
		then(w, r)
	}
}

func TestTheContractOfReuse(t *testing.T) {
	runContract(t, []clause{
		{says: "a response closed long before its end ends its HTTP/1 connection", over: anyProto, holds: func(e *env) {
			srv := e.serve(numbering(e, func(w http.ResponseWriter, r *http.Request) { io.CopyN(w, zeros{}, 4<<20) }))
			for range 3 {
				resp, err := e.roundTrip(e.request("GET", srv.URL, nil))
				require.NoError(e, err)
				resp.Body.Read(make([]byte, 10))
				e.note("%v", resp.Body.Close())
			}
		}},
		{says: "DisableKeepAlives uses a connection per request", over: anyProto, holds: func(e *env) {
			srv := e.serve(numbering(e, func(w http.ResponseWriter, r *http.Request) {
				e.note("close %v", r.Close)
				echo(w, r)
			}))
			e.base.DisableKeepAlives = true
			for range 3 {
				e.get(srv.URL)
				e.do(e.bodied(srv.URL))
				e.do(e.request("HEAD", srv.URL, nil))
			}
		}},
		{says: "a negative MaxIdleConnsPerHost uses a connection per request", over: anyHTTP1, holds: func(e *env) {
			srv := e.serve(numbering(e, echo))
			e.base.MaxIdleConnsPerHost = -1
			for range 3 {
				e.get(srv.URL)
			}
		}},
		{says: "MaxIdleConns holds for all hosts together", over: anyHTTP1, holds: func(e *env) {
			one, other := e.serve(numbering(e, echo)), e.serve(numbering(e, echo))
			e.base.MaxIdleConns = 1
			for _, srv := range []*httptest.Server{one, one, other, one} { // used again, closed, dialed anew
				e.get(srv.URL)
			}
		}},
		{says: "CloseIdleConnections closes what is idle, and the transport goes on", over: anyProto, holds: func(e *env) {
			srv := e.serve(numbering(e, echo))
			for range 3 {
				e.get(srv.URL)
				e.client().CloseIdleConnections()
			}
		}},
		{says: "CloseIdleConnections leaves a response alone", over: anyProto, holds: func(e *env) {
			srv := e.serve(numbering(e, func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "begun")
				http.NewResponseController(w).Flush()
				if r.Method == "POST" {
					io.Copy(io.Discard, r.Body)
				}
				io.WriteString(w, "ended")
			}))
			resp, err := e.roundTrip(e.request("GET", srv.URL, nil))
			require.NoError(e, err)
			e.client().CloseIdleConnections()
			e.noteResult(resp, err)
		}},
		{says: "a connection that was in use during CloseIdleConnections is not kept", over: http1, holds: func(e *env) {
			closed := make(chan struct{})
			srv := httptest.NewUnstartedServer(http.HandlerFunc(echo))
			srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateClosed {
					close(closed)
				}
			}
			srv.Start()
			e.Cleanup(srv.Close)
			resp, err := e.roundTrip(e.request("GET", srv.URL, nil))
			require.NoError(e, err)
			e.client().CloseIdleConnections()
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			e.await(closed, "the connection to be closed")
			e.note("closed")
		}},
		{says: "a scheme registered with the Base is served by it, others are refused alike", holds: func(e *env) {
			e.base.RegisterProtocol("memory", roundTripFunc(func(r *http.Request) (*http.Response, error) {
				e.note("registered: %s %s", r.Method, r.URL)
				if r.Body != nil {
					r.Body.Close()
				}
				return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
			}))
			e.base.RegisterProtocol("file", http.NewFileTransport(http.Dir(e.TempDir())))
			for _, u := range []string{"memory://x/y", "file:///missing", "gopher://x", "HTTP://x", "://"} {
				req, err := http.NewRequest("POST", u, e.body(strings.NewReader("x")))
				if err != nil {
					e.bodies[len(e.bodies)-1].Close()
					e.note("%v", err)
					continue
				}
				if req.URL.Scheme == "file" {
					e.bodies[len(e.bodies)-1].Close() // it does not
					req.Body = nil
				}
				resp, err := e.rt().RoundTrip(req)
				if err != nil {
					e.note("%s", describe(err))
					continue
				}
				e.note("%d", resp.StatusCode)
				resp.Body.Close()
			}
		}},
		{says: "http and https themselves cannot be registered", differs: "Clone drops what was registered", holds: func(e *env) {
			srv := e.serve(echo)
			e.base.RegisterProtocol("http", roundTripFunc(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 299, Body: http.NoBody, Request: r}, nil
			}))
			resp, err := e.roundTrip(e.request("GET", srv.URL, nil))
			require.NoError(e, err)
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			require.Equal(e, e.ours, resp.StatusCode == 200, "status %d", resp.StatusCode)
			e.note("%d", resp.StatusCode)
		}},
		{says: "at MaxConnsPerHost nobody waits for the streams of a connection that the server ends", over: anyHTTP2, holds: func(e *env) {
			e.base.MaxConnsPerHost = 1
			end := make(chan struct{})
			srv := e.serve(numbering(e, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/held" {
					w.Header().Set("Connection", "close") // GOAWAY, that is
					io.WriteString(w, "begun")
					http.NewResponseController(w).Flush()
					<-end
				}
			}))
			e.get(srv.URL)
			held, err := e.roundTrip(e.request("GET", srv.URL+"/held", nil))
			require.NoError(e, err)
			for range 3 {
				e.get(srv.URL)
			}
			close(end)
			e.noteResult(held, err)
		}},
		{says: "many at once are all answered, within MaxConnsPerHost", over: anyProto, holds: func(e *env) {
			e.base.MaxConnsPerHost = 3
			srv := e.serve(echo)
			results := make(chan string, 60)
			rt := e.rt()
			for i := range cap(results) {
				go func() {
					resp, err := rt.RoundTrip(httptest.NewRequest("GET", fmt.Sprint(srv.URL, "/", i%2), nil))
					if err != nil {
						results <- err.Error()
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					results <- resp.Status
				}()
			}
			for range cap(results) {
				e.note("%s", <-results)
			}
		}},
	})
}

// What frees a connection must be heard of by its readLoop within 50 ms, or it is
// not reused (net/http, maxWriteWaitBeforeConnReuse), which on a busy machine is
// not certain on real sockets. In virtual time it is.
func TestAResponseReadToItsEndFreesItsConnectionForBothTransports(t *testing.T) {
	for p := http1; p <= h2c; p <<= 1 {
		for _, size := range []int{0, 1000} {
			t.Run(fmt.Sprintf("%s, %d bytes", protoNames[p], size), func(t *testing.T) {
				cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{
					TLS: p == https1 || p == http2, Protocols: p.protocols(),
					Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, size)) }),
				}}
				cfg.base = func(b *http.Transport) { b.Protocols = p.protocols() }
				inWorld(t, cfg, func(t *testing.T, w *world) {
					theirs := &http.Transport{DialContext: w.dial, TLSClientConfig: w.server.TLSClientConfig(), Protocols: p.protocols()}
					defer theirs.CloseIdleConnections()
					for _, rt := range []http.RoundTripper{theirs, w.tr} {
						before := w.dials.Load()
						for range 30 {
							resp, err := rt.RoundTrip(request(t, "GET", w.url("/"), nil))
							require.NoError(t, err)
							require.NotNil(t, resp.Body)
							if size > 0 {
								_, err = io.ReadAll(resp.Body) // not closed: EOF alone gives it back
								require.NoError(t, err)
							}
						}
						require.EqualValues(t, before+1, w.dials.Load())
					}
				})
			})
		}
	}
}

func (p proto) protocols() *http.Protocols {
	ps := new(http.Protocols)
	ps.SetHTTP1(p&anyHTTP1 != 0)
	ps.SetHTTP2(p == http2)
	ps.SetUnencryptedHTTP2(p == h2c)
	return ps
}
