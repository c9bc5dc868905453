package faultserver_test

import (
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// workload runs five callers against a server with faults at random, over a
// network with jitter and losses, and returns the journal's requests, one line
// each, sorted by key.
func workload(t *testing.T, seed uint64) []string {
	var lines []string
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		network := memnet.New(memnet.Options{
			Latency: 3 * time.Millisecond, Jitter: 4 * time.Millisecond, Loss: 0.02,
			DelayedAck: 40 * time.Millisecond, Seed: seed,
		})
		ln, err := network.Listen("10.0.0.1:80")
		require.NoError(t, err)
		s := faultserver.Start(t, faultserver.Config{
			Listener: ln, DialContext: network.DialContext, Personality: "uvicorn", Seed: seed,
			Faults: []faultserver.Fault{
				{Kind: faultserver.RstAfterRequest, Probability: 0.1, Executed: true},
				{Kind: faultserver.IdleClose, After: 2 * time.Second, Jitter: time.Second, Probability: 0.3},
			},
		})
		var callers sync.WaitGroup
		for caller := range 5 {
			callers.Go(func() {
				tr := &http.Transport{DialContext: network.DialContext}
				defer tr.CloseIdleConnections()
				// Apart in time, so that they dial in this order: connections
				// draw by the number of their dial.
				time.Sleep(time.Duration(caller) * 17 * time.Millisecond)
				for i := range 40 {
					method := []string{"GET", "POST", "PUT"}[i%3]
					req, err := http.NewRequest(method, s.URL, strings.NewReader("body"))
					if err != nil {
						panic(err)
					}
					req.Header.Set("X-Fault-Key", fmt.Sprintf("%d-%02d", caller, i))
					if resp, err := tr.RoundTrip(req); err == nil {
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
					time.Sleep(time.Duration(i*i*(caller+3)) * time.Millisecond)
				}
			})
		}
		callers.Wait()
		for _, r := range s.Journal().Requests() {
			lines = append(lines, fmt.Sprintf("%s %s after %v: nth %d, idle %v, %v, executed %d, answered %v, %d, %v",
				r.Key, r.Method, r.Time.Sub(start), r.NthOnConn, r.IdleBefore, r.Phase, r.Executed, r.Answered, r.Status, r.Faults))
		}
		s.Close()
		time.Sleep(time.Hour)
	})
	sort.Strings(lines)
	return lines
}

func TestTwoRunsWithOneSeedWriteTheSameJournal(t *testing.T) {
	for seed := range uint64(5) {
		first := workload(t, seed)
		require.GreaterOrEqual(t, len(first), 200)
		require.Equal(t, first, workload(t, seed), "seed %d", seed)
		require.NotEqual(t, first, workload(t, seed+100))
	}
}
