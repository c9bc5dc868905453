package idlewise

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestClosesOfTheLastHourAreRemembered(t *testing.T) {
	var h closeHistory
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 100 {
		h.add(ClosedSibling, now)
		now = now.Add(time.Minute)
	}
	require.InDelta(t, 60, h.lastHour(now)[ClosedSibling], 5)
	require.Empty(t, h.lastHour(now.Add(time.Hour)))
	require.Empty(t, h.lastHour(now.Add(-24*time.Hour)), "a clock that was set back")
	h.add(ClosedSibling, time.Time{})
}

func TestAllUpstreamsAreExplainedWithWhatADebugPageNeeds(t *testing.T) {
	cfg := worldConfig{latency: 10 * time.Millisecond, server: faultserver.Config{IdleTimeout: 5 * time.Second}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		for range 5 {
			w.mustDo("GET", "/", "")
			time.Sleep(10 * time.Second)
		}
		w.mustDo("GET", "/", "")
		all := w.tr.ExplainAll()
		require.Len(t, all, 1)
		e := all[0]
		require.Equal(t, "http://10.0.0.1:80", e.Upstream)
		require.Equal(t, "confirmed", e.Learned.Confidence)
		require.NotEmpty(t, e.Learned.Timeouts)
		s := w.only()
		require.Equal(t, s.Closed, e.ClosedLastHour)
		require.Len(t, e.Conns, 1)
		require.Positive(t, e.Conns[0].RetireAt)
		time.Sleep(2 * time.Hour)
		require.Empty(t, w.tr.ExplainAll()[0].ClosedLastHour)
	})
}

func TestAnExplanationHasTheAgesAtWhichTheServerClosed(t *testing.T) {
	const latency, timeout = 10 * time.Millisecond, 5 * time.Second
	cfg := worldConfig{latency: latency, server: faultserver.Config{IdleTimeout: timeout}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		for range 5 {
			w.mustDo("GET", "/", "")
			time.Sleep(2 * timeout)
		}
		closes := w.tr.ExplainAll()[0].IdleCloses
		s := w.only()
		require.EqualValues(t, s.IdleAtServerClose.Count(), len(closes))
		found := map[string]int{}
		for i, c := range closes {
			require.InDelta(t, timeout.Seconds(), c.IdleAge.Seconds(), 0.05)
			require.True(t, i == 0 || closes[i-1].At.Before(c.At))
			found[c.Found]++
		}
		require.EqualValues(t, s.Closed[ClosedServerFIN], found["server_fin"])
		require.EqualValues(t, s.CanariesClosed, found["canary"])
		require.NotZero(t, found["canary"])
	})
}

func TestAnExplanationHasTheAgesAtWhichRequestsMetAClose(t *testing.T) {
	cfg := worldConfig{server: faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.CloseOnReuse}}}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(3 * time.Second)
		w.mustDo("GET", "/", "")
		closes := w.tr.ExplainAll()[0].IdleCloses
		require.Equal(t, []IdleClose{{closes[0].At, 3 * time.Second, "stale_on_use"}}, closes)
	})
}

func TestTheCloseHistoryKeepsTheLastAges(t *testing.T) {
	var none *closeHistory
	require.Empty(t, none.idleCloses())
	h := new(closeHistory)
	for i := range 100 {
		h.addIdle(IdleClose{IdleAge: time.Duration(i)})
	}
	closes := h.idleCloses()
	require.Len(t, closes, keptIdleCloses)
	require.EqualValues(t, 99, closes[keptIdleCloses-1].IdleAge)
	require.EqualValues(t, 100-keptIdleCloses, closes[0].IdleAge)
}
