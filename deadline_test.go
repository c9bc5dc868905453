package idlewise

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestAConnectionIsReusedUntilItsDeadlineAndNotAfter(t *testing.T) {
	inWorld(t, worldConfig{client: Config{Policies: Policies{Default: Policy{ServerKeepAlive: 5 * time.Second}}}}, func(t *testing.T, w *world) {
		limit := w.tr.Explain(w.url("/")).IdleLimit
		require.Equal(t, 4750*time.Millisecond, limit, "5 s less the automatic margin of 250 ms")

		w.mustDo("GET", "/", "")
		time.Sleep(limit - time.Millisecond)
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 1, w.dials.Load(), "a millisecond before the deadline it is reused")

		time.Sleep(limit)
		synctest.Wait()
		require.Equal(t, 1, w.closed(ClosedIdleDeadline), "at the deadline it is closed by the timer")
		require.Zero(t, w.open.Load())
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 2, w.dials.Load())
	})
}

func TestNoTimerRunsWhileNothingIsIdle(t *testing.T) {
	inWorld(t, worldConfig{client: Config{Policies: Policies{Default: Policy{ServerKeepAlive: 5 * time.Second}}}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		p := &w.tr.registry.all()[0].pool
		p.mu.Lock()
		require.False(t, p.timerAt.IsZero(), "a connection is idle")
		p.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		p.mu.Lock()
		require.True(t, p.timerAt.IsZero(), "nothing is idle any more")
		p.mu.Unlock()
	})
}

func TestTheServersAnnouncementSetsTheDeadline(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{KeepAlive: "timeout=5, max=100", IdleTimeout: 5 * time.Second}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		e := w.tr.Explain(w.url("/"))
		require.Equal(t, DeadlineHint, e.Source)
		require.Equal(t, 4750*time.Millisecond, e.IdleLimit)
		for range 50 {
			time.Sleep(4749 * time.Millisecond)
			w.mustDo("POST", "/", "x")
		}
		require.EqualValues(t, 1, w.dials.Load())
		for range 50 {
			time.Sleep(4999 * time.Millisecond)
			w.mustDo("POST", "/", "x")
		}
		require.Zero(t, w.only().StaleOther, "no POST met a connection that was closed")
		require.Equal(t, 50, w.closed(ClosedIdleDeadline))
	})
}

func TestExplainRemembersTheAnnouncementWhileNoConnectionIsIdle(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{KeepAlive: "timeout=7"}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.tr.CloseIdleConnections()
		e := w.tr.Explain(w.server.URL)
		require.Equal(t, 7*time.Second, e.ServerKeepAlive)
		require.Equal(t, DeadlineHint, e.Source)
	})
}

func TestTheAnnouncementIsNotBelievedIfThePolicySaysSo(t *testing.T) {
	inWorld(t, worldConfig{
		server: faultserver.Config{KeepAlive: "timeout=5"},
		client: Config{Policies: Policies{Default: Policy{Hint: Off}}},
	}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		require.Equal(t, DeadlineMaxIdleTime, w.tr.Explain(w.url("/")).Source)
	})
}

func TestTheConfiguredKeepAliveWinsOverTheAnnouncedOne(t *testing.T) {
	inWorld(t, worldConfig{
		server: faultserver.Config{KeepAlive: "timeout=60"},
		client: Config{Policies: Policies{Default: Policy{ServerKeepAlive: 2 * time.Second}}},
	}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		e := w.tr.Explain(w.url("/"))
		require.Equal(t, DeadlineConfigured, e.Source)
		require.Equal(t, 1750*time.Millisecond, e.IdleLimit)
	})
}

func TestTheMarginGrowsWithTheRoundTrip(t *testing.T) {
	inWorld(t, worldConfig{
		latency: 400 * time.Millisecond,
		server:  faultserver.Config{IdleTimeout: 5 * time.Second},
		client:  Config{Policies: Policies{Default: Policy{ServerKeepAlive: 5 * time.Second}}},
	}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		// The connection knows its round trip only if the dialer reports it
		// by httptrace, as net.Dialer does; this network does not.
		w.tr.registry.all()[0].pool.first.rtt = 800 * time.Millisecond
		w.mustDo("GET", "/", "")
		require.Equal(t, 5*time.Second-1010*time.Millisecond, w.tr.Explain(w.url("/")).IdleLimit)
	})
}

func TestAConnectionWhoseMarginReachesItsDeadlineIsNotReused(t *testing.T) {
	inWorld(t, worldConfig{
		client: Config{Policies: Policies{Default: Policy{ServerKeepAlive: 8 * time.Millisecond}}},
	}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 2, w.dials.Load())
		require.Equal(t, 2, w.closed(ClosedIdleDeadline))
	})
}

// A body that is read slowly brings a connection back when the server has
// long begun to count.
func TestTheIdleAgeOfASlowlyReadResponseCountsFromItsHeader(t *testing.T) {
	inWorld(t, worldConfig{client: Config{Policies: Policies{Default: Policy{ServerKeepAlive: 5 * time.Second}}}}, func(t *testing.T, w *world) {
		req, _ := http.NewRequest("GET", w.url("/"), nil)
		resp, err := w.tr.RoundTrip(req)
		require.NoError(t, err)
		time.Sleep(4 * time.Second)
		buf := make([]byte, 1000)
		for err == nil {
			_, err = resp.Body.Read(buf)
		}
		resp.Body.Close()
		synctest.Wait()
		time.Sleep(750 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 1, w.closed(ClosedIdleDeadline), "4 s of reading count")
	})
}

// A suspended machine stops the monotonic clock: what counts is which clock
// says more.
func TestTheWallClockCountsToo(t *testing.T) {
	since := time.Now()
	resumed := time.Unix(0, since.Add(time.Hour).UnixNano()) // no monotonic reading
	require.InDelta(t, time.Hour, elapsed(since, resumed), float64(time.Second))
	setBack := since.Add(time.Second)
	require.Equal(t, time.Second, elapsed(since, setBack))
}

func TestMaxConnAgeEndsConnectionsAtCheckoutAtReturnAndByTheSweep(t *testing.T) {
	policy := Policy{MaxConnAge: time.Minute, MaxIdleTime: time.Hour}
	t.Run("by the sweep", func(t *testing.T) {
		inWorld(t, worldConfig{client: Config{Policies: Policies{Default: policy}}}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			time.Sleep(54*time.Second - time.Millisecond) // the jitter is at most 10 %
			require.EqualValues(t, 1, w.open.Load())
			time.Sleep(12*time.Second + 10*time.Millisecond)
			require.Equal(t, 1, w.closed(ClosedMaxAge))
			require.Zero(t, w.open.Load())
		})
	})
	t.Run("at return", func(t *testing.T) {
		slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(2 * time.Minute) })
		inWorld(t, worldConfig{server: faultserver.Config{Handler: slow}, client: Config{Policies: Policies{Default: policy}}}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			require.Equal(t, 1, w.closed(ClosedMaxAge))
			require.Zero(t, w.only().Idle)
		})
	})
	t.Run("at checkout", func(t *testing.T) {
		inWorld(t, worldConfig{client: Config{Policies: Policies{Default: policy}}}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			p := &w.tr.registry.all()[0].pool
			p.mu.Lock()
			p.timer.Stop() // as if the sweep were late
			p.mu.Unlock()
			time.Sleep(67 * time.Second)
			w.mustDo("GET", "/", "")
			require.EqualValues(t, 2, w.dials.Load())
			require.Equal(t, 1, w.closed(ClosedMaxAge))
		})
	})
}

func TestMaxRequestsPerConnEndsConnections(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			inWorld(t, worldConfig{server: faultserver.Config{TLS: h2}, client: Config{Policies: Policies{Default: Policy{MaxRequestsPerConn: 3}}}}, func(t *testing.T, w *world) {
				for range 9 {
					w.mustDo("GET", "/", "")
				}
				require.EqualValues(t, 3, w.dials.Load())
				require.Equal(t, 3, w.closed(ClosedMaxRequests))
			})
		})
	}
}

func TestTheServersLastRequestIsTheLast(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{KeepAlive: "timeout=5, max=0"}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 2, w.dials.Load())
		require.Equal(t, 2, w.closed(ClosedMaxRequests))
	})
}

func TestConnectionCloseAndHTTP10EndConnections(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{MaxRequestsPerConn: 1}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 2, w.dials.Load())
		require.Equal(t, 2, w.closed(ClosedConnectionClose))
	})
}

func TestElicitHintAsksHTTP1ServersForTheirTimeout(t *testing.T) {
	var got atomic.Value
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.Store(r.Header.Get("Connection")) })
	inWorld(t, worldConfig{server: faultserver.Config{Handler: h}, client: Config{Policies: Policies{Default: Policy{ElicitHint: On}}}}, func(t *testing.T, w *world) {
		req, _ := http.NewRequestWithContext(context.Background(), "GET", w.url("/"), nil)
		_, err := w.send(req)
		require.NoError(t, err)
		require.Equal(t, "keep-alive", got.Load())
		require.Empty(t, req.Header, "the request is not modified")
	})
}

func TestElicitHintAsksNothingOfAConnectionThatIsToEnd(t *testing.T) {
	for name, base := range map[string]func(*http.Transport){
		"Request.Close":     nil,
		"DisableKeepAlives": func(b *http.Transport) { b.DisableKeepAlives = true },
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header["Connection"] })
			inWorld(t, worldConfig{server: faultserver.Config{Handler: h}, base: base, client: Config{Policies: Policies{Default: Policy{ElicitHint: On}}}}, func(t *testing.T, w *world) {
				req := request(t, "GET", w.url("/"), nil)
				req.Close = base == nil
				_, err := w.send(req)
				require.NoError(t, err)
				require.Equal(t, []string{"close"}, got)
			})
		})
	}
}

func protoName(h2 bool) string {
	if h2 {
		return "HTTP/2"
	}
	return "HTTP/1"
}
