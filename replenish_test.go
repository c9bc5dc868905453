package idlewise

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// leastIdle looks every 10 ms for d, and returns how few connections ever
// were idle.
func (w *world) leastIdle(d time.Duration) int {
	least := w.only().Idle
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		least = min(least, w.only().Idle)
	}
	return least
}

func keepingWarm(p Policy) Config { return Config{Policies: Policies{Default: p}} }

func TestAtNoInstantAreFewerThanMinIdleConnsReady(t *testing.T) {
	for name, p := range map[string]Policy{
		"idle deadline": {MinIdleConns: 3, ServerKeepAlive: 10 * time.Second},
		"age":           {MinIdleConns: 3, MaxConnAge: 10 * time.Second},
		"short":         {MinIdleConns: 3, ServerKeepAlive: 1500 * time.Millisecond},
		"no more":       {MinIdleConns: 3, MaxIdleConns: 3, ServerKeepAlive: 10 * time.Second},
		"just room":     {MinIdleConns: 3, MaxConns: 7, ServerKeepAlive: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, worldConfig{latency: 100 * time.Millisecond, client: keepingWarm(p)}, func(t *testing.T, w *world) {
				w.mustDo("GET", "/", "")
				require.NoError(t, w.tr.Warm(t.Context(), w.url("/"), 3))
				dials := int(w.dials.Load())
				require.GreaterOrEqual(t, w.leastIdle(60*time.Second), 3)
				life := earliestEnd(p)
				require.LessOrEqual(t, int(w.dials.Load())-dials, int(3*60*time.Second/(life*8/10)), "each is replaced once")
			})
		})
	}
}

// earliestEnd is after how long a connection that nobody uses is retired.
func earliestEnd(p Policy) time.Duration {
	if p.MaxConnAge > 0 {
		return p.MaxConnAge * 9 / 10
	}
	return p.ServerKeepAlive - p.ServerKeepAlive/5
}

func TestWithoutRoomASuccessorIsDialedOnceTheOldOneIsClosed(t *testing.T) {
	p := Policy{MinIdleConns: 3, MaxConns: 3, ServerKeepAlive: 10 * time.Second}
	inWorld(t, worldConfig{latency: 100 * time.Millisecond, client: keepingWarm(p)}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		require.NoError(t, w.tr.Warm(t.Context(), w.url("/"), 3))
		for range 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			require.Positive(t, w.only().Idle+w.only().Dialing)
		}
		time.Sleep(500 * time.Millisecond)
		require.Equal(t, 3, w.only().Idle)
		require.EqualValues(t, 3, w.most.Load())
	})
}

func TestConnectionsThatTheServerClosesAreReplacedWithoutARequest(t *testing.T) {
	inWorld(t, worldConfig{client: keepingWarm(Policy{MinIdleConns: 2})}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.GreaterOrEqual(t, w.only().Idle, 2)
		dials := w.dials.Load()
		w.server.Restart()
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 2, w.only().Idle)
		require.Equal(t, dials+2, w.dials.Load())
	})
}

func TestWarmConnectionsThatCannotLastAreNotDialedWithoutAPause(t *testing.T) {
	hangingUp := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.AcceptReset}}}
	for name, cfg := range map[string]worldConfig{
		"MaxConnAge is shorter than a dial": {latency: 20 * time.Millisecond, client: keepingWarm(Policy{MinIdleConns: 2, MaxConnAge: 10 * time.Millisecond})},
		"the server hangs up":               {server: hangingUp, client: keepingWarm(Policy{MinIdleConns: 2})},
	} {
		t.Run(name, func(t *testing.T) {
			var log dialLog
			cfg.base = log.on
			inWorld(t, cfg, func(t *testing.T, w *world) {
				w.tr.Warm(t.Context(), w.url("/"), 1)
				time.Sleep(60 * time.Second)
				synctest.Wait()
				require.InDelta(t, 120, log.count(), 15, "in a minute, for each of the two")
				require.LessOrEqual(t, log.most(), 4)
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				require.Less(t, log.count(), 200, "not once the upstream is out of use")
			})
		})
	}
}

func TestAServerThatIsDownIsAskedOnceASecondForWarmConnections(t *testing.T) {
	var log dialLog
	inWorld(t, worldConfig{client: keepingWarm(Policy{MinIdleConns: 5, Learning: Off}), base: log.on}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(2 * time.Second)
		before := log.count()
		w.refuse.Store(30)
		w.server.Restart()
		time.Sleep(20 * time.Second)
		require.InDelta(t, before+5+13, log.count(), 7, "five at once, then one after the other")
		time.Sleep(40 * time.Second)
		require.Equal(t, 5, w.only().Idle, "the server is back")
		require.Zero(t, w.only().Waiting)
	})
}

func TestNoHTTP2RequestWaitsForTheSuccessorOfAWarmConnection(t *testing.T) {
	cfg := worldConfig{latency: 20 * time.Millisecond, client: keepingWarm(Policy{MinIdleConns: 1, MaxConnAge: 10 * time.Second})}
	cfg.server.TLS = true
	inWorld(t, cfg, func(t *testing.T, w *world) {
		require.NoError(t, w.tr.Warm(t.Context(), w.url("/"), 1))
		var wg sync.WaitGroup
		for range 4 { // at every moment a stream is open
			wg.Go(func() {
				for end := time.Now().Add(time.Minute); time.Now().Before(end); {
					if _, err := w.do(context.Background(), "POST", "/", "x"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		require.Zero(t, w.only().Waits)
		require.InDelta(t, 6, w.dials.Load(), 1)
	})
}

func TestNoRequestOfABusyUpstreamWaitsForTheSuccessorOfAConnectionThatGetsOld(t *testing.T) {
	for _, tls := range []bool{false, true} {
		cfg := worldConfig{latency: 20 * time.Millisecond, client: keepingWarm(Policy{MaxConnAge: time.Minute})}
		cfg.server.TLS = tls
		inWorld(t, cfg, func(t *testing.T, w *world) {
			for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(time.Second) {
				w.mustDo("POST", "/", "x")
			}
			require.EqualValues(t, 1, w.only().Waits, "the first")
			require.InDelta(t, 11, w.dials.Load(), 2, "one in 49 to 61 s")
			require.EqualValues(t, 1, w.only().Opened-w.only().Warmed)
			require.LessOrEqual(t, w.most.Load(), int64(2))
		})
	}
}

func TestNoSuccessorIsDialedWhereNoRequestCameLatelyOrAYoungerConnectionIsThere(t *testing.T) {
	inWorld(t, worldConfig{latency: 20 * time.Millisecond, client: keepingWarm(Policy{MaxConnAge: time.Minute})}, func(t *testing.T, w *world) {
		w.mustDo("POST", "/", "x")
		time.Sleep(40 * time.Second)
		w.mustDo("POST", "/", "x")
		time.Sleep(10 * time.Minute)
		require.EqualValues(t, 1, w.dials.Load())
	})
	slow := worldConfig{latency: 20 * time.Millisecond, server: slowAnswers(100 * time.Millisecond), client: keepingWarm(Policy{MaxConnAge: time.Minute})}
	inWorld(t, slow, func(t *testing.T, w *world) {
		w.mustDo("POST", "/", "x")
		time.Sleep(30 * time.Second)
		w.together(2)
		for range 29 {
			time.Sleep(time.Second)
			w.mustDo("POST", "/", "x")
		}
		require.Zero(t, w.only().Warmed, "the younger one is there")
	})
}

func TestNothingIsDialedInAdvanceAfterCloseIdleConnections(t *testing.T) {
	inWorld(t, worldConfig{client: keepingWarm(Policy{MinIdleConns: 2})}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(2 * time.Second)
		dials := w.dials.Load()
		w.tr.CloseIdleConnections()
		require.NoError(t, w.tr.SetPolicies(Policies{Default: Policy{MinIdleConns: 3}}))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, dials, w.dials.Load())
	})
}

// Two upstreams want more than the Transport may have idle: neither is to dial
// what costs the other a connection.
func TestWarmConnectionsOfSeveralUpstreamsDoNotDriveEachOtherOut(t *testing.T) {
	client := Config{MaxIdleConns: 8, Policies: Policies{Default: Policy{MinIdleConns: 6}}}
	inWorld(t, worldConfig{latency: time.Millisecond, client: client}, func(t *testing.T, w *world) {
		other, err := w.net.Listen("10.0.0.2:80")
		require.NoError(t, err)
		server := &http.Server{Handler: http.NotFoundHandler()}
		go server.Serve(other)
		defer server.Close()
		both := func() {
			w.mustDo("GET", "/", "")
			req, _ := http.NewRequest("GET", "http://10.0.0.2/", nil)
			_, err = w.send(req)
			require.NoError(t, err)
		}
		both()
		time.Sleep(3 * time.Second)
		dials := w.dials.Load()
		for range 60 {
			both()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		require.LessOrEqual(t, w.dials.Load()-dials, int64(6))
	})
}

// A server that is not well is left alone, but for what its callers want.
func TestNoConnectionIsMadeReadyUntilTheBreakerIsClosed(t *testing.T) {
	h := &scripted{f: func(n int, w http.ResponseWriter, _ *http.Request) {
		switch n {
		case 2:
			w.WriteHeader(500)
		case 3:
			time.Sleep(10 * time.Second)
		}
	}}
	p := Policy{
		MinIdleConns: 3, ServerKeepAlive: 10 * time.Second,
		Breaker: &Breaker{Settings: gobreaker.Settings{Timeout: 30 * time.Second, ReadyToTrip: tripAtOnce}, Statuses: []int{500}},
	}
	inWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: h}, client: keepingWarm(p)}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(time.Second)
		require.GreaterOrEqual(t, w.only().Idle, 3)
		w.mustDo("GET", "/", "")
		require.Equal(t, "open", w.breaker())
		dials := w.dials.Load()
		time.Sleep(30*time.Second + 1)
		require.Equal(t, dials, w.dials.Load())
		require.Zero(t, w.only().Idle)
		time.AfterFunc(9*time.Second, func() {
			require.Equal(t, "half-open", w.breaker())
			require.Equal(t, dials+1, w.dials.Load(), "the trial's")
		})
		w.mustDo("GET", "/", "")
		require.Equal(t, "closed", w.breaker())
		time.Sleep(2 * time.Second)
		require.GreaterOrEqual(t, w.only().Idle, 3)
	})
}

func TestNoCanaryIsKeptWhereMinIdleConnsNeedTheRoom(t *testing.T) {
	// A canary would be watched for 15 s, three times what is announced.
	announces := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Keep-Alive", "timeout=5") })
	cfg := worldConfig{latency: 10 * time.Millisecond, server: faultserver.Config{Handler: announces}, client: keepingWarm(Policy{MaxConns: 2, MinIdleConns: 2})}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		require.NoError(t, w.tr.Warm(t.Context(), w.url("/"), 2))
		const looks = 6000
		short := 0
		for range looks {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			if w.only().Idle < 2 {
				short++
			}
		}
		require.Less(t, short, looks/50, "only while the successor of one that was closed is dialed")
		require.EqualValues(t, 2, w.most.Load())
	})
}

func TestACanaryMakesWayForMinIdleConns(t *testing.T) {
	cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{Personality: "node"}, client: keepingWarm(Policy{MaxConns: 1})}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(4900 * time.Millisecond) // the deadline has passed, and node closes at 6 s
		synctest.Wait()
		require.Equal(t, 1, w.only().Canaries)
		w.setDefault(Policy{MaxConns: 1, MinIdleConns: 1})
		time.Sleep(100 * time.Millisecond)
		require.Zero(t, w.only().Canaries)
		require.Equal(t, 1, w.only().Idle)
		require.EqualValues(t, 1, w.most.Load())
	})
}
