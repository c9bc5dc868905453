package idlewise

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// A diary is what OnEvent was told.
type diary struct {
	mu  sync.Mutex
	all []Event
}

func (d *diary) note(e Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, e)
}

// told returns the events of one kind so far.
func told[E Event](d *diary) (out []E) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.all {
		if e, ok := e.(E); ok {
			out = append(out, e)
		}
	}
	return out
}

// inToldWorld is inWorld with a diary.
func inToldWorld(t *testing.T, cfg worldConfig, f func(t *testing.T, w *world, d *diary)) {
	t.Helper()
	d := &diary{}
	cfg.client.OnEvent = d.note
	inWorld(t, cfg, func(t *testing.T, w *world) { f(t, w, d) })
}

// What ends connections, and the reason that is to be counted.
var endings = []struct {
	fault  faultserver.Fault
	reason CloseReason
	h2     bool
}{
	{fault: faultserver.Fault{Kind: faultserver.IdleClose, After: 5 * time.Second}, reason: ClosedServerFIN},
	{fault: faultserver.Fault{Kind: faultserver.IdleReset, After: 5 * time.Second}, reason: ClosedServerRST},
	{fault: faultserver.Fault{Kind: faultserver.Idle408, After: 5 * time.Second}, reason: ClosedServerFIN}, // net/http takes it for a close
	{fault: faultserver.Fault{Kind: faultserver.SurplusBytes, Value: "x", Probability: 0.3}, reason: ClosedUnexpectedData},
	{fault: faultserver.Fault{Kind: faultserver.CloseOnReuse, Probability: 0.3}, reason: ClosedStaleOnUse},
	{fault: faultserver.Fault{Kind: faultserver.FinAfterRequest, ReusedOnly: true, Probability: 0.3}, reason: ClosedStaleOnUse},
	{fault: faultserver.Fault{Kind: faultserver.RstAfterRequest, ReusedOnly: true, Executed: true, Probability: 0.3}, reason: ClosedStaleOnUse},
	{fault: faultserver.Fault{Kind: faultserver.AnnounceClose, Probability: 0.3}, reason: ClosedConnectionClose},
	{fault: faultserver.Fault{Kind: faultserver.CloseAfterRequests, Requests: 3, Announced: true}, reason: ClosedConnectionClose},
	{fault: faultserver.Fault{Kind: faultserver.CloseInBody, Probability: 0.3}, reason: ClosedFailed},
	{fault: faultserver.Fault{Kind: faultserver.CloseInHeaders, Probability: 0.3}, reason: ClosedFailed},
	{fault: faultserver.Fault{Kind: faultserver.GoAway, Probability: 0.3}, reason: ClosedGoAway, h2: true},
	{fault: faultserver.Fault{Kind: faultserver.IdleGoAway, After: 5 * time.Second}, reason: ClosedServerFIN, h2: true}, // the FIN that follows at once is what is seen
}

func TestEveryConnectionThatAFaultEndsIsCountedByItsReason(t *testing.T) {
	for _, c := range endings {
		t.Run(fmt.Sprintf("%v/%v", c.fault.Kind, c.reason), func(t *testing.T) {
			cfg := worldConfig{
				latency: time.Millisecond,
				server:  faultserver.Config{Faults: []faultserver.Fault{c.fault}, Seed: 7, Protocols: protocols(c.h2)},
				client:  Config{Policies: Policies{Default: Policy{Learning: Off}}},
				base:    func(b *http.Transport) { b.Protocols = protocols(c.h2) },
			}
			inToldWorld(t, cfg, func(t *testing.T, w *world, d *diary) {
				rng := rand.New(rand.NewPCG(1, 2))
				failed := 0
				for i := range 200 {
					method := []string{"GET", "POST"}[i%2]
					if _, err := w.do(context.Background(), method, "/", ""); err != nil {
						failed++
					}
					time.Sleep(time.Duration(rng.Int64N(int64(8 * time.Second))))
				}
				w.tr.CloseIdleConnections()
				time.Sleep(time.Second)
				synctest.Wait()

				hit := make(map[int64]bool) // of some faults the consequence is the client's to draw
				for _, r := range w.server.Journal().Requests() {
					hit[r.Conn] = hit[r.Conn] || slices.Contains(r.Faults, c.fault.Kind)
				}
				struck, byClient := 0, 0
				conns := w.server.Journal().Conns()
				ended := make(map[string]faultserver.ConnRecord)
				for _, rec := range conns {
					if hit[rec.ID] {
						rec.Fault = c.fault.Kind
					}
					ended[rec.RemoteAddr] = rec
					if rec.Fault == c.fault.Kind {
						struck++
					} else {
						byClient++
					}
				}
				s := w.only()
				if c.reason == ClosedServerFIN && c.h2 && s.Closed[ClosedGoAway] > 0 {
					// From Go 1.27 on the GOAWAY is told, and this side is the first to
					// close. The journal then knows of no fault that did.
					require.EqualValues(t, len(conns), s.Closed[ClosedGoAway]+s.Closed[ClosedShutdown], "%v", s.Closed)
					return
				}
				require.Greater(t, struck, 5)
				require.EqualValues(t, struck, s.Closed[c.reason], "%v", s.Closed)
				require.EqualValues(t, byClient, s.Closed[ClosedShutdown]+s.Closed[ClosedSibling]+s.Closed[ClosedIdleDeadline], "%v", s.Closed)
				require.EqualValues(t, len(conns), s.Opened)

				// And each by itself, matched by its address.
				require.Len(t, told[ConnectionOpened](d), len(conns))
				closings := told[ConnectionClosed](d)
				require.Len(t, closings, len(conns))
				for _, e := range closings {
					rec := ended[e.Local.String()]
					require.Equal(t, rec.Fault == c.fault.Kind, e.Reason == c.reason, "%v: %+v", e, rec)
					require.Equal(t, rec.LocalAddr, e.Remote.String())
				}

				// The stale hits are the requests that a fault met, or that the
				// journal never saw; each was sent again or is lost.
				attempts, lost := told[AttemptFailed](d), told[RequestLost](d)
				stale, resent := uint64(0), uint64(0)
				for _, e := range attempts {
					if e.Stale {
						stale++
					}
					if e.Resent {
						resent++
					}
				}
				if c.reason == ClosedStaleOnUse {
					require.EqualValues(t, struck, stale)
				}
				require.Equal(t, s.StaleIdempotent+s.StaleOther, stale)
				require.Equal(t, sumOf(s.Failed), uint64(len(attempts)))
				require.Equal(t, sumOf(s.Resent), resent)
				require.Equal(t, sumOf(s.ResendsAnswered), resent, "on a fresh connection all are answered here")
				require.Equal(t, len(attempts)-int(resent), len(lost))
				if c.reason != ClosedFailed { // a body can break after RoundTrip has returned
					require.Len(t, lost, failed)
				}
			})
		})
	}
}

func sumOf[K comparable](m map[K]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

func TestAConnectionIsOpenedBeforeItIsClosedAndEventsComeInOrder(t *testing.T) {
	busy := false
	d := &diary{}
	cfg := worldConfig{
		server: faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.CloseOnReuse, Probability: 0.2}}},
		client: Config{OnEvent: func(e Event) {
			if busy {
				t.Error("two at a time")
			}
			busy = true
			d.note(e)
			runtime.Gosched()
			busy = false
		}},
	}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					w.do(context.Background(), "GET", "/", "")
				}
			})
		}
		wg.Wait()
		w.tr.Close()
		synctest.Wait()
		open := map[uint64]bool{}
		var last time.Time
		for _, e := range d.all {
			require.False(t, e.When().Before(last))
			last = e.When()
			switch e := e.(type) {
			case ConnectionOpened:
				open[e.ID] = true
			case AttemptFailed:
				require.NotZero(t, e.ConnID)
			case ConnectionClosed:
				require.True(t, open[e.ID])
				delete(open, e.ID)
			}
		}
		require.Empty(t, open)
	})
}

func TestAnEventHandlerThatBlocksHoldsUpNoRequest(t *testing.T) {
	var release chan struct{} // of the bubble
	cfg := worldConfig{
		server: faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.AnnounceClose}}},
		client: Config{OnEvent: func(Event) { <-release }},
	}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		release = make(chan struct{})
		for range 100 {
			w.mustDo("GET", "/", "")
		}
		for range maxQueued {
			w.tr.news.tell(CanaryEnded{})
		}
		require.EqualValues(t, 2*100-1, w.tr.Stats().EventsDropped, "each connection was opened and closed; one event is with the handler")
		close(release)
		synctest.Wait()
		require.Empty(t, w.tr.news.queue)
	})
}

func TestAnEventHandlerMayEndItsGoroutine(t *testing.T) {
	n := 0
	cfg := worldConfig{client: Config{OnEvent: func(Event) {
		if n++; n == 1 {
			runtime.Goexit()
		}
	}}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.tr.CloseIdleConnections()
		synctest.Wait()
		require.Equal(t, 2, n)
	})
}

func TestAnEventHandlerMayUseTheTransport(t *testing.T) {
	var w *world
	served := 0
	cfg := worldConfig{client: Config{OnEvent: func(e Event) {
		if _, ok := e.(ConnectionClosed); ok && served < 3 {
			served++
			w.tr.Stats()
			w.mustDo("GET", "/", "")
			w.tr.CloseIdleConnections()
		}
	}}}
	inWorld(t, cfg, func(t *testing.T, here *world) {
		w = here
		resp, err := w.do(context.Background(), "GET", "/", "")
		require.NoError(t, err, resp)
		w.tr.CloseIdleConnections()
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, 3, served)
	})
}

// lossy ends connections under requests: a GET is sent again, a POST cannot be.
var lossy = worldConfig{
	latency: time.Millisecond,
	server:  faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.FinAfterRequest, ReusedOnly: true}}},
}

func TestADeadlineThatIsLearnedIsToldOnceAndNotWithEveryClose(t *testing.T) {
	cfg := worldConfig{latency: 10 * time.Millisecond, server: faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.IdleClose, After: 5 * time.Second, Jitter: 80 * time.Millisecond}}}}
	inToldWorld(t, cfg, func(t *testing.T, w *world, d *diary) {
		for range 100 {
			w.mustDo("GET", "/", "")
			time.Sleep(10 * time.Second)
		}
		synctest.Wait()
		changes := told[DeadlineChanged](d)
		require.NotEmpty(t, changes)
		require.LessOrEqual(t, len(changes), 2, "provisional and learned: %v", changes)
		require.Equal(t, DeadlineMaxIdleTime, changes[0].From.Source)
		last := changes[len(changes)-1].To
		require.Equal(t, DeadlineLearned, last.Source)
		require.InDelta(t, 5, last.ServerKeepAlive.Seconds(), 0.05)
	})
}

func TestAnnouncedAndConfiguredDeadlinesAreTold(t *testing.T) {
	cfg := worldConfig{server: faultserver.Config{KeepAlive: "timeout=5"}}
	inToldWorld(t, cfg, func(t *testing.T, w *world, d *diary) {
		for range 5 {
			w.mustDo("GET", "/", "")
		}
		require.NoError(t, w.tr.SetPolicies(Policies{Default: Policy{ServerKeepAlive: 8 * time.Second}}))
		require.NoError(t, w.tr.SetPolicies(Policies{Default: Policy{ServerKeepAlive: 8 * time.Second, MaxConns: 5}}))
		synctest.Wait()
		changes := told[DeadlineChanged](d)
		require.Len(t, changes, 2)
		require.Equal(t, Deadline{5 * time.Second, 4750 * time.Millisecond, DeadlineHint}, changes[0].To)
		require.Equal(t, changes[0].To, changes[1].From)
		require.Equal(t, DeadlineConfigured, changes[1].To.Source)
	})
}

func TestWhatBecomesOfACanaryIsTold(t *testing.T) {
	inToldWorld(t, worldConfig{server: faultserver.Config{Personality: "node"}}, func(t *testing.T, w *world, d *diary) {
		w.mustDo("GET", "/", "")
		time.Sleep(20 * time.Second)
		w.mustDo("GET", "/", "")
		time.Sleep(5900 * time.Millisecond)
		w.tr.CloseIdleConnections()
		synctest.Wait()
		ends := told[CanaryEnded](d)
		require.Len(t, ends, 2)
		require.Equal(t, CanaryClosed, ends[0].Outcome)
		require.InDelta(t, 6.03, ends[0].IdleAge.Seconds(), 0.06)
		require.Equal(t, CanaryGivenUp, ends[1].Outcome)
		closings := told[ConnectionClosed](d)
		require.Equal(t, ends[0].ID, closings[0].ID)
		require.Equal(t, ClosedIdleDeadline, closings[0].Reason)
	})
}

func TestDialsThatFailAreTold(t *testing.T) {
	inToldWorld(t, worldConfig{}, func(t *testing.T, w *world, d *diary) {
		w.refuse.Store(1)
		_, err := w.do(context.Background(), "GET", "/", "")
		require.Error(t, err)
		synctest.Wait()
		require.Len(t, told[DialFailed](d), 1)
		require.ErrorIs(t, told[DialFailed](d)[0].Err, errRefused)
		require.Empty(t, told[RequestLost](d), "it was never on a connection")
	})
}

func TestARequestWhoseCallerHasGoneIsNotLost(t *testing.T) {
	inToldWorld(t, worldConfig{gated: true}, func(t *testing.T, w *world, d *diary) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := w.do(ctx, "POST", "/", "x")
		require.Error(t, err)
		synctest.Wait()
		require.Empty(t, told[RequestLost](d))
		require.Equal(t, ClosedCanceled, told[ConnectionClosed](d)[0].Reason)
	})
	cfg := lossy
	cfg.latency = time.Second
	inToldWorld(t, cfg, func(t *testing.T, w *world, d *diary) {
		w.mustDo("GET", "/", "")
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_, err := w.do(ctx, "GET", "/", "") // failed after 2 s, and dials for the resend
		require.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		require.Len(t, told[AttemptFailed](d), 1)
		require.Empty(t, told[RequestLost](d))
	})
}

func TestAResendForWhichNoConnectionCanBeOpenedIsLost(t *testing.T) {
	inToldWorld(t, lossy, func(t *testing.T, w *world, d *diary) {
		w.mustDo("GET", "/", "")
		w.refuse.Store(100)
		_, err := w.do(context.Background(), "GET", "/", "")
		require.ErrorIs(t, err, errRefused)
		synctest.Wait()
		lost := told[RequestLost](d)
		require.Len(t, lost, 1)
		require.Contains(t, lost[0].Reason, notDialed)
		require.Len(t, lost[0].Attempts, 1)
		require.Zero(t, w.only().ResendsAnswered[Unknown])
		require.EqualValues(t, 1, w.only().Resent[Unknown])
	})
}

func TestRecentEventsAreRememberedWithoutAnyoneAsking(t *testing.T) {
	inWorld(t, lossy, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		for range 100 {
			w.mustDo("GET", "/", "")
		}
		all := w.tr.RecentEvents()
		require.Len(t, all, recentEvents)
		for i := 1; i < len(all); i++ {
			require.False(t, all[i].When().Before(all[i-1].When()))
		}
		require.Equal(t, "attempt_failed", all[0].Kind())
		require.True(t, strings.HasPrefix(all[0].String(), "attempt failed: upstream=http://10.0.0.1:80 method=GET conn="), all[0].String())
	})
}

func TestEveryKindOfEventCanBePrintedAndLogged(t *testing.T) {
	for _, e := range []Event{
		ConnectionOpened{}, ConnectionClosed{Reason: ClosedSibling, Idle: true}, DialFailed{Err: io.EOF}, AttemptFailed{}, RequestLost{Attempts: make([]Attempt, 2)},
		DeadlineChanged{}, CanaryEnded{Outcome: CanaryGivenUp}, ProbeEnded{Problem: "x"}, UpgradeEnded{}, BreakerChanged{},
	} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "event", e)
		require.Contains(t, log.String(), "event.upstream=", e.Kind())
		require.True(t, strings.HasPrefix(e.String(), strings.ReplaceAll(e.Kind(), "_", " ")+": upstream="), e.String())
		require.NotEqual(t, e.Kind(), eventTitle(e))
	}
}

// A request that succeeds on a connection that was there raises no event.
func TestARequestAllocatesNoMoreWithEventsAndLogging(t *testing.T) {
	network := memnet.New(memnet.Options{})
	listener, err := network.Listen(worldAddr)
	require.NoError(t, err)
	server, err := faultserver.New(faultserver.Config{Listener: listener})
	require.NoError(t, err)
	defer server.Close()
	// On one processor, as testing.AllocsPerRun has it: with more, a request may come
	// while net/http is still about to read on, and waits for that, which allocates.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	measure := func(cfg Config) float64 {
		cfg.Base = &http.Transport{DialContext: network.DialContext}
		tr, err := New(cfg)
		require.NoError(t, err)
		defer tr.Close()
		req, err := http.NewRequest("GET", "http://"+worldAddr, nil)
		require.NoError(t, err)
		// Under the race detector pools forget at random, so that a mean is not
		// a whole number.
		const runs = 1000
		var before, after runtime.MemStats
		for i := range runs + 10 {
			if i == 10 {
				runtime.ReadMemStats(&before)
			}
			resp, err := tr.RoundTrip(req)
			require.NoError(t, err)
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		runtime.ReadMemStats(&after)
		return float64(after.Mallocs-before.Mallocs) / runs
	}
	silent := measure(Config{})
	told := measure(Config{OnEvent: func(Event) {}, Logger: slog.New(slog.DiscardHandler)})
	require.InDelta(t, silent, told, 0.5)
}

func TestABreakersChangesAreTold(t *testing.T) {
	var log bytes.Buffer
	cfg := worldConfig{latency: time.Millisecond, client: breaking(&Breaker{Settings: gobreaker.Settings{Timeout: 10 * time.Second}})}
	cfg.client.Logger = slog.New(slog.NewTextHandler(&log, nil))
	inToldWorld(t, cfg, func(t *testing.T, w *world, d *diary) {
		w.refuse.Store(6)
		for range 6 {
			w.do(context.Background(), "GET", "/", "")
		}
		time.Sleep(11 * time.Second)
		w.mustDo("GET", "/", "")
		var states []string
		for _, e := range told[BreakerChanged](d) {
			require.Equal(t, "http://10.0.0.1:80", e.Upstream)
			states = append(states, e.From+" "+e.To)
		}
		require.Equal(t, []string{"closed open", "open half-open", "half-open closed"}, states)
		require.Contains(t, log.String(), `level=WARN msg="idlewise: circuit breaker changed" upstream=http://10.0.0.1:80 from=closed to=open`)
		require.Contains(t, log.String(), `level=INFO msg="idlewise: circuit breaker changed" upstream=http://10.0.0.1:80 from=open to=half-open`)
	})
}
