package idlewise_test

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

// callsWithPauses is a program that calls a few times in quick succession and
// then pauses for about as long as the server keeps idle connections.
func callsWithPauses(serverTimeout, end time.Duration) func(*play) {
	return func(p *play) {
		p.callers(1, func(caller int, rng *rand.Rand) {
			p.until(end, caller, rng, func() time.Duration {
				if rng.IntN(3) == 0 {
					return time.Duration(rng.Int64N(int64(300 * time.Millisecond)))
				}
				return around(rng, serverTimeout, 10*p.latency)
			})
		})
	}
}

// withoutKnowing performs an incident while nobody has told idlewise the
// server's timeout: at most three requests meet a closed connection until it is
// learned. Without learning many do, and are proven undelivered; without proof,
// too, what may be sent again is.
func withoutKnowing(t *testing.T, in incident, program func(*play)) {
	t.Run("idlewise, timeout not configured", func(t *testing.T) {
		in.perform(t, true, program, func(p *play) {
			p.onlyHonestFailures()
			s := p.tr.Stats().Total
			require.LessOrEqual(p, s.StaleIdempotent+s.StaleOther, uint64(3))
			require.Equal(p, idlewise.DeadlineLearned, p.tr.Explain(p.url("/")).Source)
		})
	})
	t.Run("idlewise, timeout not configured, learning off", func(t *testing.T) {
		in.policy.Learning = idlewise.Off
		in.perform(t, true, program, func(p *play) {
			p.allSucceeded()
			require.NotZero(p, p.tr.Stats().Total.Resent[idlewise.Undelivered])
		})
	})
	t.Run("idlewise, timeout not configured, learning and evidence off", func(t *testing.T) {
		in.policy.Learning, in.policy.Evidence = idlewise.Off, idlewise.Off
		in.perform(t, true, program, func(p *play) {
			p.onlyHonestFailures()
			require.NotEmpty(p, p.failures(always), "a POST without a key is not sent again")
			require.NotZero(p, p.tr.Stats().Total.Resent[idlewise.Unknown])
		})
	})
}

func TestIncidentUvicornFiveSecondsLosesNothing(t *testing.T) {
	in := incident{scenario: "uvicorn-five-seconds", latency: 10 * time.Millisecond}
	program := callsWithPauses(5*time.Second, 30*time.Minute)
	withoutKnowing(t, in, program)
	in.policy.ServerKeepAlive = 5 * time.Second
	in.withBoth(t, program, func(p *play) {
		p.allSucceeded()
		require.Zero(p, p.tr.Stats().Total.Closed[idlewise.ClosedStaleOnUse], "it was not there when the server closed")
	}, (*play).showsTheIncident)
}

func TestIncidentLoadBalancer600sLosesNothing(t *testing.T) {
	in := incident{
		scenario: "load-balancer-600s", latency: 5 * time.Millisecond,
		policy: idlewise.Policy{MaxIdleTime: 600 * time.Second},
		base:   func(b *http.Transport) { b.IdleConnTimeout = 600 * time.Second },
	}
	program := callsWithPauses(75*time.Second, 24*time.Hour)
	withoutKnowing(t, in, program)
	in.policy.ServerKeepAlive = 75 * time.Second
	in.withBoth(t, program, func(p *play) {
		p.allSucceeded()
		require.Zero(p, p.tr.Stats().Total.Closed[idlewise.ClosedStaleOnUse])
		require.NotZero(p, p.tr.Stats().Total.Closed[idlewise.ClosedIdleDeadline])
	}, (*play).showsTheIncident)
}
