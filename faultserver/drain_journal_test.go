package faultserver_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// Clients keep sending while the server drains again and again. Whatever a
// client has sent and had answered is in the journal, once, and so is every
// connection, with the drain as the reason of its end.
func TestADrainNeverLosesAJournalRow(t *testing.T) {
	const callers, drains = 32, 20
	s := faultserver.Start(t, faultserver.Config{})
	var stop atomic.Bool
	var answered [callers][]string
	var dialed, lost atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := 0; !stop.Load(); {
				nc, err := net.Dial("tcp", s.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				dialed.Add(1)
				br := bufio.NewReader(nc)
				for !stop.Load() {
					n++
					key := fmt.Sprintf("caller %d request %d", i, n)
					if _, err := nc.Write([]byte(post("/", "body", "X-Fault-Key: "+key))); err != nil {
						lost.Add(1)
						break
					}
					resp, err := http.ReadResponse(br, nil)
					if err != nil {
						lost.Add(1) // it crossed the FIN
						break
					}
					resp.Body.Close()
					answered[i] = append(answered[i], key)
					if resp.Close {
						break
					}
				}
				nc.Close()
			}
		})
	}
	for range drains {
		before := len(s.Journal().Requests())
		require.NoError(t, s.Journal().Wait(t.Context(), func() bool { return len(s.Journal().Requests()) > before+callers }))
		require.NoError(t, s.Drain(t.Context()))
	}
	stop.Store(true)
	wg.Wait()
	require.NoError(t, s.Close())

	var file bytes.Buffer
	require.NoError(t, s.Journal().WriteJSONL(&file))
	journal, err := faultserver.ReadJSONL(&file)
	require.NoError(t, err)
	rows := make(map[string]faultserver.RequestRecord)
	for _, r := range journal.Requests() {
		require.NotContains(t, rows, r.Key)
		rows[r.Key] = r
		require.False(t, r.Ended.IsZero(), "%+v", r)
	}
	total := 0
	for _, keys := range answered {
		for _, key := range keys {
			require.True(t, rows[key].Answered, "%s: %+v", key, rows[key])
			require.Equal(t, 1, rows[key].Executed)
			total++
		}
	}
	require.LessOrEqual(t, len(rows), total+int(lost.Load()), "nothing is in the journal that was not sent")
	journal.AssertNoneOpen(t)
	require.LessOrEqual(t, len(journal.Conns()), int(dialed.Load()))
	conns := make(map[int64]bool)
	for _, c := range journal.Conns() {
		conns[c.ID] = true
	}
	for _, r := range rows {
		require.True(t, conns[r.Conn], "%+v", r)
	}
	draining := 0
	for _, c := range journal.Conns() {
		if c.Reason == faultserver.Draining {
			draining++
		}
	}
	require.GreaterOrEqual(t, draining, drains)
	t.Logf("%d requests on %d connections, %d of them drained, %d requests crossed a FIN", total, dialed.Load(), draining, lost.Load())
}
