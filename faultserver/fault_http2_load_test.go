package faultserver_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestUnderHTTP2FaultsAndLoadNothingIsExecutedTwiceAndTheJournalKnowsAll(t *testing.T) {
	defer log.SetOutput(log.Writer())
	log.SetOutput(io.Discard)
	var mu sync.Mutex
	ran := map[string]int{}
	cfg := faultserver.Config{Protocols: protocols(h2c), Seed: 1, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			mu.Lock()
			ran[r.Header.Get("X-Fault-Key")]++
			mu.Unlock()
			answerBody(w, r)
		})}
	for _, f := range []fault{
		{Kind: faultserver.ZeroWindowUpdate}, {Kind: faultserver.WindowOverflow, Value: "connection"}, badHead("junk-status"),
		badTrailers("pseudo"), {Kind: faultserver.BadHPACK}, {Kind: faultserver.CloseInFrame}, {Kind: faultserver.OversizeFrame},
		{Kind: faultserver.GoAwayTwice}, {Kind: faultserver.GoAwayTwice, After: 1}, {Kind: faultserver.GoAwayAhead},
		{Kind: faultserver.GoAwayStay, After: 1}, {Kind: faultserver.SettingsFlood, Count: 50}, {Kind: faultserver.PingFlood, Count: 50},
		{Kind: faultserver.EmptyDataFlood, Count: 50}, {Kind: faultserver.ContinuationFlood, Count: 50},
		{Kind: faultserver.ChangeSettings, Value: "initial-window-size=100"}, {Kind: faultserver.ChangeMaxStreams, Count: 1},
		{Kind: faultserver.DataOnClosedStream}, {Kind: faultserver.ResetStreamAfterAnswer, Code: 8}, {Kind: faultserver.PushPromise},
		{Kind: faultserver.SettingsLate, After: 1}, {Kind: faultserver.StartMaxStreams}, {Kind: faultserver.ConnWindowWithheld, After: 1},
	} {
		f.Probability = 0.02
		cfg.Faults = append(cfg.Faults, f)
	}
	s := faultserver.Start(t, cfg)
	answered := make([]int, 8)
	var wg sync.WaitGroup
	for worker := range answered {
		wg.Go(func() {
			for n := range 150 {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				req, _ := http.NewRequestWithContext(ctx, "POST", s.URL, strings.NewReader(strings.Repeat("x", 1000)))
				req.Header.Set("X-Fault-Key", fmt.Sprint(worker, "-", n))
				if resp, err := s.Client().Do(req); err == nil {
					if _, err := io.ReadAll(resp.Body); err == nil {
						answered[worker]++
					}
					resp.Body.Close()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.Close())

	total, rows := 0, 0
	for _, n := range answered {
		total += n
	}
	for _, r := range s.Journal().Requests() {
		if r.Answered {
			rows++
		}
	}
	require.Positive(t, total)
	require.GreaterOrEqual(t, rows, total, "whatever was received was written")
	got := s.Journal().Executions()
	for key, times := range ran {
		require.Equal(t, times, got[key], key)
	}
	s.Journal().AssertNoneExecutedTwice(t)
	for _, c := range s.Journal().Conns() {
		require.NotEqual(t, faultserver.StillOpen, c.ClosedBy)
	}
}
