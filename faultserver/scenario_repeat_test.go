package faultserver_test

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// outcome is a request's row.
type outcome struct {
	Key    string
	At     time.Time
	Nth    int
	Status int
	Phase  faultserver.Phase
	Faults string
	Times  int
}

func TestTwoRunsOfAScenarioWithOneSeedGiveTheSameJournal(t *testing.T) {
	run := func(seed uint64) (journal []outcome) {
		synctest.Test(t, func(t *testing.T) {
			sc := parse(t, `
name: seeded
phases:
  - name: flaky
    duration: 1m
    faults:
      - {kind: delay, after: 10ms, jitter: 100ms, probability: 0.5}
      - {kind: status, code: 503, probability: 0.3}
      - {kind: announce-close, probability: 0.2}
      - {kind: fin-after-request, executed: true, probability: 0.1}
  - {name: restarting, do: restart, duration: 10s, faults: [{kind: idle-close, after: 1s, jitter: 3s}]}
repeat: 2
`)
			sc.Server.Seed = seed
			s, dial := virtual(t, faultserver.Config{Scenario: sc})
			done := make(chan struct{})
			const callers = 8
			for i := range callers {
				go func() {
					defer func() { done <- struct{}{} }()
					time.Sleep(time.Duration(i) * 7 * time.Millisecond) // so that who is first is no accident
					nc := dial()
					br := bufio.NewReader(nc)
					for n := range 30 {
						time.Sleep(3 * time.Second)
						io.WriteString(nc, post("/", "", fmt.Sprintf("X-Fault-Key: %d/%d", i, n)))
						resp, err := http.ReadResponse(br, nil)
						if err == nil {
							io.Copy(io.Discard, resp.Body)
						}
						if err != nil || resp.Close {
							nc.Close()
							nc = dial()
							br.Reset(nc)
						}
					}
					nc.Close()
				}()
			}
			for range callers {
				<-done
			}
			endVirtual(s)
			for _, r := range s.Journal().Requests() {
				journal = append(journal, outcome{r.Key, r.Time, r.NthOnConn, r.Status, r.Phase, fmt.Sprint(r.Faults), r.Executed})
			}
		})
		slices.SortFunc(journal, func(a, b outcome) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Key, b.Key)) })
		return journal
	}
	one := run(1)
	require.Greater(t, len(one), 200)
	require.Equal(t, one, run(1))
	require.NotEqual(t, one, run(2))
}
