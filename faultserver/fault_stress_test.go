package faultserver_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// notAtRandom are the kinds that do not take part, and why.
var notAtRandom = map[faultserver.Kind]string{
	faultserver.RefuseConnections: "is in force for the whole server, from its injection on",
	faultserver.FullBacklog:       "needs a TCP socket, and is in force for the whole server",
	faultserver.SilentListener:    "needs a TCP socket, and is in force for the whole server",
	faultserver.PauseServer:       "is in force for the whole server, from its injection on",
	faultserver.CrashOnRequest:    "ends the whole server",
	faultserver.Loss:              "needs a TCP socket and a right",
	faultserver.IdleVanish:        "fills the client's send buffer, and net/http's HTTP/2 client then waits with its lock held",
	faultserver.Bandwidth:         "as IdleVanish: what waits for a lock stops virtual time",
	faultserver.AcceptLate:        "as IdleVanish",
	faultserver.VanishOnRequest:   "as IdleVanish",
	faultserver.LookupWrong:       "is about names, and nobody looks one up here",
}

// harmless gives a kind the least of what it needs.
func harmless(k faultserver.Kind) faultserver.Fault {
	f := faultserver.Fault{Kind: k, Probability: 0.01}
	if k == faultserver.WindowOverflow {
		f.Value = "connection" // on a stream it is a deadlock for Go 1.26's client
		return f
	}
	for _, try := range []func(){
		func() {},
		func() { f.After = time.Second },
		func() { f.After, f.Value = 0, "v" },
		func() { f.Value = "initial-window-size=1000" },
		func() { f.After = time.Second },
		func() { f.After, f.Value, f.Code = 0, "", 503 },
		func() { f.Code, f.Count = 103, 3 },
		func() { f.Code = 0 },
		func() { f.Count, f.Rate = 0, 50 },
		func() { f.Rate, f.Bytes = 0, 3 },
		func() { f.Bytes, f.Requests = 0, 3 },
	} {
		if try(); f.Validate() == nil {
			return f
		}
	}
	return faultserver.Fault{}
}

// canStrike reports whether a server with this configuration takes the fault; it
// refuses kinds of what it does not serve.
func canStrike(t *testing.T, cfg faultserver.Config, f faultserver.Fault) bool {
	cfg.Faults = []faultserver.Fault{f}
	err := cfg.Validate()
	if err != nil {
		require.ErrorContains(t, err, "strikes only")
	}
	return err == nil
}

func TestEveryKindAtRandomLeavesTheJournalTrueAndNothingBehind(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		synctest.Test(t, func(t *testing.T) {
			network := memnet.New(memnet.Options{Latency: time.Millisecond})
			ln, err := network.Listen("server:1")
			require.NoError(t, err)
			var handled atomic.Int64
			cfg.Listener, cfg.DialContext, cfg.Seed = ln, network.DialContext, 1
			cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				handled.Add(1)
				faultserver.Echo.ServeHTTP(w, r)
			})
			for _, k := range faultserver.Kinds() {
				if notAtRandom[k] != "" {
					continue
				}
				f := harmless(k)
				require.NoError(t, f.Validate(), "%v", k)
				if canStrike(t, cfg, f) {
					cfg.Faults = append(cfg.Faults, f)
				}
			}
			s := faultserver.Start(t, cfg)
			client := &http.Client{Transport: s.Client().Transport, Timeout: 5 * time.Second}

			var callers sync.WaitGroup
			var complete atomic.Int64
			for caller := range 8 {
				callers.Go(func() {
					for n := range 40 {
						time.Sleep(time.Duration(n%3) * time.Second)
						resp, err := client.Post(s.URL, "text/plain", strings.NewReader(strings.Repeat("x", caller*1000)))
						if err != nil {
							continue
						}
						if _, err := io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode < 300 {
							complete.Add(1)
						}
						resp.Body.Close()
					}
				})
			}
			callers.Wait()
			require.NoError(t, s.Close())

			executed := 0
			struck := map[faultserver.Kind]bool{}
			for _, row := range s.Journal().Requests() {
				executed += row.Executed
				for _, k := range row.Faults {
					struck[k] = true
				}
				require.False(t, row.Answered && row.Status == 0)
			}
			require.EqualValues(t, handled.Load(), executed)
			require.Positive(t, complete.Load())
			require.Greater(t, len(struck), 10, "else this test is about nothing")
			for _, row := range s.Journal().Conns() {
				require.NotEqual(t, faultserver.StillOpen, row.ClosedBy)
			}
			time.Sleep(time.Minute)
		})
	})
}
