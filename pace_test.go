package idlewise

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// A dialLog remembers when dials began.
type dialLog struct {
	mu    sync.Mutex
	times []time.Duration
	began time.Time
}

func (l *dialLog) on(b *http.Transport) {
	l.began = time.Now()
	dial := b.DialContext
	b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		l.mu.Lock()
		l.times = append(l.times, time.Since(l.began))
		l.mu.Unlock()
		return dial(ctx, network, addr)
	}
}

func (l *dialLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.times)
}

// most is the highest number of dials in any second.
func (l *dialLog) most() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.times)
	most := 0
	for i := range l.times {
		n := 0
		for _, at := range l.times[i:] {
			if at < l.times[i]+time.Second {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func TestASingleFailedDialSlowsNothingDown(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond}, func(t *testing.T, w *world) {
		w.refuse.Store(1)
		began := time.Now()
		_, err := w.do(t.Context(), "GET", "/", "")
		require.ErrorIs(t, err, errRefused)
		w.mustDo("GET", "/", "")
		require.Equal(t, 4*time.Millisecond, time.Since(began), "the handshake and the answer")
		require.Zero(t, w.only().DialWaits)
	})
}

func TestDialsWaitFromTheSecondFailureOnUntilOneSucceeds(t *testing.T) {
	slowly := func(b *http.Transport) {
		dial := b.DialContext
		b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			time.Sleep(time.Microsecond)
			return dial(ctx, network, addr)
		}
	}
	inWorld(t, worldConfig{base: slowly}, func(t *testing.T, w *world) {
		const failures = 100
		w.refuse.Store(failures)
		var waits []time.Duration
		for range failures {
			time.Sleep(time.Microsecond) // one dial after the other
			began := time.Now()
			_, err := w.do(t.Context(), "GET", "/", "")
			require.ErrorIs(t, err, errRefused)
			waits = append(waits, time.Since(began)-time.Microsecond)
		}
		require.Zero(t, waits[0])
		require.Zero(t, waits[1])
		for i, wait := range waits[2:] {
			require.Less(t, wait, min(maxDialBackoff, dialBackoff<<min(i, 10)), "dial %d", i+3)
		}
		require.Greater(t, slices.Max(waits[10:]), maxDialBackoff/2, "full jitter")
		require.Less(t, slices.Min(waits[10:]), maxDialBackoff/2)
		w.mustDo("GET", "/", "")
		w.tr.CloseIdleConnections()
		began := time.Now()
		w.mustDo("GET", "/", "")
		require.Equal(t, time.Microsecond, time.Since(began), "it is well again")
		require.EqualValues(t, failures-2+1, w.only().DialWaits)
	})
}

func TestADialThatWaitsForTwoReasonsIsCountedOnce(t *testing.T) {
	inWorld(t, worldConfig{client: Config{Policies: Policies{Default: Policy{DialRate: 0.01, DialBurst: 2}}}}, func(t *testing.T, w *world) {
		w.refuse.Store(3)
		for range 3 {
			time.Sleep(time.Microsecond) // one dial after the other
			began := time.Now()
			_, err := w.do(t.Context(), "GET", "/", "")
			require.ErrorIs(t, err, errRefused)
			if time.Since(began) > 0 {
				require.Greater(t, time.Since(began), maxDialBackoff, "for DialRate")
			}
		}
		require.EqualValues(t, 1, w.only().DialWaits)
	})
}

func TestCallersThatWantFreshConnectionsShareADialThatIsHeldBack(t *testing.T) {
	h2c := func(b *http.Transport) { b.Protocols = protocols(true) }
	inWorld(t, worldConfig{base: h2c, server: faultserver.Config{Protocols: protocols(true)}}, func(t *testing.T, w *world) {
		w.refuse.Store(1 << 30)
		began := time.Now()
		var callers sync.WaitGroup
		for n := range 5 {
			callers.Go(func() {
				for time.Since(began) < time.Minute {
					w.do(WithFreshConn(t.Context()), "GET", "/", "")
					time.Sleep(time.Duration(20+7*n) * time.Millisecond)
				}
			})
		}
		callers.Wait()
		// One at a time, each after half a second on average.
		require.Less(t, w.only().DialErrors, uint64(240))
	})
}

func TestDialsThatFailTogetherCountAsOneFailure(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		w.refuse.Store(50)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { w.do(t.Context(), "GET", "/", "") })
		}
		wg.Wait()
		began := time.Now()
		w.mustDo("GET", "/", "")
		require.Zero(t, time.Since(began))
	})
}

func TestAWaitForADialEndsWithTheContext(t *testing.T) {
	inWorld(t, worldConfig{client: Config{Policies: Policies{Default: Policy{DialRate: 0.001}}}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(time.Millisecond)
		ctx, cancel := context.WithTimeout(WithFreshConn(t.Context()), time.Second)
		defer cancel()
		began := time.Now()
		_, err := w.do(ctx, "GET", "/", "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))
		synctest.Wait()
		require.Zero(t, w.only().Dialing, "what nobody waits for is not dialed")
		require.Equal(t, 1, w.only().Open)
	})
}

func TestAThousandCallersWhoseServerComesBackDialAsPermitted(t *testing.T) {
	const callers, perSecond = 1000, 100
	var log dialLog
	inWorld(t, worldConfig{
		latency: time.Millisecond,
		client:  Config{MaxIdleConns: -1, Policies: Policies{Default: Policy{DialRate: perSecond, DialBurst: 10, MaxIdleConns: -1}}},
		server:  faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.Delay, After: 20 * time.Second}}},
		base:    log.on,
	}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var waits []time.Duration
		for range callers {
			wg.Go(func() {
				began := time.Now()
				_, err := w.do(t.Context(), "POST", "/", "body")
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				waits = append(waits, time.Since(began)-20*time.Second)
			})
		}
		wg.Wait()
		require.Len(t, waits, callers)
		require.Len(t, log.times, callers)
		// A turn may be taken late by as much as the next one's.
		require.LessOrEqual(t, log.most(), perSecond+10+1)
		slices.Sort(waits)
		t.Logf("p99 of the wait %v, at most %d dials a second", waits[callers*99/100], log.most())
		require.Less(t, waits[callers-1], 12*time.Second)
	})
}

func TestDialRatesThatMeanNothingAreRefused(t *testing.T) {
	for want, p := range map[string]Policy{
		"Default.DialRate: NaN is no number of dials a second":  {DialRate: math.NaN()},
		"Default.DialRate: +Inf is no number of dials a second": {DialRate: math.Inf(1)},
		"Default.DialBurst: 5 is set without a DialRate":        {DialBurst: 5},
		"Default.DialBurst: 5 is set without a DialRate, which": {DialBurst: 5, DialRate: -1},
	} {
		_, err := New(Config{Policies: Policies{Default: p}})
		require.ErrorContains(t, err, want)
	}
	p := Policy{DialRate: 2.5}
	require.Equal(t, 3, p.dialBurst())
	p = Policy{DialRate: math.MaxFloat64}
	require.Equal(t, math.MaxInt32, p.dialBurst())
	require.NotEmpty(t, fmt.Sprint(p))
}

// A server is restarted under 2,500 callers that wait for its answers, and for two
// seconds its machine answers nothing.
func TestTheCallersOfARestartedServerAreServedAsFastAsDialsArePermitted(t *testing.T) {
	const callers, perSecond, down = 2500, 500, 2 * time.Second
	var restarting atomic.Bool
	var up chan struct{} // made in the bubble
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" && !restarting.Load() {
			<-r.Context().Done()
		}
	})
	inWorld(t, worldConfig{
		latency: time.Millisecond,
		client:  Config{MaxIdleConns: -1, Policies: Policies{Default: Policy{DialRate: perSecond, DialBurst: 50, MaxIdleConns: -1}}},
		server:  faultserver.Config{Handler: h},
		base: func(b *http.Transport) {
			dial := b.DialContext
			b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if restarting.Load() {
					select {
					case <-up:
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
				return dial(ctx, network, addr)
			}
		},
	}, func(t *testing.T, w *world) {
		up = make(chan struct{})
		var all sync.WaitGroup
		var mu sync.Mutex
		var waits []time.Duration
		var restart time.Time
		for range callers {
			all.Go(func() {
				_, err := w.do(t.Context(), "GET", "/slow", "")
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				waits = append(waits, time.Since(restart))
			})
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		require.EqualValues(t, callers, w.only().Open)
		restarting.Store(true)
		restart = time.Now()
		dials := w.dials.Load()
		w.server.Kill()
		time.Sleep(down)
		require.LessOrEqual(t, w.only().Dialing, callers)
		close(up)
		all.Wait()
		slices.Sort(waits)
		took := time.Since(restart)
		t.Logf("served after p50 %v, p99 %v, last %v; %d dials", waits[callers/2], waits[callers*99/100], waits[callers-1], w.dials.Load()-dials)
		require.Less(t, w.dials.Load()-dials, int64(50+perSecond*(took.Seconds()+1)))
		require.Less(t, waits[callers-1], down+callers*time.Second/perSecond+time.Second)
	})
}

// Five times as many callers as there may be dials, each of which waits for a second
// at most, and then fewer: those who gave up take nothing from the others.
func TestCallersWhoGaveUpAreNotCountedAgainstTheDialRate(t *testing.T) {
	const perSecond, crowd, few = 10, 50, 2
	cfg := worldConfig{
		latency: time.Millisecond,
		server: faultserver.Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
		})},
		client: Config{Policies: Policies{Default: Policy{DialRate: perSecond}}},
	}
	var log dialLog
	cfg.base = log.on
	inWorld(t, cfg, func(t *testing.T, w *world) {
		var all sync.WaitGroup
		var answered atomic.Int64
		send := func(callers, seconds int) {
			for range callers * seconds {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					if _, err := w.do(ctx, "GET", "/", ""); err == nil {
						answered.Add(1)
					}
				})
				time.Sleep(time.Second / time.Duration(callers))
			}
			all.Wait()
		}
		send(crowd, 20)
		require.InDelta(t, 20*perSecond+perSecond, log.count(), perSecond+1, "the rate is used")
		require.Greater(t, answered.Load(), int64(15*perSecond))
		require.LessOrEqual(t, log.most(), 2*perSecond+1)
		answered.Store(0)
		send(few, 10)
		require.EqualValues(t, few*10, answered.Load())
	})
}

func TestDialsThatWaitKeepToTheDialRateThatComesIntoForce(t *testing.T) {
	const low = 0.001 // seventeen minutes
	for name, c := range map[string]struct {
		from, to Policy
		within   time.Duration
	}{
		"off":           {Policy{DialRate: low}, Policy{DialRate: -1}, 10 * time.Millisecond},
		"higher":        {Policy{DialRate: low}, Policy{DialRate: 10}, 1200 * time.Millisecond},
		"into a group":  {Policy{DialRate: low}, Policy{Group: "x"}, 10 * time.Millisecond},
		"out of one":    {Policy{DialRate: low, Group: "x"}, Policy{DialRate: 100}, 200 * time.Millisecond},
		"a group's own": {Policy{DialRate: low, Group: "x"}, Policy{Group: "x"}, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, worldConfig{latency: time.Millisecond, client: Config{Policies: Policies{Default: c.from}}}, func(t *testing.T, w *world) {
				w.mustDo("GET", "/", "")
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() {
						if _, err := w.do(WithFreshConn(t.Context()), "GET", "/", ""); err != nil {
							t.Error(err)
						}
					})
				}
				time.Sleep(time.Second)
				synctest.Wait()
				require.EqualValues(t, 1, w.dials.Load())
				w.setDefault(c.to)
				began := time.Now()
				all.Wait()
				require.LessOrEqual(t, time.Since(began), c.within)
			})
		})
	}
}

func TestADialRateIsNeverTooLowToHold(t *testing.T) {
	for _, rate := range []float64{1e-6, 1e-9, 1.2e-10, 1.1e-10, 1e-12, math.SmallestNonzeroFloat64} {
		inWorld(t, worldConfig{client: Config{Policies: Policies{Default: Policy{DialRate: rate}}}}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			time.Sleep(time.Millisecond)
			ctx, cancel := context.WithTimeout(WithFreshConn(t.Context()), 24*time.Hour)
			defer cancel()
			_, err := w.do(ctx, "GET", "/", "")
			require.ErrorIs(t, err, context.DeadlineExceeded, "a rate of %v", rate)
		})
	}
}

func TestThousandsOfDialsThatWaitLeaveWithTheirCallers(t *testing.T) {
	const callers = 2000
	inWorld(t, worldConfig{client: Config{Policies: Policies{Default: Policy{DialRate: 1}}}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(time.Millisecond)
		ctx, cancel := context.WithCancel(WithFreshConn(t.Context()))
		var all sync.WaitGroup
		for range callers {
			all.Go(func() { w.do(ctx, "GET", "/", "") })
		}
		synctest.Wait()
		require.Equal(t, callers, w.only().Dialing)
		cancel()
		all.Wait()
		synctest.Wait()
		require.Zero(t, w.only().Dialing)
		began := time.Now()
		_, err := w.do(WithFreshConn(t.Context()), "GET", "/", "")
		require.NoError(t, err)
		require.Less(t, time.Since(began), 2*time.Second)
	})
}
