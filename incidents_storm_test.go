package idlewise_test

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

const stormClients = 2500

// storm connects all clients at the beginning, and lets each make a call, at a
// time drawn from a span that begins at from, and try again every so often
// while that fails to reach the server.
func storm(transports int, from, span, again time.Duration) func(*play) {
	return func(p *play) {
		rts := []http.RoundTripper{p.rt}
		for len(rts) < transports {
			rts = append(rts, p.newTransport())
		}
		p.callers(stormClients, func(caller int, rng *rand.Rand) {
			rt := rts[caller%len(rts)]
			p.callBy(rt, p.Context(), p.anyRequest(caller, 0, rng))
			time.Sleep(time.Until(p.begin.Add(from)) + time.Duration(rng.Int64N(int64(span))))
			for n := 1; n < 10; n++ {
				if c := p.callBy(rt, p.Context(), p.anyRequest(caller, n, rng)); !refused(c) {
					break
				}
				time.Sleep(again)
			}
		})
	}
}

func refused(c call) bool { return errors.Is(c.err, syscall.ECONNREFUSED) }

// Where the listening socket outlives the process, a restart costs the calls
// on their way.
func TestIncidentReconnectStormLosesNothingIdempotent(t *testing.T) {
	for name, transports := range map[string]int{"one transport": 1, "2,500 transports": stormClients} {
		t.Run(name, func(t *testing.T) {
			in := incident{scenario: "reconnect-storm", latency: 10 * time.Millisecond}
			in.withBoth(t, storm(transports, 10*time.Second-30*time.Millisecond, 60*time.Millisecond, time.Second), func(p *play) {
				p.onlyHonestFailures()
				const each = "one for each to begin with, one after the restart, and one for each resend"
				if transports > 1 {
					require.LessOrEqual(p, int(p.dials.Load()), 3*stormClients, each)
					return
				}
				s := p.tr.Stats().Total
				require.LessOrEqual(p, int(p.dials.Load()), 2*stormClients+int(s.Resent[idlewise.Unknown]), each)
				// How many connections idle at that moment is chance.
				require.NotZero(p, s.Resent[idlewise.Unknown]+s.Closed[idlewise.ClosedServerRST])
			}, (*play).showsTheIncident)
		})
	}
}

// Where nobody listens for two seconds, calls fail in them: a dial's error is
// the caller's, a resend's too once it was tried again. What holds is that
// whoever calls when the server is back is served, that no call dials more
// often than its attempts, and that nothing is executed twice.
func TestIncidentReconnectStormIsServedOnceSomebodyListens(t *testing.T) {
	in := incident{scenario: "reconnect-storm", latency: 10 * time.Millisecond, refusing: []string{"restarting"}}
	const back = 12 * time.Second
	program := storm(1, 10*time.Second-30*time.Millisecond, 60*time.Millisecond, time.Second)
	in.perform(t, true, program, func(p *play) {
		down, servedLater := 0, 0
		for _, c := range p.calls {
			switch {
			case c.at >= back:
				require.NoError(p, c.err)
				servedLater++
			case c.idempotent && c.err != nil:
				require.True(p, refused(c), "%s: %v", c.key, c.err)
				fallthrough
			case c.err != nil:
				down++
			}
		}
		require.NotZero(p, servedLater)
		p.Logf("%d calls failed while nobody listened, %d clients were served when the server was back", down, servedLater)
		resends := int(p.tr.Stats().Total.Resent[idlewise.Unknown])
		require.LessOrEqual(p, int(p.dials.Load()), len(p.calls)+3*resends)
		p.nothingTwice()
	})
}
