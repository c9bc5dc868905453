package idlewise

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// The report that docs/observability.md shows: -run AReportOf -v prints it.
func TestAReportOfFiveThousandRequestsFindsTheServersTimeout(t *testing.T) {
	cfg := faultserver.Config{IdleTimeout: 5 * time.Second}
	inObserved(t, 10*time.Millisecond, cfg, func(t *testing.T, w *watching) {
		rng := rand.New(rand.NewPCG(2, 0))
		methods := []string{"GET", "PUT", "POST"}
		failed := 0
		for range 5000 {
			if w.do(context.Background(), methods[rng.IntN(len(methods))], "") != nil {
				failed++
			}
			time.Sleep(time.Duration(rng.Int64N(int64(10 * time.Second))))
		}
		r := w.o.Report()
		t.Logf("\n%s", r)
		require.EqualValues(t, 5000, r.Total.Requests)
		require.EqualValues(t, failed, r.Total.Failed)
		require.Positive(t, r.Total.Stale())
		require.Positive(t, r.Total.WouldAvoid)
		require.Len(t, r.Upstreams, 1)
		require.InDelta(t, 5, r.Upstreams[0].ServerKeepAlive.Seconds(), 0.1)
	})
}
