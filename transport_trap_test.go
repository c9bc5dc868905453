package idlewise

//lint:file-ignore SA1019 what programs still set and do must work

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	xhttp2 "golang.org/x/net/http2"

	"github.com/idlewise/idlewise/faultserver"
)

// The traps of http.ClientConn, numbered as where they were measured. Each of
// these tests fails when its workaround is removed, or says which ones do.

// trapped starts a server and a Transport on it, with a base that trusts it.
func trapped(t *testing.T, h2 bool, h http.HandlerFunc, policy Policy, change func(*http.Transport)) (*Transport, *httptest.Server) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = quiet
	base := &http.Transport{}
	if h2 {
		srv.EnableHTTP2 = true
		srv.StartTLS()
		base = srv.Client().Transport.(*http.Transport)
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	if change != nil {
		change(base)
	}
	tr, err := New(Config{Base: base, Policies: Policies{Default: policy}})
	require.NoError(t, err)
	t.Cleanup(func() { tr.Close() })
	return tr, srv
}

func read(t *testing.T, tr *Transport, req *http.Request) *http.Response {
	t.Helper()
	resp, err := tr.RoundTrip(req)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp
}

func getting(url string) *http.Request {
	req, _ := http.NewRequest("GET", url, nil)
	return req
}

func TestTrap1ALimitOnTheBaseDoesNotPanicWhenAConnectionCloses(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		tr, srv := trapped(t, h2, echo, Policy{}, func(b *http.Transport) { b.MaxConnsPerHost = 1 })
		for range 3 {
			read(t, tr, getting(srv.URL))
			tr.CloseIdleConnections()
		}
	}
}

// A countingContext counts the children that hang on it.
type countingContext struct {
	context.Context
	children atomic.Int64
}

// AfterFunc is what package context registers children with.
func (c *countingContext) AfterFunc(f func()) func() bool {
	c.children.Add(1)
	stop := context.AfterFunc(c.Context, f)
	var once sync.Once
	return func() bool {
		once.Do(func() { c.children.Add(-1) })
		return stop()
	}
}

func (c *countingContext) Value(key any) any { return nil } // hides the parent's own way

func TestTrap2NoChildOfTheCallersContextOutlivesItsCall(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			base, cancel := context.WithCancel(context.Background())
			defer cancel()
			ctx := &countingContext{Context: base}
			tr, srv := trapped(t, h2, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/fails":
					panic(http.ErrAbortHandler)
				case "/body":
					io.WriteString(w, "hello")
				case "/closed":
					io.CopyN(w, zeros{}, 1<<20)
				}
			}, Policy{}, nil)
			canceled := make(chan struct{})
			for _, legacy := range []chan struct{}{nil, canceled} {
				for range 5 {
					for _, path := range []string{"/fails", "/body", "/empty", "/closed"} {
						req := getting(srv.URL + path).WithContext(ctx)
						req.Cancel = legacy
						if path == "/fails" {
							_, err := tr.RoundTrip(req)
							require.Error(t, err)
							continue
						}
						if path == "/closed" {
							resp, err := tr.RoundTrip(req)
							require.NoError(t, err)
							resp.Body.Close()
							continue
						}
						read(t, tr, req)
					}
				}
			}
			eventually(t, func() bool { return ctx.children.Load() == 0 }, "children of the context are left")
			eventually(t, func() bool { return !running("awaitLegacyCancel") }, "a goroutine waits for Request.Cancel")
		})
	}
}

// eventually waits for goroutines that are about to end.
func eventually(t *testing.T, ok func() bool, message string) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		runtime.Gosched()
		<-time.After(time.Millisecond)
	}
	require.Fail(t, message)
}

func running(function string) bool {
	stacks := make([]byte, 1<<20)
	return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), function)
}

// See also TestABadRequestGetsNetHTTPsErrorAndItsBodyIsClosed.
func TestTrap3TheBodyOfAnInvalidRequestIsClosed(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		tr, srv := trapped(t, h2, echo, Policy{}, nil)
		read(t, tr, getting(srv.URL))
		for i, spoil := range []func(*http.Request){
			func(r *http.Request) { r.Header["a b"] = []string{"x"} },
			func(r *http.Request) { r.Trailer = http.Header{"X": {"\n"}} },
			func(r *http.Request) { r.Method = "a b" },
		} {
			body := &watchedBody{Reader: strings.NewReader("x")}
			req, _ := http.NewRequest("POST", srv.URL, body)
			spoil(req)
			_, err := tr.RoundTrip(req)
			require.ErrorContains(t, err, "net/http: invalid ", "%d", i)
			require.EqualValues(t, 1, body.closed.Load())
			read(t, tr, getting(srv.URL))
		}
		require.EqualValues(t, 1, tr.Stats().Total.Opened, "the connection has seen nothing of it")
	}
}

func TestTrap5TheBasesIdleConnTimeoutDoesNotEndHTTP2ConnectionsByItself(t *testing.T) {
	cfg := worldConfig{
		server: faultserver.Config{TLS: true},
		client: Config{Policies: Policies{Default: Policy{MaxIdleTime: time.Hour}}},
		base:   func(b *http.Transport) { b.IdleConnTimeout = time.Second },
	}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(10 * time.Second)
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 1, w.dials.Load())
	})
}

func TestTrap6GetConnAndGotConnAreCalled(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		tr, srv := trapped(t, h2, echo, Policy{}, nil)
		for i := range 2 {
			var asked []string
			var got []httptrace.GotConnInfo
			ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
				GetConn: func(hostPort string) { asked = append(asked, hostPort) },
				GotConn: func(info httptrace.GotConnInfo) { got = append(got, info) },
			})
			read(t, tr, getting(srv.URL).WithContext(ctx))
			require.Equal(t, []string{srv.Listener.Addr().String()}, asked)
			require.Len(t, got, 1)
			require.Equal(t, i == 1, got[0].Reused)
			require.Equal(t, i == 1, got[0].WasIdle)
			require.Equal(t, i == 1, got[0].IdleTime > 0)
			require.Equal(t, srv.Listener.Addr().String(), got[0].Conn.RemoteAddr().String())
		}
	}
}

// Without a reservation the connection of a response without a body is lost to
// those who wait for it.
func TestTrap8AResponseWithoutABodyServesTheNextCaller(t *testing.T) {
	share := func(t *testing.T, tr *Transport, url string) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i := range 20 {
					req := getting(url)
					req.Method = []string{"GET", "HEAD"}[i%2]
					if resp, err := tr.RoundTrip(req); err == nil {
						resp.Body.Close()
					} else {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, tr.Stats().Total.Opened, "%+v", tr.Stats().Total)
	}
	t.Run("HTTP/1", func(t *testing.T) {
		// In virtual time: on a busy machine net/http gives a connection up whose
		// write is reported 50 ms late.
		synctest.Test(t, func(t *testing.T) {
			base := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go func() {
					defer theirs.Close()
					for r := bufio.NewReader(theirs); ; {
						if _, err := http.ReadRequest(r); err != nil {
							return
						}
						io.WriteString(theirs, "HTTP/1.1 204 No Content\r\n\r\n")
					}
				}()
				return ours, nil
			}}
			tr, err := New(Config{Base: base, Policies: Policies{Default: Policy{MaxConns: 1}}})
			require.NoError(t, err)
			defer tr.Close()
			share(t, tr, "http://example.com/")
		})
	})
	t.Run("HTTP/2", func(t *testing.T) {
		tr, srv := trapped(t, true, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, Policy{MaxConns: 1}, nil)
		share(t, tr, srv.URL)
	})
}

// A server that says GOAWAY and leaves the connection open: nothing but the
// sweep notices on Go 1.26. (The fault server closes it after a while.)
func TestTrap9AnIdleConnectionsGOAWAYIsNoticedThoughItStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		base := &http.Transport{Protocols: new(http.Protocols)}
		base.Protocols.SetUnencryptedHTTP2(true)
		base.DialContext = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer close(over)
				answerAndGoAway(theirs)
			}()
			return ours, nil
		}
		tr, err := New(Config{Base: base})
		require.NoError(t, err)
		defer tr.Close()
		read(t, tr, getting("http://example.com"))
		time.Sleep(11 * time.Second)
		select {
		case <-over:
		default:
			require.Fail(t, "the connection is kept", "%+v", tr.Stats().Total)
		}
		require.Zero(t, tr.Stats().Upstreams[0].Open)
	})
}

// answerAndGoAway serves one HTTP/2 request, says GOAWAY and reads on.
func answerAndGoAway(c net.Conn) {
	defer c.Close()
	frames := make(chan func(*xhttp2.Framer), 10)
	framer := xhttp2.NewFramer(c, c)
	go func() { // a pipe's two ends must not both be writing
		for write := range frames {
			write(framer)
		}
	}()
	defer close(frames)
	frames <- func(f *xhttp2.Framer) { f.WriteSettings() }
	io.ReadFull(c, make([]byte, len(xhttp2.ClientPreface)))
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *xhttp2.SettingsFrame:
			if !f.IsAck() {
				frames <- func(f *xhttp2.Framer) { f.WriteSettingsAck() }
			}
		case *xhttp2.HeadersFrame:
			id := f.StreamID
			frames <- func(f *xhttp2.Framer) {
				f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: true, BlockFragment: []byte{0x88}}) // :status: 200
				time.Sleep(time.Second)                                                                                                // net/http closes it by itself if a stream is open
				f.WriteGoAway(id, xhttp2.ErrCodeNo, nil)
			}
		}
	}
}
