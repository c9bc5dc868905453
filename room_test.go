package idlewise

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// busily runs f while n callers send one request after the other.
func (w *world) busily(n int, f func(served *atomic.Int64)) {
	stop := make(chan struct{})
	var served atomic.Int64
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 7 * time.Millisecond)
			for {
				select {
				case <-stop:
					return
				default:
				}
				w.do(context.Background(), "GET", "/", "")
				served.Add(1)
			}
		})
	}
	time.Sleep(time.Second)
	served.Store(0)
	defer func() { // also if f gives up
		close(stop)
		wg.Wait()
	}()
	f(&served)
}

func TestAFreshConnectionComesInItsTurn(t *testing.T) {
	for _, conns := range []int{1, 2} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprint(protoName(h2), ", MaxConns ", conns), func(t *testing.T) {
				cfg := overTLS(h2, nil)
				cfg.client.Policies.Default.MaxConns = conns
				cfg.server.Faults = []faultserver.Fault{{Kind: faultserver.Delay, After: 20 * time.Millisecond}}
				inWorld(t, cfg, func(t *testing.T, w *world) {
					w.busily(5, func(served *atomic.Int64) {
						ctx, cancel := context.WithTimeout(WithFreshConn(t.Context()), time.Second)
						defer cancel()
						_, err := w.do(ctx, "GET", "/", "")
						require.NoError(t, err)
						require.Less(t, served.Load(), int64(15), "no more than were on their way, or before it")
						dials := w.dials.Load()
						time.Sleep(time.Second)
						require.Equal(t, dials, w.dials.Load())
					})
					if h2 {
						conns++ // one drains
					}
					require.LessOrEqual(t, w.most.Load(), int64(conns))
				})
			})
		}
	}
}

func TestSeveralFreshConnectionsTakeTheirTurnsInOrder(t *testing.T) {
	cfg := overTLS(false, nil)
	cfg.client.Policies.Default.MaxConns = 2
	cfg.server.Faults = []faultserver.Fault{{Kind: faultserver.Delay, After: 20 * time.Millisecond}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.busily(5, func(*atomic.Int64) {
			before := w.dials.Load()
			var wg sync.WaitGroup
			for range 6 {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(WithFreshConn(t.Context()), time.Second)
					defer cancel()
					_, err := w.do(ctx, "GET", "/", "")
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.LessOrEqual(t, w.dials.Load()-before, int64(6))
		})
		require.LessOrEqual(t, w.most.Load(), int64(2))
	})
}

func TestARetryGetsANewerConnectionThoughOthersKeepTheOldOneBusy(t *testing.T) {
	var once atomic.Bool
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" && once.CompareAndSwap(false, true) {
			<-r.Context().Done()
			return
		}
		time.Sleep(20 * time.Millisecond)
	})
	cfg := overTLS(true, nil)
	cfg.server.Handler = h
	cfg.client.Policies.Default = Policy{MaxConns: 1, Retry: Retry{Max: 1, PerTryTimeout: 500 * time.Millisecond}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.busily(3, func(*atomic.Int64) {
			_, err := w.do(t.Context(), "GET", "/slow", "")
			require.NoError(t, err)
		})
	})
}

// The old connection ends its streams beside the new one, and there is one of these at
// a time.
func TestAFreshConnectionDoesNotWaitForTheStreamsOfTheOldOne(t *testing.T) {
	inDrainWorld(t, Policy{MaxConns: 1}, 0, nil, func(t *testing.T, w *drainWorld) {
		fresh := func() <-chan error {
			done := make(chan error, 1)
			go func() {
				_, err := w.do(WithFreshConn(t.Context()), "GET", "/", "")
				done <- err
			}()
			return done
		}
		began := time.Now()
		first, err := w.tr.RoundTrip(request(t, "GET", w.url("/hold"), nil))
		require.NoError(t, err)
		defer first.Body.Close()
		time.Sleep(time.Second)
		require.NoError(t, <-fresh())
		require.Less(t, time.Since(began), 1100*time.Millisecond)
		w.requireConns(2, 1, 2)

		second, err := w.tr.RoundTrip(request(t, "GET", w.url("/hold"), nil))
		require.NoError(t, err)
		defer second.Body.Close()
		time.Sleep(time.Second)
		waits := fresh()
		for range 10 {
			time.Sleep(time.Second)
			w.soon()
		}
		require.Equal(t, 1, w.only().Waiting)
		w.requireConns(2, 1, 2)

		began = time.Now()
		first.Body.Close()
		require.NoError(t, <-waits)
		require.Less(t, time.Since(began), 100*time.Millisecond)
		synctest.Wait()
		w.requireConns(2, 1, 3)
		second.Body.Close()
		time.Sleep(10 * time.Millisecond)
		w.requireConns(1, 0, 3)
	})
}

// One is dialed for the caller, so that nothing has to make room.
func TestNoConnectionDrainsForACallerWhoseOwnHasCome(t *testing.T) {
	inDrainWorld(t, Policy{MaxConns: 2}, 0, nil, func(t *testing.T, w *drainWorld) {
		w.soon()
		end := w.hold("/hold")
		_, err := w.do(WithFreshConn(t.Context()), "GET", "/", "")
		require.NoError(t, err)
		time.Sleep(10 * time.Millisecond)
		w.requireConns(2, 0, 2)
		end()
	})
}

// A dial that hangs is its own caller's, and those of a newer one cannot even use it.
func TestNobodyWaitsForAHungDialWhereAnIdleConnectionCanMakeRoom(t *testing.T) {
	for _, apart := range []time.Duration{0, time.Millisecond} {
		t.Run(apart.String(), func(t *testing.T) {
			var h hungDial
			cfg := overTLS(true, h.on)
			cfg.client.Policies.Default.MaxConns = 2
			inWorld(t, cfg, func(t *testing.T, w *world) {
				w.mustDo("GET", "/", "")
				h.next.Store(1)
				ctx, cancel := context.WithTimeout(WithFreshConn(t.Context()), 10*time.Second)
				defer cancel()
				fresh := func() <-chan error {
					done := make(chan error, 1)
					go func() {
						_, err := w.do(ctx, "GET", "/", "")
						done <- err
					}()
					synctest.Wait()
					return done
				}
				time.Sleep(time.Second)
				first := fresh()
				time.Sleep(apart)
				began := time.Now()
				require.NoError(t, <-fresh())
				if apart == 0 {
					require.Less(t, time.Since(began), leastPatience+20*time.Millisecond)
				} else {
					require.Less(t, time.Since(began), 20*time.Millisecond)
				}
				require.LessOrEqual(t, w.most.Load(), int64(2))
				<-first
				w.tr.CloseIdleConnections()
			})
		})
	}
}
