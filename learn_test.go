package idlewise

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestAnUnannouncedTimeoutIsLearnedFromWhatConnectionsComeTo(t *testing.T) {
	cfg := worldConfig{latency: 10 * time.Millisecond, server: faultserver.Config{IdleTimeout: 5 * time.Second}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		rng := rand.New(rand.NewPCG(1, 2))
		for range 500 {
			w.do(context.Background(), "POST", "/", "x")
			time.Sleep(4900*time.Millisecond + time.Duration(rng.Int64N(int64(200*time.Millisecond))))
		}
		s := w.only()
		require.LessOrEqual(t, s.StaleOther, uint64(3), "then it is known")
		e := w.tr.Explain(w.server.URL)
		require.Equal(t, DeadlineLearned, e.Source)
		require.InDelta(t, 5, e.ServerKeepAlive.Seconds(), 0.05)
		require.Contains(t, e.String(), "before the server's 5s (learned)")
	})
}

func TestWhatIsLearnedIsNotUsedIfThePolicySaysSo(t *testing.T) {
	for name, pol := range map[string]Policy{"configured": {ServerKeepAlive: 4 * time.Second}, "off": {Learning: Off}} {
		cfg := worldConfig{server: faultserver.Config{IdleTimeout: 3 * time.Second}, client: Config{Policies: Policies{Default: pol}}}
		inWorld(t, cfg, func(t *testing.T, w *world) {
			for range 5 {
				w.mustDo("GET", "/", "")
				time.Sleep(10 * time.Second)
			}
			source := w.tr.Explain(w.server.URL).Source
			require.NotEqual(t, DeadlineLearned, source, name)
			require.NotEqual(t, DeadlineProvisional, source, name)
		})
	}
}

// Node says 5 s and closes at 6.03 s.
func TestACanaryFindsOutThatTheServerWaitsLongerThanItAnnounces(t *testing.T) {
	cfg := worldConfig{server: faultserver.Config{Personality: "node"}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(5500 * time.Millisecond)
		s := w.only()
		require.Equal(t, 1, s.Canaries)
		require.Equal(t, 1, s.Open, "its socket is open")
		require.Zero(t, s.Idle, "it gets no request")
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 2, w.dials.Load())
		for range 10 {
			time.Sleep(20 * time.Second)
			w.mustDo("GET", "/", "")
		}
		e := w.tr.Explain(w.server.URL)
		require.Equal(t, DeadlineLearned, e.Source)
		require.InDelta(t, 6.03, e.ServerKeepAlive.Seconds(), 0.06)
		require.Zero(t, w.only().StaleIdempotent)
	})
}

func TestATimeoutThatWasRaisedIsNoticedByCanaries(t *testing.T) {
	var raised bool
	cfg := worldConfig{server: faultserver.Config{}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		remove := w.server.Inject(faultserver.Fault{Kind: faultserver.IdleClose, After: 5 * time.Second})
		for i := range 200 {
			w.mustDo("GET", "/", "")
			time.Sleep(20 * time.Second)
			if i == 100 {
				require.Equal(t, DeadlineLearned, w.tr.Explain(w.server.URL).Source)
				remove()
				w.server.Inject(faultserver.Fault{Kind: faultserver.IdleClose, After: 12 * time.Second})
				raised = true
			}
		}
		require.True(t, raised)
		require.InDelta(t, 12, w.tr.Explain(w.server.URL).ServerKeepAlive.Seconds(), 0.1)
	})
}

func TestACanaryMakesWayForACallerAtMaxConns(t *testing.T) {
	cfg := worldConfig{
		server: faultserver.Config{Personality: "node"},
		client: Config{Policies: Policies{Default: Policy{MaxConns: 1}}},
	}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(5500 * time.Millisecond)
		require.Equal(t, 1, w.only().Canaries)
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 1, w.most.Load(), "MaxConns is kept")
		require.Zero(t, w.only().Canaries)
	})
}

func TestThereAreNoMoreCanariesThanAllowedAndNoneIfOff(t *testing.T) {
	for _, client := range []Config{
		{MaxCanaries: -1},
		{Policies: Policies{Default: Policy{Canary: Off}}},
	} {
		inWorld(t, worldConfig{server: faultserver.Config{Personality: "node"}, client: client}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			time.Sleep(5500 * time.Millisecond)
			synctest.Wait()
			require.Zero(t, w.only().Canaries)
			require.Zero(t, w.only().Open)
		})
	}
}

func TestCloseIdleConnectionsAndShutdownEndTheCanaryToo(t *testing.T) {
	for _, end := range []func(*Transport){
		(*Transport).CloseIdleConnections,
		func(tr *Transport) { tr.Shutdown(context.Background()) },
	} {
		inWorld(t, worldConfig{server: faultserver.Config{Personality: "node"}}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			time.Sleep(5500 * time.Millisecond)
			require.Equal(t, 1, w.only().Canaries)
			end(w.tr)
			require.Zero(t, w.only().Canaries)
			require.Zero(t, w.only().Open)
		})
	}
}

// Two addresses of one name, with servers of different kinds behind them.
func TestEachAddressOfANameHasItsOwnDeadlineOnceThatIsConfirmed(t *testing.T) {
	var e experience
	at := time.Now()
	for i := range 6 {
		at = at.Add(time.Minute)
		address, age := "10.0.0.1:80", 5*time.Second
		if i%2 == 1 {
			address, age = "10.0.0.2:80", 60*time.Second
		}
		e.name.Closed(at, age)
		if own := e.at(address); own != nil {
			own.Closed(at, age)
		}
	}
	d, sure := e.known("10.0.0.2:80")
	require.Equal(t, "confirmed", sure.String())
	require.Equal(t, 60*time.Second, d)
	d, _ = e.known("10.0.0.1:80")
	require.Equal(t, 5*time.Second, d)
	d, _ = e.known("10.0.0.3:80")
	require.Equal(t, 5*time.Second, d, "of one that nothing is known about the lowest")

	for i := range 100 {
		e.at(fmt.Sprint(i)).Closed(at, time.Second)
	}
	require.LessOrEqual(t, len(e.addresses), maxAddresses)
}
