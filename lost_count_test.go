package idlewise

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// What a policy's retry saves is not lost, and neither is what nobody waits for.
func TestLostCountsRequestsThatFailedForGood(t *testing.T) {
	cfg := worldConfig{
		latency: time.Millisecond,
		server: faultserver.Config{Faults: []faultserver.Fault{
			{Kind: faultserver.FinAfterRequest, Path: "/once", Times: 1},
			{Kind: faultserver.FinAfterRequest, Path: "/always"},
		}},
		client: retrying(Retry{Max: 1}),
	}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/once", "")
		require.EqualValues(t, 1, w.only().Retries)
		require.EqualValues(t, 1, w.only().Failed[Unknown])
		require.Empty(t, w.only().Lost)

		_, err := w.do(t.Context(), "GET", "/always", "")
		require.Error(t, err)
		require.Equal(t, map[Evidence]uint64{Unknown: 1}, w.only().Lost)
		_, err = w.do(t.Context(), "POST", "/always", "payment")
		require.Error(t, err)
		require.Equal(t, map[Evidence]uint64{Unknown: 2}, w.only().Lost)
		require.Equal(t, w.only().Lost, w.tr.Stats().Total.Lost)
	})
}
