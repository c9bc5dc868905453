package idlewise_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

// machineGone is the incident with the first of three machines off the network
// from the moment on at which its scenario says so: not even a FIN for an idle
// connection comes from it.
func machineGone(program func(*play)) (incident, func(*play)) {
	in := incident{
		scenario: "node-autoscaling", latency: 10 * time.Millisecond, pods: 3, life: onlyTheFirst(1),
		policy: idlewise.Policy{ServerKeepAlive: 5 * time.Second},
		base:   func(b *http.Transport) { b.ResponseHeaderTimeout = 4 * time.Second },
	}
	return in, func(p *play) {
		cut := time.AfterFunc(30*time.Second, func() { p.net.Cut(p.pods[0].address, true) })
		defer cut.Stop()
		program(p)
	}
}

// bursts lets callers call at once, each a few times, at the times given.
func bursts(callers int, at ...time.Duration) func(*play) {
	return func(p *play) {
		p.callers(callers, func(caller int, rng *rand.Rand) {
			for i, when := range at {
				time.Sleep(time.Until(p.begin.Add(when)))
				for n := range 3 {
					// As programs do; net/http knows no other end of silence.
					ctx, cancel := context.WithTimeout(p.Context(), 6*time.Second)
					p.call(ctx, p.anyRequest(caller, 1000+10*i+n, rng))
					cancel()
				}
			}
		})
	}
}

// A machine that goes while its connections are idle costs nothing: they are
// retired at the deadline, although the server's FIN never comes, and never
// used again. http.Transport keeps them, and each swallows a request.
func TestIncidentNodeAutoscalingCostsNothingWhereConnectionsWereIdle(t *testing.T) {
	in, program := machineGone(bursts(12, 0, 10*time.Second, 28*time.Second, 34*time.Second, time.Minute))
	in.withBoth(t, program, func(p *play) {
		p.allSucceeded()
		require.NotZero(p, p.tr.Stats().Total.Closed[idlewise.ClosedIdleDeadline])
		require.NotEmpty(p, p.pods[0].Journal().Requests(), "the machine was in use")
	}, func(p *play) {
		p.showsTheIncident()
		for _, c := range p.failures(always) {
			require.ErrorContains(p, c.err, "timeout awaiting response headers")
		}
	})
}

// A machine that goes while its connections are in use, or idle for less than
// the deadline, swallows what is written on them. What holds is that each of
// them costs one request, which ends with the program's own timeout, and is not
// used again; and that nothing is executed twice.
func TestIncidentNodeAutoscalingUnderLoadCostsOneRequestPerConnection(t *testing.T) {
	// At 29 s each caller gets a connection, by turns to each machine; at 31 s
	// all are used.
	in, program := machineGone(bursts(12, 29*time.Second, 31*time.Second, 36*time.Second, 37*time.Second, 45*time.Second))
	in.perform(t, true, program, func(p *play) {
		p.noConnectionFailedTwice()
		require.Len(p, p.failures(always), len(p.failedOn))
		for _, c := range p.failures(always) {
			require.Less(p, c.at, 35*time.Second, "no connection to the machine is left that was idle for less than 5 s")
			require.ErrorContains(p, c.err, "timeout awaiting response headers")
		}
		p.nothingTwice()
	})
}
