package idlewise

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// together sends n requests at once.
func (w *world) together(n int) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := w.do(context.Background(), "POST", "/", "x"); err != nil {
				w.Error(err)
			}
		})
	}
	wg.Wait()
	synctest.Wait()
}

func slowAnswers(after time.Duration) faultserver.Config {
	return faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.Delay, After: after}}}
}

func TestWarmOpensWhatIsMissingForTheRequestsToCome(t *testing.T) {
	inWorld(t, worldConfig{latency: 10 * time.Millisecond, server: slowAnswers(time.Second)}, func(t *testing.T, w *world) {
		require.NoError(t, w.tr.Warm(t.Context(), w.url("/a?b"), 2))
		require.Equal(t, 2, w.only().Idle)
		require.NoError(t, w.tr.Warm(t.Context(), w.url("/c"), 5))
		require.NoError(t, w.tr.Warm(t.Context(), w.url("/c"), 4), "they are ready already")
		require.Equal(t, 5, w.only().Idle)
		w.together(5)
		s := w.only()
		require.EqualValues(t, 5, w.dials.Load())
		require.Zero(t, s.Waits, "no request waited for a connection")
		require.EqualValues(t, 5, s.Warmed)
		require.EqualValues(t, 5, s.Opened)
		require.EqualValues(t, 5, w.executions(), "Warm sends no request")
		require.Zero(t, s.InFlight)
	})
}

func TestCallsOfWarmAtTheSameTimeShareTheirDials(t *testing.T) {
	inWorld(t, worldConfig{latency: 10 * time.Millisecond}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := w.tr.Warm(t.Context(), w.url("/"), 4); err != nil {
					t.Error(err)
				}
				if idle := w.only().Idle; idle != 4 {
					t.Error("idle:", idle)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 4, w.dials.Load())
	})
}

func TestWarmOpensOneHTTP2Connection(t *testing.T) {
	cfg := worldConfig{latency: 10 * time.Millisecond, server: slowAnswers(time.Second)}
	cfg.server.TLS = true
	inWorld(t, cfg, func(t *testing.T, w *world) {
		for range 2 {
			require.NoError(t, w.tr.Warm(t.Context(), w.url("/"), 8))
		}
		w.together(8)
		require.Zero(t, w.only().Waits)
		require.EqualValues(t, 1, w.dials.Load())
	})
}

// As long as nothing is known of the server, its first connection shows what it
// speaks.
func TestWarmOpensAllWhereHTTP2WasPossibleAndIsNotSpoken(t *testing.T) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	server := faultserver.Config{TLS: true, Protocols: protocols}
	inWorld(t, worldConfig{latency: 10 * time.Millisecond, server: server}, func(t *testing.T, w *world) {
		require.NoError(t, w.tr.Warm(t.Context(), w.url("/"), 3))
		require.Equal(t, 3, w.only().Idle)
	})
}

func TestWarmSaysWhatIsWrong(t *testing.T) {
	cfg := Config{MaxIdleConns: 20, Policies: Policies{
		Default:   Policy{MaxConns: 10},
		Upstreams: map[string]Policy{"late.example": {ServerKeepAlive: time.Second, IdleMargin: 900 * time.Millisecond}},
	}}
	inWorld(t, worldConfig{client: cfg}, func(t *testing.T, w *world) {
		for _, c := range []struct {
			url  string
			n    int
			want []string
		}{
			{w.url("/"), 0, []string{"n is 0; give the number of connections"}},
			{"ftp://host/", -1, []string{`the URL's scheme is "ftp"; begin it with http:// or https://`, "n is -1"}},
			{"http://:80/", 1, []string{"the URL names no host"}},
			{"http://a b/", 1, []string{"the URL is invalid"}},
			{w.url("/"), 11, []string{"Policy.MaxConns: 10 allows no 11 connections to http://10.0.0.1:80; raise it, or lower n"}},
			{w.url("/"), 1001, []string{"Policy.MaxConns: 10", "Policy.MaxIdleConns: 100 allows no 1001 idle", "Config.MaxIdleConns: 20 allows no 1001"}},
		} {
			err := w.tr.Warm(t.Context(), c.url, c.n)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		}
		require.Zero(t, w.dials.Load())
	})
}

func TestWarmOpensNothingThatCouldNotBeKept(t *testing.T) {
	inWorld(t, fiveSeconds(Config{Policies: Policies{Default: Policy{IdleMargin: 10 * time.Second}}}), func(t *testing.T, w *world) {
		for range 3 {
			w.mustDo("GET", "/", "")
			w.mustDo("GET", "/", "")
			time.Sleep(6 * time.Second)
			synctest.Wait()
		}
		dials := w.dials.Load()
		require.ErrorContains(t, w.tr.Warm(t.Context(), w.url("/"), 1), "Policy.IdleMargin: 10s leaves nothing of the 5s")
		require.Equal(t, dials, w.dials.Load())
	})
}

func TestWarmTellsHowManyDialsFailed(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond}, func(t *testing.T, w *world) {
		w.refuse.Store(3)
		err := w.tr.Warm(t.Context(), w.url("/"), 5)
		require.EqualError(t, err, "idlewise: Warm: of the 5 connections to http://10.0.0.1:80 that were to be ready 2 were opened: refused by the test")
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, 2, w.only().Idle, "what was opened stays")
	})
}

func TestWarmFindsNoRoomBesideConnectionsInUse(t *testing.T) {
	client := Config{Policies: Policies{Default: Policy{MaxConns: 3}}}
	inWorld(t, worldConfig{gated: true, client: client}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { w.do(context.Background(), "GET", "/", "") })
		}
		<-w.gate.arrived
		<-w.gate.arrived
		err := w.tr.Warm(t.Context(), w.url("/"), 3)
		require.ErrorContains(t, err, "1 were opened: Policy.MaxConns, 3, leaves no room for 2 more beside those in use")
		require.Equal(t, 1, w.only().Idle)
		w.gate.open <- struct{}{}
		w.gate.open <- struct{}{}
		wg.Wait()
		require.EqualValues(t, 3, w.most.Load())
	})
}

func TestWarmKeepsTheDialRateAndEndsWithItsContext(t *testing.T) {
	var log dialLog
	client := Config{Policies: Policies{Default: Policy{DialRate: 1, DialBurst: 2}}}
	inWorld(t, worldConfig{client: client, base: log.on}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		err := w.tr.Warm(ctx, w.url("/"), 20)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(began))
		synctest.Wait()
		require.Zero(t, w.only().Dialing, "what nobody waits for is not dialed")
		require.InDelta(t, 6, log.count(), 1)
		require.Equal(t, w.only().Idle, log.count())
		require.ErrorIs(t, w.tr.Warm(ctx, w.url("/"), 1), context.DeadlineExceeded)
	})
}

func TestADialThatAnotherCallOfWarmWaitsForIsNotGivenUp(t *testing.T) {
	client := Config{Policies: Policies{Default: Policy{DialRate: 0.1, DialBurst: 1}}}
	inWorld(t, worldConfig{client: client}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := w.tr.Warm(ctx, w.url("/"), 2); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		synctest.Wait()
		require.NoError(t, w.tr.Warm(t.Context(), w.url("/"), 2))
		wg.Wait()
		require.EqualValues(t, 2, w.dials.Load())
	})
}

func TestWarmEndsWithTheTransport(t *testing.T) {
	for name, end := range map[string]func(*Transport) error{
		"Close":    (*Transport).Close,
		"Shutdown": func(t *Transport) error { return t.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, worldConfig{latency: time.Second}, func(t *testing.T, w *world) {
				var wg sync.WaitGroup
				wg.Go(func() {
					if err := w.tr.Warm(context.Background(), w.url("/"), 3); err != ErrClosed {
						t.Error(err)
					}
				})
				synctest.Wait()
				require.Equal(t, 3, w.only().Dialing)
				require.NoError(t, end(w.tr))
				wg.Wait()
				require.Equal(t, ErrClosed, w.tr.Warm(context.Background(), w.url("/"), 3))
			})
		})
	}
}

func TestWarmDoesNothingWithPassthrough(t *testing.T) {
	inWorld(t, worldConfig{client: Config{Passthrough: true}}, func(t *testing.T, w *world) {
		require.NoError(t, w.tr.Warm(t.Context(), w.url("/"), 3))
		require.Zero(t, w.dials.Load())
		require.Empty(t, w.tr.Stats().Upstreams)
	})
}

func TestWarmAsksTheProxyFunction(t *testing.T) {
	var asked []string
	answer := &url.URL{Scheme: "http", Host: "10.0.0.9:3128"}
	var problem error
	base := func(b *http.Transport) {
		b.Proxy = func(r *http.Request) (*url.URL, error) {
			asked = append(asked, r.Method+" "+r.URL.String())
			return answer, problem
		}
	}
	inWorld(t, worldConfig{base: base}, func(t *testing.T, w *world) {
		err := w.tr.Warm(t.Context(), w.url("/path"), 2)
		require.Equal(t, []string{"GET " + w.url("/path")}, asked)
		var op *net.OpError
		require.ErrorAs(t, err, &op, "nobody listens at the proxy's address")
		require.ErrorContains(t, err, "http://* via http://10.0.0.9:3128")
		problem = errors.New("no idea")
		require.ErrorIs(t, w.tr.Warm(t.Context(), w.url("/path"), 2), problem)
	})
}

func TestWarmConnectionsThatNobodyUsesIdleOut(t *testing.T) {
	client := Config{Policies: Policies{Default: Policy{ServerKeepAlive: 10 * time.Second}}}
	inWorld(t, worldConfig{client: client}, func(t *testing.T, w *world) {
		require.NoError(t, w.tr.Warm(t.Context(), w.url("/"), 3))
		time.Sleep(9700 * time.Millisecond)
		require.Equal(t, 3, w.only().Idle)
		time.Sleep(300 * time.Millisecond)
		require.Equal(t, 3, w.closed(ClosedIdleDeadline))
		require.Zero(t, w.open.Load())
		time.Sleep(5 * time.Minute)
		require.EqualValues(t, 3, w.dials.Load(), "Warm opens them once")
	})
}

func TestWarmAfterCloseIdleConnectionsKeepsWhatItOpens(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.tr.CloseIdleConnections()
		require.NoError(t, w.tr.Warm(t.Context(), w.url("/"), 2))
		synctest.Wait()
		require.Equal(t, 2, w.only().Idle)
	})
}

func TestWarmBeginsTheUseInWhichMinIdleConnsAreKept(t *testing.T) {
	client := Config{Policies: Policies{Default: Policy{ServerKeepAlive: 10 * time.Second, MinIdleConns: 2}}}
	inWorld(t, worldConfig{client: client}, func(t *testing.T, w *world) {
		require.NoError(t, w.tr.Warm(t.Context(), w.url("/"), 1))
		time.Sleep(60 * time.Second)
		require.Equal(t, 2, w.only().Idle)
		time.Sleep(5 * time.Minute)
		require.Zero(t, w.only().Idle)
	})
}

func TestACanaryMakesWayForWarm(t *testing.T) {
	for name, server := range map[string]faultserver.Config{
		"HTTP":  {Personality: "node"},
		"HTTPS": {Personality: "node", TLS: true, Protocols: protocols(false)},
	} {
		t.Run(name, func(t *testing.T) {
			client := Config{Policies: Policies{Default: Policy{MaxConns: 3}}}
			inWorld(t, worldConfig{latency: time.Millisecond, server: server, client: client}, func(t *testing.T, w *world) {
				w.mustDo("GET", "/", "")
				time.Sleep(4900 * time.Millisecond) // the deadline has passed, and node closes at 6 s
				synctest.Wait()
				require.Equal(t, 1, w.only().Canaries)
				require.NoError(t, w.tr.Warm(t.Context(), w.url("/"), 2))
				require.Equal(t, 1, w.only().Canaries, "there was room for both")
				require.NoError(t, w.tr.Warm(t.Context(), w.url("/"), 3))
				require.Zero(t, w.only().Canaries)
				require.Equal(t, 3, w.only().Idle)
				require.EqualValues(t, 3, w.most.Load())
			})
		})
	}
}
