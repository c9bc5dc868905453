package faultserver_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func parse(t *testing.T, text string) *faultserver.Scenario {
	t.Helper()
	sc, err := faultserver.ParseScenario([]byte(text), "test.yaml")
	require.NoError(t, err)
	return sc
}

// status asks on a connection and returns the answer's status.
func status(t *testing.T, nc net.Conn, br *bufio.Reader) int {
	t.Helper()
	_, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: t\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(br, nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	return resp.StatusCode
}

func TestPhasesFollowOneAnotherByTimeRequestsAndConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := parse(t, `
name: phases
faults:
  - {kind: status, code: 299, path: /never}
phases:
  - {name: timed, duration: 10s, faults: [{kind: status, code: 501}]}
  - {name: counted, until: {requests: 2}, faults: [{kind: status, code: 502}]}
  - {name: connected, until: {connections: 1}, faults: [{kind: status, code: 503}]}
  - {name: last, faults: [{kind: status, code: 504}]}
`)
		s, dial := virtual(t, faultserver.Config{Scenario: sc})
		require.Equal(t, "phases 1/4 timed", s.Phase().String())
		c := dial()
		br := bufio.NewReader(c)
		require.Equal(t, 501, status(t, c, br))
		time.Sleep(10*time.Second - 8*virtualLatency)
		require.Equal(t, 501, status(t, c, br))
		time.Sleep(5 * virtualLatency)
		require.Equal(t, "counted", s.Phase().Phase)
		require.Equal(t, 502, status(t, c, br))
		require.Equal(t, 502, status(t, c, br))
		require.Equal(t, 503, status(t, c, br), "the phase is over when its last request is answered")
		require.Equal(t, "connected", s.Phase().Phase)
		other := dial()
		require.Equal(t, 504, status(t, other, bufio.NewReader(other)))
		require.Equal(t, 504, status(t, c, br), "existing connections too")
		require.Equal(t, "phases 4/4 last", s.Phase().String())
		time.Sleep(time.Hour)
		require.Equal(t, 504, status(t, c, br), "the last phase without an end stays")
		s.StopScenario()
		require.Equal(t, 200, status(t, c, br))
		require.True(t, s.Phase().Ended)
		endVirtual(s, c, other)
	})
}

func TestARequestThatOvertakesAPhasesLastOneBelongsToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{Scenario: parse(t, `
name: overtaken
phases:
  - {name: slow, until: {requests: 1}, faults: [{kind: delay, after: 1m}]}
  - {name: fast}
`)})
		slow, fast := dial(), dial()
		began := time.Now()
		took := make(chan time.Duration)
		go func() {
			exchangeRaw(t, slow)
			took <- time.Since(began)
		}()
		time.Sleep(time.Second)
		exchangeRaw(t, fast)
		require.Less(t, time.Since(began), 2*time.Second)
		require.Equal(t, "fast", s.Phase().Phase)
		require.Greater(t, <-took, time.Minute)
		endVirtual(s, slow, fast)
	})
}

func TestAPhaseDoesOperationsAndEndsWhenTheyAreDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{})
		fresh := dial() // a drain gives it a second
		time.Sleep(time.Second)
		began := time.Now()
		require.NoError(t, s.Play(t.Context(), parse(t, `
name: draining
phases:
  - {name: before, duration: 5s}
  - {name: drain, do: drain, until: {done: true}}
  - {name: after, do: restart, duration: 2s}
`)))
		require.Equal(t, 8*time.Second, time.Since(began))
		require.Equal(t, faultserver.Draining, onlyConn(t, s).Reason)
		c := dial()
		exchangeRaw(t, c)
		require.Equal(t, 2, s.Journal().Conns()[1].Generation)
		endVirtual(s, fresh, c)
	})
}

func TestAnOperationThatOutlastsItsPhaseIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler, arrived, release := gated()
		s, dial := virtual(t, faultserver.Config{Handler: handler})
		c := dial()
		_, err := io.WriteString(c, "GET /wait HTTP/1.1\r\nHost: t\r\n\r\n")
		require.NoError(t, err)
		<-arrived
		began := time.Now()
		require.NoError(t, s.Play(t.Context(), parse(t, `
name: impatient
phases:
  - {name: drain, do: [drain, kill], duration: 5s}
`)))
		require.Equal(t, 5*time.Second, time.Since(began))
		close(release)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err, "the kill was given up, too")
		require.True(t, resp.Close)
		endVirtual(s, c)
	})
}

func TestAScenarioRepeatsAndCountsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{Scenario: parse(t, `
name: again
phases:
  - {name: fails once, until: {requests: 2}, faults: [{kind: status, code: 503, times: 1}]}
repeat: 3
`)})
		c := dial()
		br := bufio.NewReader(c)
		var got []int
		for range 8 {
			got = append(got, status(t, c, br))
		}
		require.Equal(t, []int{503, 200, 503, 200, 503, 200, 200, 200}, got)
		require.True(t, s.Phase().Ended)
		endVirtual(s, c)
	})
}

func TestTimesAreScaledWhereTheScenarioSaysSo(t *testing.T) {
	for scaled, want := range map[string]time.Duration{"true": time.Second, "false": 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s, dial := virtual(t, faultserver.Config{TimeScale: 10, Personality: "uvicorn"})
			c := dial()
			exchangeRaw(t, c)
			began := time.Now()
			require.NoError(t, s.Play(t.Context(), parse(t, "name: a\nscale_times: "+scaled+`
phases:
  - {name: b, duration: 10s, faults: [{kind: idle-close, after: 3s}]}
`)))
			require.Equal(t, want, time.Since(began))
			row := onlyConn(t, s)
			if scaled == "true" {
				require.Equal(t, faultserver.IdleClose, row.Fault)
				require.Equal(t, 300*time.Millisecond, row.IdleAge)
			} else {
				require.Equal(t, faultserver.IdleTimeout, row.Reason)
			}
			endVirtual(s, c)
		})
	}
}

func TestPlayEndsWithItsContextAndWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{})
		forever := parse(t, `
name: forever
phases: [{name: a, duration: 1h, faults: [{kind: status, code: 503}]}]
forever: true
`)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour+time.Minute)
		defer cancel()
		require.ErrorIs(t, s.Play(ctx, forever), context.DeadlineExceeded)
		require.ErrorIs(t, s.Phase().Err, context.DeadlineExceeded)
		require.Equal(t, 101, s.Phase().Round)
		c := dial()
		require.Equal(t, 200, status(t, c, bufio.NewReader(c)))

		ended := make(chan error)
		go func() { ended <- s.Play(t.Context(), forever) }()
		synctest.Wait()
		require.ErrorIs(t, s.Play(t.Context(), forever), faultserver.ErrPlaying)
		endVirtual(s, c)
		require.ErrorIs(t, <-ended, faultserver.ErrClosed)
		require.ErrorIs(t, s.Play(t.Context(), forever), faultserver.ErrClosed)
	})
}

func TestPlayRefusesAScenarioForAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := parse(t, "name: a\nserver: {personality: nginx, tls: true}\nphases: [{name: b, duration: 1s}]")
		plain, _ := virtual(t, faultserver.Config{})
		require.EqualError(t, plain.Play(t.Context(), sc),
			"faultserver: play: scenario a: it needs a server that was started with server.personality: nginx, server.tls: true: start one with Config.Scenario")
		plain.Close()

		other, _ := virtual(t, faultserver.Config{Personality: "uvicorn", TLS: true})
		require.NoError(t, other.Play(t.Context(), sc), "what Config sets itself is meant")
		other.Close()

		same, _ := virtual(t, faultserver.Config{Scenario: sc})
		require.Equal(t, "https", same.URL[:5])
		time.Sleep(2 * time.Second)
		require.NoError(t, same.Play(t.Context(), sc))
		same.Close()
	})
}

func TestPhasesEndByRequestsOnEveryProtocol(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		cfg.Scenario = parse(t, `
name: outage
phases:
  - {name: down, until: {requests: 2}, faults: [{kind: status, code: 503}]}
  - {name: lossy, until: {requests: 1}, faults: [{kind: fin-after-request, executed: true}]}
  - {name: counted, until: {requests: 1}}
  - {name: well}
`)
		s := faultserver.Start(t, cfg)
		var got []int
		for range 5 {
			resp, err := s.Client().Post(s.URL, "", nil)
			if err != nil {
				got = append(got, 0)
				continue
			}
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			resp.Body.Close()
			got = append(got, resp.StatusCode)
		}
		require.Equal(t, []int{503, 503, 0, 200, 200}, got)
		require.Equal(t, "well", s.Phase().Phase)
		require.Len(t, s.Journal().Requests(), 5)
	})
}

func TestAScenariosSeedBeginsItsDrawsAnewEachTimeItIsPlayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := parse(t, "name: a\nserver: {seed: 3}\nphases: [{name: b, faults: [{kind: status, code: 503, probability: 0.5}]}]")
		s, dial := virtual(t, faultserver.Config{})
		c := dial()
		br := bufio.NewReader(c)
		var patterns [2][]int
		for i := range patterns {
			require.NoError(t, s.Play(t.Context(), sc))
			for range 20 {
				patterns[i] = append(patterns[i], status(t, c, br))
			}
		}
		require.Equal(t, patterns[0], patterns[1])
		require.Contains(t, patterns[0], 200)
		require.Contains(t, patterns[0], 503)
		endVirtual(s, c)
	})
}

func TestUvicornFiveSecondsIsPlayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc, err := faultserver.LoadScenario("uvicorn-five-seconds")
		require.NoError(t, err)
		s, dial := virtual(t, faultserver.Config{Scenario: sc})
		c := dial()
		for range 3 {
			exchangeRaw(t, c)
		}
		synctest.Wait()
		require.Equal(t, "after-a-pause", s.Phase().Phase)
		time.Sleep(6 * time.Second)
		require.Equal(t, 5*time.Second, onlyConn(t, s).IdleAge)
		endVirtual(s, c)
	})
}
