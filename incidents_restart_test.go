package idlewise_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

// oneAfterTheOther lets each pod's turn come a time after the last one's.
func oneAfterTheOther(apart time.Duration) func(int, *faultserver.Scenario) {
	return func(pod int, sc *faultserver.Scenario) { sc.Phases[0].Duration += time.Duration(pod) * apart }
}

// onlyTheFirst lets so many pods play, and the others serve all the time.
func onlyTheFirst(n int) func(int, *faultserver.Scenario) {
	return func(pod int, sc *faultserver.Scenario) {
		if pod >= n {
			sc.Phases = nil
		}
	}
}

// A rush is when a program's callers, which call every now and then, call in
// quick succession: from a moment before each of the times first, first+every,
// and so on, to a moment after.
type rush struct {
	first, every time.Duration
	calmly       time.Duration // the longest gap otherwise
}

const aMoment = 60 * time.Millisecond

func (r rush) of(callers int, end time.Duration) func(*play) {
	return func(p *play) {
		p.callers(callers, func(caller int, rng *rand.Rand) {
			p.call(p.Context(), p.anyRequest(caller, -1, rng)) // all at once: each gets a connection
			p.until(end, caller, rng, func() time.Duration {
				now := time.Since(p.begin)
				into := (now - r.first + aMoment + 100*r.every) % r.every
				if into < 2*aMoment {
					return time.Duration(rng.Int64N(int64(5 * time.Millisecond)))
				}
				gap := time.Duration(rng.Int64N(int64(r.calmly)))
				return min(gap, r.every-into+time.Duration(rng.Int64N(int64(aMoment))))
			})
		})
	}
}

func TestIncidentRollingRestartLosesNothingIdempotent(t *testing.T) {
	incident{
		scenario: "rolling-restart", latency: 10 * time.Millisecond,
		pods: 3, life: oneAfterTheOther(10 * time.Second), refusing: []string{"stops-accepting-and-resets"},
	}.withBoth(t, rush{0, 5 * time.Second, 2 * time.Second}.of(16, 3*time.Minute), func(p *play) {
		p.onlyHonestFailures()
		for _, pod := range p.pods {
			require.Equal(p, "the-last-successor-serves", pod.Phase().Phase)
		}
		require.NotZero(p, p.tr.Stats().Total.Resent[idlewise.Unknown])
		require.NotZero(p, p.tr.Stats().Total.Closed[idlewise.ClosedConnectionClose])
	}, (*play).showsTheIncident)
}

func TestIncidentScaleDownLosesNothingIdempotent(t *testing.T) {
	program := func(p *play) {
		bursts(96, 0)(p) // more connections than the others will need
		rush{20 * time.Second, time.Hour, 5 * time.Second}.of(64, 30*time.Second)(p)
	}
	incident{
		scenario: "scale-down", latency: 1800 * time.Microsecond,
		pods: 6, life: onlyTheFirst(4), refusing: []string{"stopped", "killed"},
	}.withBoth(t, program, func(p *play) {
		p.onlyHonestFailures()
		require.NotZero(p, p.tr.Stats().Total.Resent[idlewise.Unknown])
		require.NotZero(p, p.tr.Stats().Total.Closed[idlewise.ClosedServerFIN], "those that were idle at the signal")
	}, (*play).showsTheIncident)
}

// protocol lets the transports speak only this one.
func protocol(set func(*http.Protocols, bool)) func(*http.Transport) {
	return func(b *http.Transport) {
		b.Protocols = new(http.Protocols)
		set(b.Protocols, true)
	}
}

func TestIncidentGracefulFalconLosesNothingIdempotentOnHTTP1(t *testing.T) {
	in := incident{scenario: "graceful-falcon", latency: 10 * time.Millisecond, base: protocol((*http.Protocols).SetHTTP1)}
	in.withBoth(t, rush{10 * time.Second, 12 * time.Second, 5 * time.Second}.of(16, 2*time.Minute), func(p *play) {
		p.onlyHonestFailures()
		require.NotZero(p, p.tr.Stats().Total.Resent[idlewise.Unknown])
		require.NotZero(p, slippedIn(p), "first requests after the signal, on connections opened before it")
	}, (*play).showsTheIncident)
}

// TestIncidentGracefulFalconLosesNothingOnHTTP2 cannot show net/http fail: the GOAWAY tells
// it, too, which streams were not processed.
func TestIncidentGracefulFalconLosesNothingOnHTTP2(t *testing.T) {
	in := incident{scenario: "graceful-falcon", latency: 10 * time.Millisecond, base: protocol((*http.Protocols).SetHTTP2)}
	in.withBoth(t, rush{10 * time.Second, 12 * time.Second, 5 * time.Second}.of(16, 2*time.Minute), func(p *play) {
		p.allSucceeded()
		require.NotZero(p, p.tr.Stats().Total.Closed[idlewise.ClosedGoAway])
	}, (*play).allSucceeded)
}

// slippedIn counts requests that a draining connection was opened for, but that
// came after the signal.
func slippedIn(p *play) (n int) {
	opened := make(map[int64]faultserver.ConnRecord)
	for _, c := range p.pods[0].Journal().Conns() {
		opened[c.ID] = c
	}
	for _, r := range p.pods[0].Journal().Requests() {
		signal := p.begin.Add(10 * time.Second)
		for signal.Before(opened[r.Conn].Opened) {
			signal = signal.Add(12 * time.Second)
		}
		if r.NthOnConn == 1 && r.Time.After(signal) && r.Answered {
			n++
		}
	}
	return n
}

// inTwoParts takes its time over a response.
func inTwoParts(l *ledger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.ServeHTTP(twoParts{w}, r) })
}

type twoParts struct{ http.ResponseWriter }

func (w twoParts) Write(p []byte) (int, error) {
	w.ResponseWriter.Write(p[:len(p)/2])
	http.NewResponseController(w.ResponseWriter).Flush()
	time.Sleep(10 * time.Millisecond)
	_, err := w.ResponseWriter.Write(p[len(p)/2:])
	return len(p), err
}

// The process that ends has a successor at once: its supervisor holds the
// listening socket.
func TestIncidentNoGracefulStopCutsNothingOffUnseen(t *testing.T) {
	cutOff := func(c call) bool { return c.status != 0 }
	visiblyCutOff := func(p *play) {
		cut := p.failures(cutOff)
		require.NotEmpty(p, cut, "responses that were cut off")
		for _, c := range cut {
			require.True(p, errors.Is(c.err, io.ErrUnexpectedEOF) || errors.Is(c.err, syscall.ECONNRESET), "%s: %v", c.key, c.err)
		}
	}
	// A server that dies every 13 s, always with connections that have been idle
	// for as long, looks like one with a timeout. Without learning the requests
	// meet what this is about: connections that were in use before.
	in := incident{
		scenario: "no-graceful-stop", latency: 10 * time.Millisecond, handler: inTwoParts,
		policy: idlewise.Policy{Learning: idlewise.Off},
	}
	in.withBoth(t, rush{10 * time.Second, 13 * time.Second, 5 * time.Second}.of(16, 2*time.Minute), func(p *play) {
		visiblyCutOff(p)
		p.without(cutOff)
		p.onlyHonestFailures()
		require.NotZero(p, p.tr.Stats().Total.Resent[idlewise.Unknown])
	}, func(p *play) {
		visiblyCutOff(p)
		p.without(cutOff)
		p.showsTheIncident()
	})
}

func TestIncidentDailyRestartTeachesNothingFalse(t *testing.T) {
	const day, cycle = 24 * time.Hour, 24*time.Hour + time.Minute
	calls := rush{day, cycle, 2 * time.Hour}.of(16, 4*cycle)
	for name, policy := range map[string]idlewise.Policy{
		"announced":  {},
		"configured": {ServerKeepAlive: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			in := incident{scenario: "daily-restart", latency: 10 * time.Millisecond, policy: policy}
			in.withBoth(t, func(p *play) {
				var watching sync.WaitGroup
				if p.tr != nil {
					watching.Go(func() { p.watchRestarts(day, cycle, 4) })
				}
				calls(p)
				watching.Wait()
			}, func(p *play) {
				p.onlyHonestFailures()
				require.NotZero(p, p.tr.Stats().Total.Resent[idlewise.Unknown])
				require.NotZero(p, p.tr.Stats().Total.Closed[idlewise.ClosedIdleDeadline])
				p.noConnectionFailedTwice()
			}, (*play).showsTheIncident)
		})
	}
}

// watchRestarts compares what idlewise knows before each restart with what it
// knows after it.
func (p *play) watchRestarts(first, cycle time.Duration, n int) {
	// An announced timeout shows where a connection is idle.
	explain := func(k int, when time.Duration) idlewise.Explanation {
		time.Sleep(time.Until(p.begin.Add(first + time.Duration(k)*cycle + when)))
		p.call(p.Context(), p.newRequest("GET", fmt.Sprintf("GET %v of %d", when, k)))
		e := p.tr.Explain(p.url("/"))
		e.Conns, e.ClosedLastHour, e.IdleCloses, e.Learned = nil, nil, nil, nil // these also say what happened
		return e
	}
	staleHits := func() uint64 {
		s := p.tr.Stats().Total
		return s.StaleIdempotent + s.StaleOther
	}
	var sofar uint64
	for k := range n {
		before := explain(k, -time.Second)
		assert.Equal(p, sofar, staleHits(), "stale hits without a restart")
		after := explain(k, time.Second)
		assert.Equal(p, before, after)
		if after.Source == idlewise.DeadlineLearned {
			assert.InDelta(p, 6.03, after.ServerKeepAlive.Seconds(), 0.05, "the truth, which is later than announced")
		} else {
			assert.Equal(p, 5*time.Second, after.ServerKeepAlive)
		}
		assert.Greater(p, staleHits(), sofar)
		sofar = staleHits()
	}
}
