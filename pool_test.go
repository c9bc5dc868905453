package idlewise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestTheNewestIdleConnectionIsUsedFirst(t *testing.T) {
	inWorld(t, worldConfig{gated: true}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { w.do(context.Background(), "GET", "/", "") })
			<-w.gate.arrived
		}
		for range 3 { // they become idle one after the other
			w.gate.open <- struct{}{}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		wg.Wait()
		p := &w.tr.registry.all()[0].pool
		newest := p.newest
		w.gate.open <- struct{}{}
		w.mustDo("GET", "/", "")
		require.Equal(t, 2, newest.uses)
		require.EqualValues(t, 3, w.dials.Load())
	})
}

func TestMaxConnsIsNeverExceededAndCallersAreServedInOrder(t *testing.T) {
	inWorld(t, worldConfig{
		latency: time.Millisecond,
		gated:   true,
		client:  Config{Policies: Policies{Default: Policy{MaxConns: 2}}},
	}, func(t *testing.T, w *world) {
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				_, err := w.do(context.Background(), "POST", fmt.Sprintf("/%d", i), "")
				mu.Lock()
				defer mu.Unlock()
				require.NoError(t, err)
				order = append(order, i)
			})
			synctest.Wait()
		}
		time.Sleep(time.Second)
		require.Equal(t, 8, w.only().Waiting)
		for range 10 {
			w.gate.open <- struct{}{}
			time.Sleep(time.Second)
		}
		wg.Wait()
		require.IsIncreasing(t, order[2:], "the first two were sent at the same time")
		require.EqualValues(t, 2, w.most.Load())
	})
}

func TestACallersContextEndsItsWaitForAConnection(t *testing.T) {
	inWorld(t, worldConfig{gated: true, client: Config{Policies: Policies{Default: Policy{MaxConns: 1}}}}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		wg.Go(func() { w.do(context.Background(), "GET", "/", "") })
		<-w.gate.arrived
		cause := errors.New("the caller's own reason")
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, cause)
		defer cancel()
		body := &watchedBody{Reader: http.NoBody}
		req, _ := http.NewRequestWithContext(ctx, "POST", w.url("/"), body)
		began := time.Now()
		_, err := w.tr.RoundTrip(req)
		require.ErrorIs(t, err, cause)
		require.Equal(t, time.Second, time.Since(began))
		require.EqualValues(t, 1, body.closed.Load())
		require.Zero(t, w.only().Waiting)
		w.gate.open <- struct{}{}
		wg.Wait()
	})
}

// A watchedBody counts how often it is closed.
type watchedBody struct {
	io.Reader
	closed atomic.Int64
}

func (b *watchedBody) Close() error { b.closed.Add(1); return nil }

func TestACanceledCallersDialServesTheNext(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Second}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		_, err := w.do(ctx, "GET", "/", "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(10 * time.Second)
		began := time.Now()
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 1, w.dials.Load())
		require.Equal(t, 2*time.Second, time.Since(began), "one round trip, and none for a dial")
	})
}

func TestAFreedConnectionOvertakesADial(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, gated: true}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		wg.Go(func() { w.do(context.Background(), "GET", "/", "") })
		<-w.gate.arrived
		w.net.SetLatency(10 * time.Second) // from now on dials take 20 s
		wg.Go(func() { w.do(context.Background(), "GET", "/", "") })
		synctest.Wait()
		require.Equal(t, 1, w.only().Dialing)
		w.net.SetLatency(time.Millisecond)
		w.gate.open <- struct{}{}
		<-w.gate.arrived // on the connection that was freed, long before the dial is through
		require.Equal(t, 1, w.only().Dialing)
		w.gate.open <- struct{}{}
		wg.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 2, w.only().Idle, "what was dialed is kept")
	})
}

func TestADialsErrorGoesToTheCallerItWasMadeFor(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		req, _ := http.NewRequest("GET", "http://10.0.0.99:80/", nil)
		_, err := w.tr.RoundTrip(req)
		var op *net.OpError
		require.ErrorAs(t, err, &op)
		require.Equal(t, "dial", op.Op)
		require.EqualValues(t, 1, w.tr.Stats().Total.DialErrors)
	})
}

func TestHTTP2CallersShareOneHandshake(t *testing.T) {
	inWorld(t, worldConfig{latency: 10 * time.Millisecond, server: faultserver.Config{TLS: true}}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := w.do(context.Background(), "GET", "/", "")
				require.NoError(t, err)
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, w.dials.Load())
		require.EqualValues(t, 100, w.only().Requests)
	})
}

func TestASecondHTTP2ConnectionIsOpenedWhenTheFirstIsFull(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, gated: true, server: faultserver.Config{TLS: true, MaxConcurrentStreams: 10}}, func(t *testing.T, w *world) {
		w.gate.open <- struct{}{}
		w.mustDo("GET", "/", "") // the server's settings are known after this
		<-w.gate.arrived
		var wg sync.WaitGroup
		for range 15 {
			wg.Go(func() {
				_, err := w.do(context.Background(), "GET", "/", "")
				require.NoError(t, err)
			})
		}
		for range 15 {
			<-w.gate.arrived
		}
		require.EqualValues(t, 2, w.dials.Load())
		for range 15 {
			w.gate.open <- struct{}{}
		}
		wg.Wait()
	})
}

func TestCallersWaitForAFreeStreamWhenMaxConnsIsReached(t *testing.T) {
	inWorld(t, worldConfig{
		latency: time.Millisecond,
		gated:   true, server: faultserver.Config{TLS: true, MaxConcurrentStreams: 10},
		client: Config{Policies: Policies{Default: Policy{MaxConns: 1}}},
	}, func(t *testing.T, w *world) {
		w.gate.open <- struct{}{}
		w.mustDo("GET", "/", "")
		<-w.gate.arrived
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				_, err := w.do(context.Background(), "POST", "/", "x")
				require.NoError(t, err)
			})
		}
		for range 200 {
			<-w.gate.arrived
			w.gate.open <- struct{}{}
		}
		wg.Wait()
		require.EqualValues(t, 1, w.dials.Load())
		require.Equal(t, 200, w.executions()-1)
	})
}

func TestIdleConnectionsBeyondTheLimitsAreClosedOldestFirst(t *testing.T) {
	for name, cfg := range map[string]Config{
		"of the upstream":  {Policies: Policies{Default: Policy{MaxIdleConns: 2}}},
		"of the transport": {MaxIdleConns: 2},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, worldConfig{gated: true, client: cfg}, func(t *testing.T, w *world) {
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() { w.do(context.Background(), "GET", "/", "") })
					<-w.gate.arrived
				}
				for range 5 {
					w.gate.open <- struct{}{}
				}
				wg.Wait()
				require.Equal(t, 3, w.closed(ClosedPoolFull))
				require.Equal(t, 2, w.only().Idle)
				require.EqualValues(t, 2, w.open.Load())
			})
		})
	}
}

func TestAFINOrRSTOnAnIdleConnectionIsNoticedAndCounted(t *testing.T) {
	for kind, reason := range map[faultserver.Kind]CloseReason{
		faultserver.IdleClose: ClosedServerFIN,
		faultserver.IdleReset: ClosedServerRST,
		faultserver.Idle408:   ClosedServerFIN,
	} {
		t.Run(kind.String(), func(t *testing.T) {
			inWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{Faults: []faultserver.Fault{{Kind: kind, After: time.Second, Times: 1}}}}, func(t *testing.T, w *world) {
				w.mustDo("POST", "/", "x")
				time.Sleep(2 * time.Second)
				require.Equal(t, 1, w.closed(reason), "%v", w.only().Closed)
				require.Zero(t, w.only().Idle)
				w.mustDo("POST", "/", "x")
				require.Zero(t, w.only().StaleOther)
			})
		})
	}
}

func TestBytesThatNobodyAskedForEndAConnection(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.IdleBytes, After: time.Second, Value: "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged", Times: 1}}}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/first", "")
		time.Sleep(2 * time.Second)
		require.Equal(t, 1, w.closed(ClosedUnexpectedData), "%v", w.only().Closed)
		require.NotContains(t, w.mustDo("GET", "/second", ""), "forged")
	})
}

// The surplus comes in one packet with a proper response, and the next
// request follows at once: net/http itself loses this race now and then.
func TestSurplusBytesNeverReachTheNextRequest(t *testing.T) {
	const forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
	inWorld(t, worldConfig{server: faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.SurplusBytes, Value: forged}}}}, func(t *testing.T, w *world) {
		for range 500 {
			s, err := w.do(context.Background(), "GET", "/", "")
			require.NoError(t, err)
			require.NotContains(t, s, "forged")
		}
	})
}

func TestAnIdleHTTP2ConnectionsGOAWAYIsNoticedBySweepAndCheckout(t *testing.T) {
	cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{TLS: true, Faults: []faultserver.Fault{{Kind: faultserver.IdleGoAway, After: 20 * time.Second, Times: 1}}}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("POST", "/", "x")
		time.Sleep(20*time.Second + 5*time.Millisecond)
		w.mustDo("POST", "/", "x")
		require.EqualValues(t, 2, w.dials.Load(), "checkout notices")
		require.Zero(t, w.only().StaleOther)
	})
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("POST", "/", "x")
		time.Sleep(31 * time.Second)
		synctest.Wait()
		require.Zero(t, w.only().Idle, "the sweep, every 9 s, notices: %v", w.only().Closed)
	})
}

func TestCloseIdleConnectionsSparesWhatIsInUse(t *testing.T) {
	inWorld(t, worldConfig{gated: true}, func(t *testing.T, w *world) {
		w.gate.open <- struct{}{}
		w.mustDo("GET", "/", "")
		<-w.gate.arrived
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := w.do(context.Background(), "POST", "/", "x")
			require.NoError(t, err)
		})
		<-w.gate.arrived
		wg.Go(func() { w.do(context.Background(), "GET", "/", "") })
		<-w.gate.arrived
		w.gate.open <- struct{}{}
		synctest.Wait()
		w.tr.CloseIdleConnections()
		synctest.Wait()
		require.EqualValues(t, 1, w.open.Load())
		w.gate.open <- struct{}{}
		wg.Wait()
	})
}

func TestShutdownWaitsForRunningRequestsAndRefusesNewOnes(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			inWorld(t, worldConfig{latency: time.Millisecond, gated: true, server: faultserver.Config{TLS: h2}}, func(t *testing.T, w *world) {
				var wg sync.WaitGroup
				wg.Go(func() {
					_, err := w.do(context.Background(), "POST", "/", "x")
					require.NoError(t, err)
				})
				<-w.gate.arrived
				done := make(chan error, 1)
				go func() { done <- w.tr.Shutdown(context.Background()) }()
				synctest.Wait()
				_, err := w.do(context.Background(), "GET", "/", "")
				require.ErrorIs(t, err, ErrClosed)
				require.Empty(t, done, "a request is running")
				w.gate.open <- struct{}{}
				wg.Wait()
				require.NoError(t, <-done)
				require.Zero(t, w.open.Load())
			})
		})
	}
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	inWorld(t, worldConfig{gated: true}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := w.do(context.Background(), "POST", "/", "x")
			require.ErrorIs(t, err, ErrClosed)
		})
		<-w.gate.arrived
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, w.tr.Shutdown(ctx), context.DeadlineExceeded)
		wg.Wait()
		require.NoError(t, w.tr.Close(), "closing again is no error")
	})
}

func TestMinIdleConnsAreKeptWhileTheUpstreamIsInUse(t *testing.T) {
	inWorld(t, worldConfig{client: Config{Policies: Policies{Default: Policy{MinIdleConns: 3, ServerKeepAlive: 10 * time.Second}}}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.mustDo("GET", "/", "")
		// Three besides the one in use, which joins them afterwards.
		require.Contains(t, []int{3, 4}, w.only().Idle)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Equal(t, 3, w.only().Idle, "those that were retired are replaced")
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.Zero(t, w.only().Idle, "90 s after the last request nothing is kept")
		require.Zero(t, w.open.Load())
	})
}

func TestRecordsOfUpstreamsNoLongerUsedAreDropped(t *testing.T) {
	inWorld(t, worldConfig{client: Config{MaxUpstreams: 16}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		for i := range 200 {
			req, _ := http.NewRequest("GET", fmt.Sprintf("http://10.1.0.%d/", i), nil)
			_, err := w.tr.RoundTrip(req)
			require.Error(t, err) // nobody listens there
		}
		s := w.tr.Stats()
		require.LessOrEqual(t, len(s.Upstreams), 16)
		require.EqualValues(t, 200, s.Total.DialErrors, "what was counted is not forgotten")
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 1, s.Total.Opened, "the one in use is kept, with its connection")
		require.LessOrEqual(t, len(w.tr.registry.spelled), 16*maxSpellings)
	})
}

func TestSpellingsOfAHostShareOneUpstream(t *testing.T) {
	tr, err := New(Config{})
	require.NoError(t, err)
	names := map[string]bool{}
	for _, u := range []string{"http://EXAMPLE.com/", "http://example.com:80/x", "HTTP://example.COM"} {
		names[tr.Explain(u).Upstream] = true
	}
	require.Equal(t, map[string]bool{"http://example.com:80": true}, names)
	require.Equal(t, "https://xn--bcher-kva.example:443", tr.Explain("https://Bücher.example/").Upstream)
}

// The dial of an HTTP/2 connection may be slower to come round to calling it idle
// than the caller it was made for is with its request.
func TestCloseIdleConnectionsClosesAConnectionThatWasJustDialed(t *testing.T) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	cfg := worldConfig{
		server: faultserver.Config{Protocols: protocols},
		base:   func(t *http.Transport) { t.Protocols = protocols },
	}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		p := &w.tr.registry.all()[0].pool
		p.mu.Lock()
		p.unidleLocked(p.shared[0])
		p.shared[0].held = true
		p.mu.Unlock()
		w.tr.CloseIdleConnections()
		require.Zero(t, w.only().Open)
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 2, w.dials.Load())
	})
}
