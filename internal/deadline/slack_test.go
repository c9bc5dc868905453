package deadline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	five = 5 * time.Second
	half = 500 * ms
)

func TestARequestThatMeetsACloseShortlyBeforeTheLimitDoublesTheMargin(t *testing.T) {
	var s Slack
	require.Equal(t, 250*ms, s.Margin(five, ms))
	require.True(t, s.Missed(five, s.Margin(five, ms), 4700*ms))
	require.Equal(t, half, s.Margin(five, ms))
	require.False(t, s.Missed(five, half, 4700*ms), "such an age is not reached any more")
	require.True(t, s.Missed(five, half, 4100*ms))
	require.Equal(t, time.Second, s.Margin(five, ms))
}

func TestACloseFarFromTheDeadlineIsARestartsAndDoesNotWidenTheMargin(t *testing.T) {
	var s Slack
	require.False(t, s.Missed(five, 250*ms, 4400*ms))
	require.False(t, s.Missed(0, 0, time.Second), "no deadline is known")
	require.Equal(t, 250*ms, s.Margin(five, ms))
}

func TestTheMarginIsNeverWidenedToMoreThanHalfOfTheDeadline(t *testing.T) {
	var s Slack
	for range 10 {
		margin := s.Margin(five, ms)
		s.Missed(five, margin, five-margin-ms)
	}
	require.Equal(t, five/2, s.Margin(five, ms))
	require.Equal(t, 100*ms, s.Margin(200*ms, ms), "also if the deadline is another")
	require.Equal(t, 635*ms, s.Margin(time.Second, half), "the round trip needs more")
}

func TestAnsweredRequestsNearTheLimitNarrowTheMarginSlowly(t *testing.T) {
	var s Slack
	s.Missed(five, 250*ms, 4700*ms)
	for range 10000 {
		s.Held(five, s.Margin(five, ms), 3*time.Second)
	}
	require.Equal(t, half, s.Margin(five, ms), "those far from it say nothing")
	for range 700 {
		s.Held(five, s.Margin(five, ms), five-s.Margin(five, ms)-ms)
	}
	require.InDelta(t, 0.375, s.Margin(five, ms).Seconds(), 0.005)
	for range 50_000 {
		s.Held(five, s.Margin(five, ms), 4700*ms)
	}
	require.Equal(t, 250*ms, s.Margin(five, ms))
}

// The way to the server has become longer than it was when the connection was
// opened, or the program's dialer does not tell how long it is.
func TestWhereTheRoundTripHasGrownBeyondTheMarginFewRequestsFindOut(t *testing.T) {
	for _, timeout := range []time.Duration{2 * time.Second, five, 60 * time.Second} {
		for _, lag := range []time.Duration{0, 400 * ms, 900 * ms} {
			c := cell{timeout: []time.Duration{timeout}, rtt: 20 * ms, lag: lag, gaps: uniform, requests: *requestsPerCell}
			wider, usual, conns := 0, 0, 0.0
			for seed := range uint64(5) {
				c.seed = seed
				got := c.run(true)
				wider += got.stale
				without := c
				without.usual = true
				usual += without.run(true).stale
				oracle := c
				oracle.lag = 0
				conns += float64(got.conns) / float64(oracle.run(false).conns) / 5
			}
			t.Logf("T=%v, %v more: %d of %d requests were stale, with the usual margin %d; %.3f of the connections without the lag", timeout, lag, wider, 5*c.requests, usual, conns)
			if lag == 0 {
				require.LessOrEqual(t, conns, 1.05)
				continue
			}
			require.LessOrEqual(t, wider, max(10, usual/10))
		}
	}
}
