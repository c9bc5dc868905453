package policyfile

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

func breakerOf(t *testing.T, settings string) *idlewise.Breaker {
	t.Helper()
	return parsed(t, "default: {breaker: {"+settings+"}}").Default.Breaker
}

// failuresUntilOpen is the number of failures in a row, after good requests, that
// open the breaker.
func failuresUntilOpen(b *idlewise.Breaker, good int) int {
	cb := gobreaker.NewCircuitBreaker[int](b.Settings)
	for range good {
		cb.Execute(func() (int, error) { return 0, nil })
	}
	for n := 1; n <= 1000; n++ {
		cb.Execute(func() (int, error) { return 0, errors.New("failed") })
		if cb.State() == gobreaker.StateOpen {
			return n
		}
	}
	return 0
}

func TestABreakerOpensAsTheFileSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.Equal(t, 6, failuresUntilOpen(breakerOf(t, "timeout: 5s"), 3), "gobreaker's default")
		require.Equal(t, 3, failuresUntilOpen(breakerOf(t, "consecutive_failures: 3"), 3))

		ratio := breakerOf(t, "failure_ratio: 0.5, min_requests: 10, interval: 60s")
		require.Equal(t, 10, failuresUntilOpen(ratio, 0), "not before there are enough requests")
		require.Equal(t, 10, failuresUntilOpen(ratio, 10))
		require.Equal(t, 100, failuresUntilOpen(ratio, 100))

		both := breakerOf(t, "consecutive_failures: 5, failure_ratio: 0.5, min_requests: 10, interval: 60s")
		require.Equal(t, 5, failuresUntilOpen(both, 0))
	})
}

func TestABreakersSettingsAreGobreakers(t *testing.T) {
	b := breakerOf(t, "max_requests: 3, interval: 60s, bucket_period: 10s, timeout: 5s, statuses: [500, 503]")
	require.Equal(t, uint32(3), b.Settings.MaxRequests)
	require.Equal(t, time.Minute, b.Settings.Interval)
	require.Equal(t, 10*time.Second, b.Settings.BucketPeriod)
	require.Equal(t, 5*time.Second, b.Settings.Timeout)
	require.Equal(t, []int{500, 503}, b.Statuses)
}

// A breaker is made anew only where its settings have changed. Functions show no
// difference, so something else must.
func TestBreakersThatOpenOtherwiseHaveOtherSettings(t *testing.T) {
	names := make(map[string]bool)
	for _, settings := range []string{
		"timeout: 5s", "consecutive_failures: 3", "consecutive_failures: 4",
		"failure_ratio: 0.5, min_requests: 10, interval: 60s", "failure_ratio: 0.5, min_requests: 11, interval: 60s", "failure_ratio: 0.25, min_requests: 10, interval: 60s",
	} {
		name := breakerOf(t, settings).Settings.Name
		require.Equal(t, name, breakerOf(t, settings).Settings.Name)
		require.False(t, names[name], settings)
		names[name] = true
	}
}

func TestUpstreamsDoNotShareABreakersSettings(t *testing.T) {
	p := parsed(t, "policies: {c: {breaker: {timeout: 5s}}}\nupstreams: {a: {extends: c}, b: {extends: c}}\n")
	require.NotSame(t, p.Upstreams["a"].Breaker, p.Upstreams["b"].Breaker)
}
