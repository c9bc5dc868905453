package idlewise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// Before the server's SETTINGS come, net/http believes in 100 streams. Those
// beyond the true limit are refused, or wait inside net/http.
func TestABurstBeyondTheServersStreamLimitIsServed(t *testing.T) {
	for _, maxConns := range []int{0, 1, 4} {
		t.Run(fmt.Sprint("MaxConns ", maxConns), func(t *testing.T) {
			inWorld(t, worldConfig{
				latency: time.Millisecond,
				server: faultserver.Config{TLS: true, MaxConcurrentStreams: 8,
					Faults: []faultserver.Fault{{Kind: faultserver.Delay, After: 5 * time.Millisecond}}},
				client: Config{Policies: Policies{Default: Policy{MaxConns: maxConns}}},
			}, func(t *testing.T, w *world) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				var wg sync.WaitGroup
				for i := range 64 {
					wg.Go(func() {
						_, err := w.do(ctx, "POST", fmt.Sprint("/", i), "x")
						assert.NoError(t, err)
					})
				}
				wg.Wait()
				w.server.Journal().AssertNoneExecutedTwice(t, "POST")
				if maxConns > 0 {
					require.LessOrEqual(t, w.most.Load(), int64(maxConns))
				}
				require.LessOrEqual(t, w.dials.Load(), int64(10), "no stampede")
			})
		})
	}
}

func TestARefusedStreamNeedsNoOtherConnection(t *testing.T) {
	cfg := faultserver.Config{TLS: true, Faults: []faultserver.Fault{{Kind: faultserver.ResetStream, Code: codeRefusedStream, Path: "/r", Times: 3}}}
	inWorld(t, worldConfig{latency: time.Millisecond, server: cfg, client: Config{Policies: Policies{Default: Policy{MaxConns: 1}}}}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := w.do(ctx, "POST", "/r", "pay")
		require.NoError(t, err)
		require.EqualValues(t, 1, w.dials.Load())
		require.EqualValues(t, 3, w.only().Resent[Refused])
		require.Equal(t, 1, w.executions())
	})
}

func TestStreamsOfADeadConnectionShareItsSuccessor(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, gated: true, server: faultserver.Config{TLS: true}}, func(t *testing.T, w *world) {
		w.gate.open <- struct{}{}
		w.mustDo("GET", "/", "")
		<-w.gate.arrived
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_, err := w.do(context.Background(), "GET", "/", "")
				assert.NoError(t, err)
			})
		}
		for range 50 {
			<-w.gate.arrived
		}
		w.server.Kill()
		for range 50 {
			<-w.gate.arrived
			w.gate.open <- struct{}{}
		}
		wg.Wait()
		require.EqualValues(t, 2, w.dials.Load())
		require.EqualValues(t, 50, w.only().Resent[Unknown])
	})
}

func TestDisableKeepAlivesGivesEachHTTP2RequestAConnection(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{TLS: true}, base: func(b *http.Transport) { b.DisableKeepAlives = true }}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 5 {
					_, err := w.do(context.Background(), "POST", "/", "x")
					assert.NoError(t, err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		require.Zero(t, w.only().Idle)
		require.EqualValues(t, 100, w.executions())
	})
}

func TestAStreamEndsThoughTheProgramNeverClosesItsBody(t *testing.T) {
	t.Run("a response without a body", func(t *testing.T) {
		inWorld(t, worldConfig{server: faultserver.Config{TLS: true}}, func(t *testing.T, w *world) {
			req, _ := http.NewRequest("HEAD", w.url("/"), nil)
			_, err := w.tr.RoundTrip(req)
			require.NoError(t, err)
			synctest.Wait()
			require.Equal(t, 1, w.only().Idle)
		})
	})
	t.Run("a context that ended", func(t *testing.T) {
		endless := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			io.WriteString(rw, "begun")
			http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		})
		inWorld(t, worldConfig{server: faultserver.Config{TLS: true, Handler: endless}}, func(t *testing.T, w *world) {
			ctx, cancel := context.WithCancel(context.Background())
			req, _ := http.NewRequestWithContext(ctx, "GET", w.url("/"), nil)
			resp, err := w.tr.RoundTrip(req)
			require.NoError(t, err)
			cancel()
			synctest.Wait()
			w.tr.CloseIdleConnections()
			synctest.Wait()
			require.Zero(t, w.open.Load())
			resp.Body.Close() // late, and without effect
			synctest.Wait()
			require.Zero(t, w.only().Open)
		})
	})
}

func TestTheIdleAgeOfASlowlyReadHTTP2ResponseCountsFromItsHeader(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{TLS: true}, client: Config{Policies: Policies{Default: Policy{ServerKeepAlive: 5 * time.Second}}}}, func(t *testing.T, w *world) {
		req, _ := http.NewRequest("GET", w.url("/"), nil)
		resp, err := w.tr.RoundTrip(req)
		require.NoError(t, err)
		time.Sleep(4 * time.Second)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		time.Sleep(750 * time.Millisecond)
		require.Equal(t, 1, w.closed(ClosedIdleDeadline), "4 s of reading count")
	})
}

func TestAWebSocketUpgradeGoesOverHTTP1(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(c, c)
		c.Close()
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	left := make(chan CloseReason, 3)
	tr, err := Wrap(srv.Client().Transport, Config{OnEvent: func(e Event) {
		if e, ok := e.(ConnectionClosed); ok {
			left <- e.Reason
		}
	}})
	require.NoError(t, err)
	defer tr.Close()
	for range 2 { // with and without a connection at hand
		req, _ := http.NewRequest("GET", srv.URL, nil)
		resp, err := tr.RoundTrip(req)
		require.NoError(t, err)
		require.Equal(t, 2, resp.ProtoMajor)
		resp.Body.Close()

		req.Header.Set("Connection", "keep-alive, Upgrade")
		req.Header.Set("Upgrade", "WebSocket")
		resp, err = tr.RoundTrip(req)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		rw := resp.Body.(io.ReadWriteCloser)
		io.WriteString(rw, "ping")
		echo := make([]byte, 4)
		_, err = io.ReadFull(rw, echo)
		require.NoError(t, err)
		require.Equal(t, "ping", string(echo))
		require.NoError(t, rw.Close())
		require.Equal(t, ClosedUpgraded, <-left) // net/http lets go of it on another goroutine
	}
	require.EqualValues(t, 2, tr.Stats().Total.Closed[ClosedUpgraded])
}

// The first dial hangs; its caller gives up. Nobody else may wait for it.
func TestAHungDialHoldsUpOnlyItsOwnCaller(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			inWorld(t, worldConfig{server: faultserver.Config{TLS: h2}, base: func(b *http.Transport) {
				dial := b.DialContext
				var dials atomic.Int64
				b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if dials.Add(1) == 1 {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					return dial(ctx, network, addr)
				}
			}}, func(t *testing.T, w *world) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				_, err := w.do(ctx, "GET", "/", "")
				require.ErrorIs(t, err, context.DeadlineExceeded)
				ctx, cancel = context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				_, err = w.do(ctx, "GET", "/", "")
				require.NoError(t, err)
				w.tr.CloseIdleConnections() // ends the dial
			})
		})
	}
}

func TestCloseIdleConnectionsCancelsNoDialThatACallerNeeds(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Second, server: faultserver.Config{TLS: true}}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_, err := w.do(ctx, "GET", "/", "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := w.do(context.Background(), "GET", "/", "")
			assert.NoError(t, err)
		})
		w.tr.CloseIdleConnections() // cancels the first caller's dial
		wg.Wait()
	})
}

func TestCallersThatNeedANewConnectionAreMadeRoomFor(t *testing.T) {
	limited := Config{Policies: Policies{Default: Policy{MaxConns: 1}}}
	t.Run("WithFreshConn", func(t *testing.T) {
		inWorld(t, worldConfig{latency: time.Millisecond, client: limited}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			began := time.Now()
			_, err := w.do(WithFreshConn(context.Background()), "GET", "/", "")
			require.NoError(t, err)
			require.Less(t, time.Since(began), time.Second)
			require.EqualValues(t, 1, w.most.Load())
		})
	})
	t.Run("a resend whose slot another caller got", func(t *testing.T) {
		cfg := faultserver.Config{Faults: []faultserver.Fault{
			{Kind: faultserver.Delay, Path: "/stale", Times: 1, After: 50 * time.Millisecond},
			{Kind: faultserver.FinAfterRequest, Path: "/stale", Times: 1},
		}}
		inWorld(t, worldConfig{latency: time.Millisecond, server: cfg, client: limited}, func(t *testing.T, w *world) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			w.mustDo("GET", "/", "")
			var wg sync.WaitGroup
			for _, path := range []string{"/stale", "/other"} {
				wg.Go(func() {
					_, err := w.do(ctx, "GET", path, "")
					assert.NoError(t, err, path)
				})
				time.Sleep(10 * time.Millisecond)
			}
			wg.Wait()
			require.EqualValues(t, 1, w.most.Load())
		})
	})
}

func TestABodyThatGetBodyCannotRemakeIsClosedOnce(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, server: onReuse(faultserver.FinAfterRequest)}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		lost := errors.New("the source is gone")
		body := &watchedBody{Reader: strings.NewReader("once")}
		req, _ := http.NewRequest("PUT", w.url("/"), body)
		req.GetBody = func() (io.ReadCloser, error) { return nil, lost }
		_, err := w.send(req)
		require.ErrorIs(t, err, lost)
		require.ErrorIs(t, err, io.EOF)
		require.EqualValues(t, 1, body.closed.Load())
	})
}

// What is dialed for a caller that waits is for it, whatever was closed
// meanwhile.
func TestCloseIdleConnectionsTakesNothingFromACallerThatWaits(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Second}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_, err := w.do(ctx, "GET", "/", "")
			assert.NoError(t, err)
		})
		time.Sleep(time.Millisecond)
		w.tr.CloseIdleConnections()
		wg.Wait()
		require.EqualValues(t, 1, w.dials.Load())
	})
}

func TestAConnectionThatWasNeverUsedIsRetiredAtItsMaximumAgeToo(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		inWorld(t, worldConfig{server: faultserver.Config{TLS: h2}, client: Config{Policies: Policies{Default: Policy{
			MaxConnAge: time.Minute, MaxIdleTime: time.Hour,
		}}}}, func(t *testing.T, w *world) {
			// A dial whose caller gave up brings a connection nobody uses.
			w.net.SetLatency(time.Second)
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			_, err := w.do(ctx, "GET", "/", "")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			time.Sleep(10 * time.Second)
			require.Equal(t, 1, w.only().Idle)
			time.Sleep(70 * time.Second)
			require.Equal(t, 1, w.closed(ClosedMaxAge))
			require.Zero(t, w.only().Open)
		})
	}
}
