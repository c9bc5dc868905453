package deadline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lighttpd, gunicorn and others look at their connections once a second: they
// close up to a second after the timeout.
func TestTheTimeoutOfACoarseTimerIsKnownFromThreeCloses(t *testing.T) {
	const seeds = 500
	for _, timeout := range []time.Duration{1, 2, 5, 20, 60} {
		timeout *= time.Second
		for closes, permitted := range map[int]int{3: seeds / 50, 5: seeds / 25, 10: seeds / 100, 20: seeds / 250} {
			late, surely, early := 0, 0, 0
			for seed := range uint64(seeds) {
				l := newLesson(seed)
				for range closes {
					l.closed(l.between(timeout, timeout+time.Second))
				}
				d, sure := l.Deadline()
				require.NotEqual(t, Nothing, sure)
				if d-Margin(d, ms) > timeout {
					late++
					if sure == Confirmed {
						surely++
					}
				}
				if d < timeout-half {
					early++
				}
			}
			t.Logf("%v, %d closes: of %d the limit is too late in %d, confirmed so in %d, and half a second early in %d", timeout, closes, seeds, late, surely, early)
			require.LessOrEqual(t, late, permitted)
			if closes >= 10 {
				require.LessOrEqual(t, early, seeds/100)
			}
		}
	}
}

// A server that was held up closes still later than its timer has it.
func TestOneLateCloseDoesNotMakeACoarseTimersTimeoutLater(t *testing.T) {
	l := newLesson(1)
	for _, age := range []time.Duration{2600, 3600, 2800} {
		l.closed(age * ms)
	}
	d, _ := l.Deadline()
	require.LessOrEqual(t, d-Margin(d, ms), 2*time.Second)
}

// Each close is another process's, which knows what the earlier ones learned.
func TestTheTimeoutOfACoarseTimerIsHandedOn(t *testing.T) {
	const seeds = 500
	for _, timeout := range []time.Duration{1, 2, 5, 20, 60} {
		timeout *= time.Second
		late := make(map[int]int)
		for seed := range uint64(seeds) {
			l := newLesson(seed)
			for n := 1; n <= 20; n++ {
				l.closed(l.between(timeout, timeout+time.Second))
				for _, one := range []Learner{l.Learner, Remember(l.Recall())} {
					d, sure := one.Deadline()
					require.NotEqual(t, Nothing, sure)
					if d-Margin(d, ms) > timeout {
						late[n]++
						break
					}
				}
				l.Learner = Remember(l.Recall())
			}
		}
		t.Logf("%v: of %d the limit is too late in %d after 3 closes, in %d after 5, in %d after 10 and in %d after 20", timeout, seeds, late[3], late[5], late[10], late[20])
		require.LessOrEqual(t, late[3], seeds/50)
		require.LessOrEqual(t, late[5], seeds/50)
		require.LessOrEqual(t, late[10], seeds/100)
		require.LessOrEqual(t, late[20], seeds/250)
	}
}

func TestACoarseTimerCostsNoRequestsAfterTheThirdCloseAndFewConnections(t *testing.T) {
	for _, timeout := range []time.Duration{2, 5, 20, 60} {
		for _, g := range []gapKind{uniform, logUniform, bursty} {
			for _, restart := range []time.Duration{0, 10 * time.Minute} {
				c := cell{timeout: []time.Duration{timeout * time.Second}, tick: time.Second, rtt: 20 * ms, gaps: g, restart: restart, requests: *requestsPerCell}
				late := 0
				conns := overSeeds(c, func(got, oracle modelResult) float64 {
					late += got.late
					return float64(got.conns) / float64(oracle.conns)
				})
				t.Logf("%v: %d stale hits after the third close in 20 runs, %.3f of the oracle's connections", c, late, conns)
				require.LessOrEqual(t, late, 1, c)
				require.LessOrEqual(t, conns, 1.05, c)
			}
		}
	}
}

// A close within a second of a timeout that is always the same.
func TestARestartShortlyBeforeATimeoutIsForgottenOnceThreeClosesAgree(t *testing.T) {
	l := newLesson(1)
	l.closed(4300 * ms)
	for range 3 {
		l.closed(five)
	}
	d, sure := l.Deadline()
	require.Equal(t, Confirmed, sure)
	require.Equal(t, five, d)
	l.closed(4400 * ms)
	d, _ = l.Deadline()
	require.Equal(t, five, d, "and such a one later changes nothing")
}

// Else the restarts of months would lower the deadline further and further.
func TestTheClosesOfACoarseTimerThatCountAreTheLast(t *testing.T) {
	l := newLesson(1)
	for range 40 {
		l.closed(l.between(five, six))
	}
	l.closed(4700 * ms)
	d, _ := l.Deadline()
	require.Less(t, d, 4700*ms)
	for range 2 * settled {
		l.closed(l.between(five, six))
	}
	d, sure := l.Deadline()
	require.Equal(t, Confirmed, sure)
	require.InDelta(t, 5, d.Seconds(), 0.15)
}

const six = 6 * time.Second
