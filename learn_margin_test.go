package idlewise

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// callEarly sends POSTs on connections that have been idle for a little less
// than the automatic margin permits, where the server closes after 5 s.
func (w *world) callEarly(posts int) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range posts {
		w.do(context.Background(), "POST", "/", "x")
		time.Sleep(4600*time.Millisecond + time.Duration(rng.Int64N(int64(140*time.Millisecond))))
	}
}

// A round trip takes 400 ms, which the dialer does not tell: the server closes
// before it has the request.
func farAway(pol Policy) worldConfig {
	pol.LivenessCheckAfter = -1
	return worldConfig{
		latency: 200 * time.Millisecond,
		server:  faultserver.Config{IdleTimeout: 5 * time.Second},
		client:  Config{Policies: Policies{Default: pol}},
	}
}

func TestTheMarginIsWidenedWhereRequestsMeetTheCloseAllTheSame(t *testing.T) {
	for name, pol := range map[string]Policy{"learned": {}, "configured": {ServerKeepAlive: 5 * time.Second}} {
		inWorld(t, farAway(pol), func(t *testing.T, w *world) {
			for range 3 {
				w.mustDo("POST", "/", "x")
				time.Sleep(10 * time.Second)
			}
			require.Equal(t, 250*time.Millisecond, w.tr.Explain(w.server.URL).Margin, name)
			w.callEarly(200)
			e := w.tr.Explain(w.server.URL)
			require.EqualValues(t, 1, w.only().StaleOther, name)
			require.InDelta(t, 5, e.ServerKeepAlive.Seconds(), 0.05, name)
			require.Equal(t, 500*time.Millisecond, e.Margin.Round(10*time.Millisecond), name)
			require.Equal(t, e.Margin, w.only().Margin, name)
			require.Equal(t, e.ServerKeepAlive-e.Margin, e.IdleLimit, name)
		})
	}
}

func TestAMarginThatIsSetOrADeadlineThatIsNotLearnedStaysAsItIs(t *testing.T) {
	for name, pol := range map[string]Policy{
		"margin":   {IdleMargin: 250 * time.Millisecond},
		"learning": {Learning: Off, ServerKeepAlive: 5 * time.Second},
	} {
		inWorld(t, farAway(pol), func(t *testing.T, w *world) {
			for range 3 {
				w.mustDo("POST", "/", "x")
				time.Sleep(10 * time.Second)
			}
			w.callEarly(50)
			require.Equal(t, 250*time.Millisecond, w.tr.Explain(w.server.URL).Margin.Round(10*time.Millisecond), name)
			require.Greater(t, w.only().StaleOther, uint64(20), name)
		})
	}
}

func TestTheMarginIsNarrowedAgainByRequestsNearTheLimit(t *testing.T) {
	inWorld(t, farAway(Policy{}), func(t *testing.T, w *world) {
		for range 3 {
			w.mustDo("POST", "/", "x")
			time.Sleep(10 * time.Second)
		}
		w.callEarly(3)
		wide := w.tr.Explain(w.server.URL).Margin
		require.Greater(t, wide, 400*time.Millisecond)
		for range 200 {
			w.mustDo("POST", "/", "x")
			time.Sleep(4400 * time.Millisecond)
		}
		narrower := w.tr.Explain(w.server.URL).Margin
		require.Less(t, narrower, wide-20*time.Millisecond)
		require.Greater(t, narrower, 250*time.Millisecond)
	})
}
