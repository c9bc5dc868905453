package faultserver_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestTheJournalAgreesWithTheHandlerUnderFaultsAndLoad(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		var mu sync.Mutex
		ran := map[string]int{}
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			mu.Lock()
			ran[r.Header.Get("X-Fault-Key")]++
			mu.Unlock()
			io.WriteString(w, "ok")
		})
		cfg.Seed, cfg.IdleTimeout = 1, 5*time.Millisecond
		for _, f := range []faultserver.Fault{
			{Kind: faultserver.SilentClose}, {Kind: faultserver.FinAfterRequest}, {Kind: faultserver.RstAfterRequest},
			{Kind: faultserver.FinAfterRequest, Executed: true}, {Kind: faultserver.CloseInBody, Bytes: 1},
			{Kind: faultserver.CloseInHeaders}, {Kind: faultserver.CloseOnReuse},
			{Kind: faultserver.ResetStream, Code: 7}, {Kind: faultserver.GoAway}, {Kind: faultserver.GoAwayBelow},
			{Kind: faultserver.ResetStreamAfterHeaders, Code: 2}, {Kind: faultserver.CloseWithoutGoAway},
			{Kind: faultserver.IdleClose, After: time.Millisecond, Jitter: 5 * time.Millisecond},
		} {
			f.Probability = 0.02
			if canStrike(t, cfg, f) {
				cfg.Faults = append(cfg.Faults, f)
			}
		}
		s := faultserver.Start(t, cfg)
		answered := make([]int, 8)
		var wg sync.WaitGroup
		for worker := range answered {
			wg.Go(func() {
				for n := range 100 {
					req, _ := http.NewRequest("POST", s.URL, strings.NewReader("body"))
					req.Header.Set("X-Fault-Key", fmt.Sprint(worker, "-", n))
					resp, err := s.Client().Do(req)
					if err != nil {
						continue
					}
					if _, err := io.ReadAll(resp.Body); err == nil {
						answered[worker]++
					}
					resp.Body.Close()
					if worker == 0 && n%25 == 24 {
						s.Restart()
					}
				}
			})
		}
		wg.Wait()
		s.Kill()
		require.NoError(t, s.Close())

		got := s.Journal().Executions()
		for key, times := range ran {
			require.Equal(t, times, got[key], key)
		}
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
		for _, c := range s.Journal().Conns() {
			require.NotEqual(t, faultserver.StillOpen, c.ClosedBy)
			require.NotZero(t, c.Closed)
		}
	})
}

func BenchmarkServe(b *testing.B) {
	for name, cfg := range map[string]faultserver.Config{
		"HTTP1": {}, "HTTP2": {Protocols: protocols(h2c)},
	} {
		b.Run(name, func(b *testing.B) {
			s, err := faultserver.New(cfg)
			require.NoError(b, err)
			defer s.Close()
			client := s.Client()
			b.ReportAllocs()
			for b.Loop() {
				resp, err := client.Get(s.URL)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
