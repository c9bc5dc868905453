package faultserver_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

const seed = 1

// Every outage and every fault of connections at once, in an order that a seed
// gives, under load: nothing deadlocks, races, leaks or is left open.
func TestOutagesOfAllKindsUnderLoadEndCleanly(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		cfg.Handler = collected
		s := faultserver.Start(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		post := func(patience time.Duration) {
			ctx, giveUp := context.WithTimeout(ctx, patience)
			defer giveUp()
			if resp, err := postWith(ctx, s); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
		for range 8 {
			callers.Go(func() {
				for ctx.Err() == nil {
					post(20 * time.Millisecond)
				}
			})
		}
		rng := rand.New(rand.NewPCG(seed, 2))
		faults := []faultserver.Fault{
			{Kind: faultserver.Latency, After: time.Millisecond, Jitter: time.Millisecond},
			{Kind: faultserver.Bandwidth, Rate: 1 << 16}, {Kind: faultserver.SlowClose, After: time.Millisecond},
			{Kind: faultserver.RefuseConnections}, {Kind: faultserver.RefuseConnections, After: time.Millisecond},
			{Kind: faultserver.FullBacklog}, {Kind: faultserver.SilentListener}, {Kind: faultserver.PauseServer, After: time.Millisecond},
			{Kind: faultserver.AcceptReset, Probability: 0.5}, {Kind: faultserver.AcceptLate, After: time.Millisecond},
			{Kind: faultserver.IdleVanish, After: time.Microsecond}, {Kind: faultserver.IdleForget, After: time.Microsecond},
			{Kind: faultserver.VanishOnRequest, Probability: 0.1}, {Kind: faultserver.CrashOnRequest, Probability: 0.1, After: time.Millisecond},
		}
		operations := []func(){
			s.Pause, func() { s.Resume() }, func() { s.Crash() }, func() { s.Vanish() }, s.Kill, s.Restart,
			func() { s.RestartAbruptly(ctx, time.Millisecond) },
			func() {
				soon, cancel := context.WithTimeout(ctx, time.Millisecond)
				defer cancel()
				s.Stop(soon)
			},
		}
		var removes []func()
		for range 150 {
			post(2 * time.Millisecond)
			switch rng.IntN(4) {
			case 0, 1:
				if remove, err := s.InjectE(faults[rng.IntN(len(faults))]); err == nil {
					removes = append(removes, remove)
				}
			case 2:
				operations[rng.IntN(len(operations))]()
			case 3:
				if len(removes) > 0 {
					removes[0]()
					removes = removes[1:]
				}
			}
		}
		for _, remove := range removes {
			remove()
		}
		cancel()
		callers.Wait()
		require.NoError(t, s.Resume())
		require.NoError(t, s.Drain(t.Context())) // a request under way may still crash the server
		require.NoError(t, s.Resume())
		// Another client: the old one may still be dialing for callers that have
		// given up, on connections that faults have struck.
		fresh := s.Client().Transport.(*http.Transport).Clone()
		resp, err := (&http.Client{Transport: fresh}).Get(s.URL)
		require.NoError(t, err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		require.Equal(t, 200, resp.StatusCode, "all is well again")
		fresh.CloseIdleConnections()
		require.NoError(t, s.Close())
		for _, c := range s.Journal().Conns() {
			require.NotEqual(t, faultserver.StillOpen, c.ClosedBy)
		}
	})
}

func postWith(ctx context.Context, s *faultserver.Server) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, strings.NewReader("some body"))
	if err != nil {
		return nil, err
	}
	return s.Client().Do(r)
}
