package idlewise

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func (w *world) setDefault(p Policy) {
	w.Helper()
	require.NoError(w, w.tr.SetPolicies(Policies{Default: p}))
}

// gets sends n requests at once and lets the gate answer them.
func (w *world) gets(n int) (done *sync.WaitGroup) {
	done = new(sync.WaitGroup)
	for range n {
		done.Go(func() {
			if _, err := w.do(context.Background(), "GET", "/", ""); err != nil {
				w.Error(err)
			}
		})
	}
	synctest.Wait()
	return done
}

func (w *world) open1(n int) {
	for range n {
		w.gate.open <- struct{}{}
	}
	synctest.Wait()
}

func TestPoliciesThatDoNotValidateChangeNothing(t *testing.T) {
	inWorld(t, worldConfig{client: Config{Policies: Policies{Default: Policy{MaxConns: 7}}}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		err := w.tr.SetPolicies(Policies{
			Default:   Policy{MaxConns: 3, MaxIdleTime: 5},
			Upstreams: map[string]Policy{"a b": {}},
		})
		require.ErrorContains(t, err, "Policies.Default.MaxIdleTime")
		require.ErrorContains(t, err, `Policies.Upstreams["a b"]`)
		require.Equal(t, 7, w.tr.Explain(w.url("/")).Policy.MaxConns)
		require.Equal(t, 7, w.tr.Policies().Default.MaxConns)
		require.Equal(t, 1, w.only().Idle)
	})
}

func TestPoliciesReturnsWhatWasGiven(t *testing.T) {
	given := Policies{Default: Policy{MaxConns: 3}, Upstreams: map[string]Policy{"example.com": {MaxConns: 2}}}
	tr, err := New(Config{Policies: given})
	require.NoError(t, err)
	require.Equal(t, given, tr.Policies())
	given.Upstreams["other"] = Policy{} // the caller's map
	delete(tr.Policies().Upstreams, "example.com")
	require.Len(t, tr.Policies().Upstreams, 1)
	require.Equal(t, 2, tr.Explain("http://example.com/").Policy.MaxConns)
	require.NoError(t, tr.SetPolicies(Policies{}))
	require.Equal(t, -1, tr.Explain("http://example.com/").Policy.MaxConns)
	require.Equal(t, Policies{}, new(Transport).Policies())
}

func TestALoweredMaxConnsHoldsWithinOneCheckout(t *testing.T) {
	inWorld(t, worldConfig{gated: true}, func(t *testing.T, w *world) {
		first := w.gets(6)
		second := w.gets(2)
		w.open1(4)
		require.Equal(t, 8, w.only().Open)
		require.Equal(t, 4, w.only().Idle)
		w.setDefault(Policy{MaxConns: 3})
		synctest.Wait()
		require.Equal(t, 4, w.only().Open, "the idle ones are closed")
		third := w.gets(3)
		require.EqualValues(t, 4, w.open.Load(), "nothing is opened beyond it")
		w.open1(100)
		first.Wait()
		second.Wait()
		third.Wait()
		synctest.Wait()
		require.LessOrEqual(t, w.only().Open, 3, "the busy one too many was closed when it was through")
		require.NotZero(t, w.closed(ClosedPoolFull))
	})
}

func TestLoweredLimitsCloseNoMoreThanIsTooMuch(t *testing.T) {
	for name, c := range map[string]struct {
		lowered Policy
		left    int
	}{
		"both":         {Policy{MaxConns: 5, MaxIdleConns: 5}, 5},
		"MaxConns":     {Policy{MaxConns: 4, MaxIdleConns: 7}, 4},
		"MaxIdleConns": {Policy{MaxConns: 7, MaxIdleConns: 4}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			withIdle(t, 10, func(t *testing.T, w *world) {
				w.setDefault(c.lowered)
				require.Equal(t, c.left, w.only().Idle)
				require.EqualValues(t, c.left, w.open.Load())
			})
		})
	}
}

// withIdle runs f in a world in which n connections are idle.
func withIdle(t *testing.T, n int, f func(*testing.T, *world)) {
	inWorld(t, worldConfig{gated: true}, func(t *testing.T, w *world) {
		all := w.gets(n)
		w.open1(n)
		all.Wait()
		synctest.Wait()
		require.Equal(t, n, w.only().Idle)
		f(t, w)
	})
}

// As over TLS, which closes in the background.
func TestConnectionsThatAreBeingClosedAreNotClosedASecondTimeForALoweredMaxConns(t *testing.T) {
	withIdle(t, 10, func(t *testing.T, w *world) {
		p := &w.tr.registry.all()[0].pool
		var doomed doomedList
		p.mu.Lock()
		for range 4 {
			p.removeLocked(p.oldest, ClosedPoolFull, &doomed)
		}
		p.mu.Unlock()
		w.setDefault(Policy{MaxConns: 5})
		require.Equal(t, 5, w.only().Idle)
		doomed.shut()
		require.EqualValues(t, 5, w.open.Load())
	})
}

func TestOfBusyConnectionsThatComeBackTogetherAsManyStayAsALoweredMaxConnsPermits(t *testing.T) {
	withIdle(t, 10, func(t *testing.T, w *world) {
		p := &w.tr.registry.all()[0].pool
		var doomed doomedList
		p.mu.Lock()
		for p.newest != nil {
			p.useLocked(p.newest)
		}
		p.mu.Unlock()
		w.setDefault(Policy{MaxConns: 6})
		p.mu.Lock()
		for c := p.first; c != nil; {
			next := c.newer
			p.keepLocked(c, time.Now(), &doomed)
			c = next
		}
		p.mu.Unlock()
		require.Equal(t, 6, w.only().Idle)
		doomed.shut()
		require.EqualValues(t, 6, w.open.Load())
	})
}

func TestARaisedMaxConnsLetsThoseInWhoWait(t *testing.T) {
	inWorld(t, worldConfig{gated: true, client: Config{Policies: Policies{Default: Policy{MaxConns: 1}}}}, func(t *testing.T, w *world) {
		all := w.gets(5)
		require.EqualValues(t, 1, w.open.Load())
		w.setDefault(Policy{MaxConns: 4})
		synctest.Wait()
		require.EqualValues(t, 4, w.open.Load())
		w.open1(5)
		all.Wait()
	})
}

func TestNewLimitsHoldForConnectionsThatAreIdle(t *testing.T) {
	for name, c := range map[string]struct {
		policy Policy
		after  time.Duration
		reason CloseReason
	}{
		"MaxIdleTime":     {Policy{MaxIdleTime: 20 * time.Second}, 20 * time.Second, ClosedIdleDeadline},
		"ServerKeepAlive": {Policy{ServerKeepAlive: 20 * time.Second, IdleMargin: time.Second}, 19 * time.Second, ClosedIdleDeadline},
		"MaxConnAge":      {Policy{MaxConnAge: 30 * time.Second}, 33 * time.Second, ClosedMaxAge},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
				w.mustDo("GET", "/", "")
				time.Sleep(time.Second)
				w.setDefault(c.policy)
				time.Sleep(c.after - time.Second + 10*time.Millisecond)
				require.Equal(t, 1, w.closed(c.reason))
			})
		})
	}
	inWorld(t, worldConfig{gated: true}, func(t *testing.T, w *world) {
		all := w.gets(5)
		w.open1(5)
		all.Wait()
		w.setDefault(Policy{MaxIdleConns: 2})
		require.Equal(t, 3, w.closed(ClosedPoolFull))
		w.setDefault(Policy{MinIdleConns: 4})
		synctest.Wait()
		require.Equal(t, 4, w.only().Idle, "kept ready at once")
	})
}

func TestANewMaxConnAgeHoldsForAConnectionThatIsBeingDialed(t *testing.T) {
	inWorld(t, worldConfig{latency: 50 * time.Millisecond}, func(t *testing.T, w *world) {
		done := make(chan error, 1)
		go func() {
			_, err := w.do(context.Background(), "GET", "/", "")
			done <- err
		}()
		time.Sleep(time.Millisecond)
		require.Equal(t, 1, w.only().Dialing)
		w.setDefault(Policy{MaxConnAge: time.Second})
		require.NoError(t, <-done)
		time.Sleep(1100 * time.Millisecond)
		require.Equal(t, 1, w.closed(ClosedMaxAge))
	})
}

func TestAnAnnouncementIsBelievedFromWhenThePolicySaysSo(t *testing.T) {
	for announced, why := range map[string]CloseReason{"timeout=1": ClosedIdleDeadline, "max=0": ClosedMaxRequests} {
		t.Run(announced, func(t *testing.T) {
			inWorld(t, worldConfig{
				server: faultserver.Config{KeepAlive: announced},
				client: Config{Policies: Policies{Default: Policy{Hint: Off, Canary: Off}}},
			}, func(t *testing.T, w *world) {
				w.mustDo("GET", "/", "")
				time.Sleep(2 * time.Second)
				w.mustDo("GET", "/", "")
				require.EqualValues(t, 1, w.only().Opened, "it is not believed")

				w.setDefault(Policy{Canary: Off})
				time.Sleep(2 * time.Second)
				w.mustDo("GET", "/", "")
				require.EqualValues(t, 2, w.only().Opened, "it is, though it came before")
				require.NotZero(t, w.closed(why))
			})
		})
	}
}

func TestAnAnnouncementIsBelievedUntilThePolicySaysOtherwise(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{KeepAlive: "timeout=1"}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.setDefault(Policy{Hint: Off})
		time.Sleep(2 * time.Second)
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 1, w.only().Opened)
	})
}

func TestWhatWasLearnedOutlivesAPolicy(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{IdleTimeout: 5 * time.Second}}, func(t *testing.T, w *world) {
		for range 2 {
			w.mustDo("GET", "/", "")
			time.Sleep(10 * time.Second)
		}
		before := w.tr.Explain(w.url("/"))
		require.NotZero(t, before.ServerKeepAlive)
		counted := w.only().Counters
		w.setDefault(Policy{MaxConns: 5})
		after := w.tr.Explain(w.url("/"))
		require.Equal(t, before.ServerKeepAlive, after.ServerKeepAlive)
		require.Equal(t, before.Source, after.Source)
		require.Equal(t, 5, after.Policy.MaxConns)
		require.Equal(t, counted, w.only().Counters)
	})
}

func TestAnotherPatternCanComeIntoForce(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		require.Empty(t, w.only().Pattern)
		require.NoError(t, w.tr.SetPolicies(Policies{Upstreams: map[string]Policy{"10.0.0.1": {MaxConns: 2}}}))
		require.Equal(t, "10.0.0.1", w.only().Pattern)
		require.Equal(t, 2, w.tr.Explain(w.url("/")).Policy.MaxConns)
	})
}

func TestPoliciesReplacedUnderLoadLoseNothing(t *testing.T) {
	const callers = 32
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			s := faultserver.Start(t, faultserver.Config{Protocols: protocols(h2)})
			tr, err := New(Config{Base: &http.Transport{Protocols: protocols(h2)}})
			require.NoError(t, err)
			stop := make(chan struct{})
			var sent atomic.Int64
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						req, err := http.NewRequest("POST", s.URL, strings.NewReader("body"))
						if err != nil {
							t.Error(err)
							return
						}
						resp, err := tr.RoundTrip(keyed(req, int(sent.Add(1))))
						if err != nil {
							t.Errorf("request: %v", err)
							return
						}
						resp.Body.Close()
					}
				})
			}
			const times = 100
			for i := range times {
				for before := sent.Load(); sent.Load() < before+callers && !t.Failed(); {
					runtime.Gosched() // some requests are to see the last ones
				}
				require.NoError(t, tr.SetPolicies(Policies{Default: Policy{
					MaxConns:     []int{1, 4, 64, -1}[i%4],
					MaxIdleConns: []int{1, 100, 7}[i%3],
					MaxConnAge:   []time.Duration{0, 20 * time.Millisecond}[i%2],
					MinIdleConns: []int{0, 1}[i%2],
					DialRate:     []float64{-1, 2000}[i%2],
				}}))
			}
			close(stop)
			wg.Wait()
			require.NoError(t, tr.Shutdown(t.Context()))
			s.Journal().AssertNoneExecutedTwice(t, "POST")
			require.Zero(t, tr.Stats().Upstreams[0].Open)
			t.Logf("%d requests under %d policies, %d connections", sent.Load(), times, tr.Stats().Total.Opened)
		})
	}
}

func TestPoliciesReplacedAHundredTimesASecondLoseNothing(t *testing.T) {
	const callers, rate, lasts = 6, 100, 10 * time.Second
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{Protocols: protocols(h2), Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				time.Sleep(time.Millisecond)
			})}}
			cfg.base = func(b *http.Transport) { b.Protocols = protocols(h2) }
			inWorld(t, cfg, func(t *testing.T, w *world) {
				began := time.Now()
				var sent atomic.Int64
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						for time.Since(began) < lasts {
							sent.Add(1)
							if _, err := w.do(t.Context(), "POST", "/", "body"); err != nil {
								t.Errorf("request: %v", err)
								return
							}
						}
					})
				}
				limits := []int{1, 4, 64, -1}
				for i := 0; time.Since(began) < lasts; i++ {
					require.NoError(t, w.tr.SetPolicies(Policies{Default: Policy{
						MaxConns:     limits[i%4],
						MaxIdleConns: []int{1, 100, 7}[i%3],
						MaxConnAge:   []time.Duration{0, 20 * time.Millisecond}[i%2],
						MinIdleConns: []int{0, 1}[i%2],
						Retry:        []Retry{{}, {Max: 2, PerTryTimeout: time.Second}}[i%2],
						Breaker:      []*Breaker{nil, {Statuses: []int{500}}, NoBreaker}[i%3],
					}}))
					time.Sleep(time.Second / rate)
					synctest.Wait()
					if limit := limits[i%4]; limit > 0 && !h2 {
						// Ten milliseconds are two requests: each connection was checked
						// out or given back since, and what was too much is gone.
						require.LessOrEqual(t, w.only().Open, limit)
					}
				}
				all.Wait()
				t.Logf("%d requests on %d connections", sent.Load(), w.only().Opened)
			})
		})
	}
}
