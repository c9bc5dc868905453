package faultserver_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// rehearse plays an embedded scenario to callers that use net/http over a
// network with jitter, and returns the journal's requests, one line each, sorted
// by key.
func rehearse(t *testing.T, scenario string, seed uint64, callers int) (lines []string) {
	synctest.Test(t, func(t *testing.T) {
		sc, err := faultserver.LoadScenario(scenario)
		require.NoError(t, err)
		start := time.Now()
		network := memnet.New(memnet.Options{Latency: 3 * time.Millisecond, Jitter: 4 * time.Millisecond, Seed: seed})
		ln, err := network.Listen("10.0.0.1:80")
		require.NoError(t, err)
		s := faultserver.Start(t, faultserver.Config{Listener: ln, DialContext: network.DialContext, Scenario: sc, Seed: seed})
		var all sync.WaitGroup
		for caller := range callers {
			all.Go(func() {
				tr := &http.Transport{DialContext: network.DialContext}
				defer tr.CloseIdleConnections()
				// Each in an instant of its own: who comes first is then no
				// accident.
				time.Sleep(time.Duration(caller) * 17001 * time.Microsecond)
				for i := range 300 {
					method := []string{"GET", "POST"}[i%2]
					req, err := http.NewRequest(method, s.URL, strings.NewReader("body"))
					if err != nil {
						panic(err)
					}
					req.Header.Set("X-Fault-Key", fmt.Sprintf("%d-%03d", caller, i))
					if resp, err := tr.RoundTrip(req); err == nil {
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
					time.Sleep(time.Duration(200+13*caller) * time.Millisecond)
				}
			})
		}
		all.Wait()
		for _, r := range s.Journal().Requests() {
			lines = append(lines, fmt.Sprintf("%s %s after %v: nth %d, idle %v, %v, executed %d, answered %v, %d, %v",
				r.Key, r.Method, r.Time.Sub(start), r.NthOnConn, r.IdleBefore, r.Phase, r.Executed, r.Answered, r.Status, r.Faults))
		}
		s.Close()
		time.Sleep(time.Minute)
	})
	slices.Sort(lines)
	return lines
}

func TestTwoRunsOfAnEmbeddedScenarioWithOneSeedGiveTheSameJournal(t *testing.T) {
	for _, scenario := range []string{"response-lost", "rolling-restart", "scale-down", "no-graceful-stop"} {
		for _, callers := range []int{1, 5} {
			t.Run(fmt.Sprintf("%s to %d", scenario, callers), func(t *testing.T) {
				first := rehearse(t, scenario, 1, callers)
				require.GreaterOrEqual(t, len(first), 300*callers)
				require.Equal(t, first, rehearse(t, scenario, 1, callers))
				require.NotEqual(t, first, rehearse(t, scenario, 2, callers))
			})
		}
	}
}
