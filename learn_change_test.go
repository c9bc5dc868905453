package idlewise

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// inChangingWorld learns the timeout before, lets the server change it to
// after, and calls f.
func inChangingWorld(t *testing.T, before, after time.Duration, f func(w *world)) {
	t.Helper()
	cfg := worldConfig{latency: 10 * time.Millisecond, client: Config{Policies: Policies{Default: Policy{Hint: Off, MaxConnAge: -1, LivenessCheckAfter: -1}}}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		closesAfter := func(d time.Duration) func() {
			return w.server.Inject(faultserver.Fault{Kind: faultserver.IdleClose, After: d})
		}
		remove := closesAfter(before)
		for range 30 {
			w.mustDo("POST", "/", "x")
			time.Sleep(2 * (before + after))
		}
		require.Equal(t, DeadlineLearned, w.tr.Explain(w.server.URL).Source)
		w.inForce(before)
		remove()
		defer closesAfter(after)()
		f(w)
	})
}

// inForce asserts that the deadline in force is within 5 % of the truth.
func (w *world) inForce(truth time.Duration) {
	w.Helper()
	e := w.tr.Explain(w.server.URL)
	require.InEpsilon(w, truth.Seconds(), e.ServerKeepAlive.Seconds(), 0.05, e.String())
}

func TestATimeoutThatWasRaisedIsInForceAfterThreeCanaries(t *testing.T) {
	for _, before := range []time.Duration{2 * time.Second, 5 * time.Second, 20 * time.Second, 30 * time.Second} {
		after := 2 * before
		inChangingWorld(t, before, after, func(w *world) {
			for sent, survived := 0, 0; survived < 3; sent++ {
				require.Less(w, sent, 200, "of ten connections that reach the deadline one is a canary")
				w.mustDo("POST", "/", "x")
				survived += w.canariesWithin(2 * (before + after))
			}
			// The next connection stays idle until the server ends it.
			w.mustDo("POST", "/", "x")
			time.Sleep(2 * (before + after))
			w.inForce(after)
			require.Zero(w, w.only().StaleOther)
		})
	}
}

// canariesWithin lets time pass and returns how many canaries came to their end.
func (w *world) canariesWithin(pause time.Duration) (ended int) {
	const steps = 200 // finer than the time a canary is watched for
	watched := 0
	for range steps {
		time.Sleep(pause / steps)
		now := w.only().Canaries
		ended += max(0, watched-now)
		watched = now
	}
	return ended
}

func TestATimeoutThatWasLoweredIsInForceAfterTwoCloses(t *testing.T) {
	for before, after := range map[time.Duration]time.Duration{
		5 * time.Second: 2 * time.Second, 60 * time.Second: 5 * time.Second, 75 * time.Second: 60 * time.Second,
	} {
		inChangingWorld(t, before, after, func(w *world) {
			w.mustDo("POST", "/", "x")
			time.Sleep(after + time.Second)
			w.inForce(before) // one close may have been a restart's
			w.mustDo("POST", "/", "x")
			time.Sleep(after + time.Second)
			w.inForce(after)
			require.Equal(w, DeadlineLearned, w.tr.Explain(w.server.URL).Source)
		})
	}
}
