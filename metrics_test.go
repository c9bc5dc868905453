package idlewise

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestHistogramsHaveOneBucketMoreThanBounds(t *testing.T) {
	require.Len(t, idleBounds, idleBuckets-1)
	require.Len(t, tripBounds, tripBuckets-1)
}

func TestADurationBelongsToTheFirstBucketThatHoldsIt(t *testing.T) {
	var h idleHistogram
	h.observe(0)
	h.observe(5 * time.Second)
	h.observe(5*time.Second + 1)
	h.observe(time.Hour)
	out := h.export()
	require.EqualValues(t, 4, out.Count())
	require.EqualValues(t, 1, out.Counts[0])
	require.EqualValues(t, 1, out.Counts[bucket(idleBounds, 5*time.Second)], "bounds are inclusive")
	require.EqualValues(t, 1, out.Counts[bucket(idleBounds, 6*time.Second)])
	require.EqualValues(t, 1, out.Counts[len(idleBounds)])
	require.InDelta(t, 3610, out.Sum, 1e-6)
}

// counted sorts ages into the buckets of idle ages.
func counted(ages []time.Duration) []uint64 {
	if len(ages) == 0 {
		return nil
	}
	n := make([]uint64, idleBuckets)
	for _, a := range ages {
		n[bucket(idleBounds, a)]++
	}
	return n
}

// The journal notes how long a connection had been idle when a request came or
// when it was closed. Without latency both sides measure the same.
func TestIdleAgesAreTheOnesThatTheServersJournalHolds(t *testing.T) {
	cfg := worldConfig{server: faultserver.Config{IdleTimeout: 5 * time.Second}, client: Config{Policies: Policies{Default: Policy{Learning: Off}}}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		rng := rand.New(rand.NewPCG(3, 4))
		for range 300 {
			w.mustDo("GET", "/", "")
			time.Sleep(time.Duration(rng.Int64N(int64(8 * time.Second))))
		}
		synctest.Wait()
		s := w.only()
		var reused, closed []time.Duration
		for _, r := range w.server.Journal().Requests() {
			if r.NthOnConn > 1 {
				reused = append(reused, r.IdleBefore)
			}
		}
		for _, c := range w.server.Journal().Conns() {
			if c.Reason == faultserver.IdleTimeout {
				closed = append(closed, c.IdleAge)
			}
		}
		require.Greater(t, len(closed), 50)
		require.Equal(t, counted(reused), s.IdleAtReuse.Counts)
		require.Equal(t, counted(closed), s.IdleAtServerClose.Counts)
		require.EqualValues(t, len(closed), s.Closed[ClosedServerFIN])
		require.InDelta(t, 5*float64(len(closed)), s.IdleAtServerClose.Sum, 0.001)
		require.EqualValues(t, 300, s.Requests)
		require.True(t, s.IdleAtRetirement.IsZero())
	})
}

func TestIdleAgesAtRetirementAreTheDeadline(t *testing.T) {
	cfg := worldConfig{client: Config{Policies: Policies{Default: Policy{ServerKeepAlive: 5 * time.Second}}}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		for range 10 {
			w.mustDo("GET", "/", "")
			time.Sleep(20 * time.Second)
		}
		s := w.only()
		require.EqualValues(t, 10, s.IdleAtRetirement.Count())
		require.InDelta(t, 47.5, s.IdleAtRetirement.Sum, 0.1)
		require.True(t, s.IdleAtServerClose.IsZero())
		require.Equal(t, 5*time.Second, s.ServerKeepAlive)
		require.Equal(t, 250*time.Millisecond, s.Margin)
		require.Equal(t, 4750*time.Millisecond, s.IdleLimit)
		require.Equal(t, DeadlineConfigured, s.Source)
	})
}

func TestCanariesAreCountedByWhatBecameOfThem(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{Personality: "node"}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(20 * time.Second)
		synctest.Wait()
		s := w.only()
		require.EqualValues(t, 1, s.CanariesClosed)
		require.EqualValues(t, 1, s.IdleAtRetirement.Count())
		require.EqualValues(t, 1, s.IdleAtServerClose.Count())
		require.InDelta(t, 6.03, s.IdleAtServerClose.Sum, 0.06)
	})
	cfg := worldConfig{server: faultserver.Config{KeepAlive: "timeout=5"}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(time.Minute)
		synctest.Wait()
		s := w.only()
		require.EqualValues(t, 1, s.CanariesOutlasted)
		require.Zero(t, s.CanariesClosed)
		require.True(t, s.IdleAtServerClose.IsZero())
	})
}

func TestDialsTakeARoundTripAndWaitsAsLong(t *testing.T) {
	cfg := worldConfig{latency: 20 * time.Millisecond}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.mustDo("GET", "/", "")
		s := w.only()
		require.EqualValues(t, 1, s.DialTime.Count())
		require.InDelta(t, 0.04, s.DialTime.Sum, 0.001)
		require.EqualValues(t, 1, s.WaitTime.Count(), "the second request found a free connection")
		require.InDelta(t, 0.04, s.WaitTime.Sum, 0.001)
	})
}

func TestTheTimeThatARequestWaitsForARoomIsCounted(t *testing.T) {
	cfg := worldConfig{gated: true, client: Config{Policies: Policies{Default: Policy{MaxConns: 1}}}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { w.do(context.Background(), "GET", "/", "") })
		}
		for i := range 3 {
			<-w.gate.arrived
			synctest.Wait() // the others may not have come to their queue yet
			s := w.only()
			require.Equal(t, 1, s.InUse)
			require.Equal(t, 2-i, s.Waiting)
			time.Sleep(time.Second)
			w.gate.open <- struct{}{}
			synctest.Wait()
		}
		wg.Wait()
		s := w.only()
		require.EqualValues(t, 3, s.WaitTime.Count())
		require.InDelta(t, 3, s.WaitTime.Sum, 0.001, "0, 1 and 2 s")
		require.EqualValues(t, 3, s.Waits)
	})
}

// Prometheus takes a counter that goes down for one that began anew, and adds
// all of it to the rate.
func TestARequestWhoseConnectionIsFoundClosedIsNotCountedAndTakenBack(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(time.Second)
		u := w.tr.registry.all()[0]
		p := &u.pool
		var doomed doomedList
		p.mu.Lock()
		now := time.Now()
		c := p.takeLocked(now, time.Time{}, u.policy(), &doomed)
		leaseLocked(new(lease), c, now)
		p.mu.Unlock()
		taken := w.only()
		p.putBack(c)
		back := w.only()
		require.EqualValues(t, 1, taken.Requests)
		require.EqualValues(t, 1, back.Requests)
		require.Equal(t, taken.IdleAtReuse, back.IdleAtReuse)
	})
}

func TestTotalsNeverGoDownWhileRecordsAreDropped(t *testing.T) {
	inWorld(t, worldConfig{
		client: Config{MaxUpstreams: 4},
		base: func(b *http.Transport) {
			dial := b.DialContext
			b.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, worldAddr) }
		},
	}, func(t *testing.T, w *world) {
		for i := range uint64(20) {
			for range 2 {
				req, err := http.NewRequest("GET", fmt.Sprintf("http://host%d.test/", i), nil)
				require.NoError(t, err)
				_, err = w.send(req)
				require.NoError(t, err)
				synctest.Wait()
			}
			w.tr.CloseIdleConnections()
			synctest.Wait()
			s := w.tr.Stats()
			require.LessOrEqual(t, len(s.Upstreams), 4)
			require.Equal(t, 2*(i+1), s.Total.Requests)
			require.Equal(t, i+1, s.Total.IdleAtReuse.Count())
			require.Equal(t, i+1, s.Total.DialTime.Count())
			require.Equal(t, i+1, s.Total.WaitTime.Count())
			require.Equal(t, i+1, s.Total.IdleAtRetirement.Count())
			for _, u := range s.Upstreams {
				require.False(t, u.Since.IsZero())
			}
		}
	})
}

func TestConnectionsAreCountedByState(t *testing.T) {
	inWorld(t, worldConfig{gated: true}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { w.do(context.Background(), "GET", "/", "") })
		}
		for range 3 {
			<-w.gate.arrived
		}
		s := w.only()
		require.Equal(t, 3, s.InUse)
		require.Equal(t, 3, s.Open)
		w.gate.open <- struct{}{}
		synctest.Wait()
		s = w.only()
		require.Equal(t, 2, s.InUse)
		require.Equal(t, 1, s.Idle)
		require.Zero(t, s.Closing)
		w.gate.open <- struct{}{}
		w.gate.open <- struct{}{}
		wg.Wait()
	})
}

func TestCountingARequestAllocatesNothing(t *testing.T) {
	u := &upstream{t: new(Transport)}
	u.pool.u = u
	c := &conn{pool: &u.pool}
	l := lease{c: c, wasIdle: true, idleAge: 3 * time.Second}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		u.sent.count(&l)
		u.pool.counts.waitTime.observe(time.Millisecond)
		u.pool.counts.idleAtStaleHit.observe(time.Second)
		u.pool.countEndLocked(c, ClosedConnectionClose, time.Time{})
	}))
	var all counts
	u.sent.addTo(&all)
	require.EqualValues(t, 101, all.requests)
}

func TestStatsAreJSONWithoutEmptyHistograms(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		text, err := json.Marshal(w.tr.Stats())
		require.NoError(t, err)
		require.Contains(t, string(text), `"dial_time":{"bounds_ns":[500000,`)
		require.NotContains(t, string(text), "idle_at_stale_hit")
		require.Contains(t, string(text), `"source":"max_idle_time"`)
	})
}

// What the metrics add to a request that finds an idle connection.
func BenchmarkCountARequest(b *testing.B) {
	u := &upstream{t: new(Transport)}
	u.pool.u = u
	l := lease{c: &conn{pool: &u.pool}, wasIdle: true, idleAge: 3 * time.Second}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			u.sent.count(&l)
		}
	})
}
