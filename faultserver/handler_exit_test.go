package faultserver_test

import (
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// exits ends its goroutine, as t.FailNow does and with it require.
var exits = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runtime.Goexit() })

func TestAHandlerThatEndsItsGoroutineLeavesNoClientWaiting(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		synctest.Test(t, func(t *testing.T) {
			cfg := cfg
			cfg.Handler = exits
			s, _ := virtual(t, cfg)
			_, err := s.Client().Get(s.URL)
			require.Error(t, err)
			if proto == "HTTP/1.1" {
				require.Equal(t, faultserver.HandlerPanicked, onlyConn(t, s).Reason)
			} else {
				require.ErrorContains(t, err, "INTERNAL_ERROR")
			}
			require.Equal(t, 1, onlyRequest(t, s).Executed)
			require.False(t, onlyRequest(t, s).Answered)
			require.Zero(t, s.Journal().Totals().Running)
			endVirtual(s)
		})
	})
}

func TestAFaultStrikesThoughTheHandlerEndsItsGoroutine(t *testing.T) {
	for _, f := range []faultserver.Fault{
		{Kind: faultserver.FinAfterRequest, Executed: true},
		{Kind: faultserver.RstAfterRequest, Executed: true},
		{Kind: faultserver.CrashOnRequest, Executed: true},
		{Kind: faultserver.VanishOnRequest, Executed: true},
	} {
		t.Run(f.Kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := inMemory(t, faultserver.Config{Handler: exits, Faults: []faultserver.Fault{f}})
				_, err := dial().Write([]byte("GET / HTTP/1.1\r\nHost: test\r\n\r\n"))
				require.NoError(t, err)
				synctest.Wait()
				require.Equal(t, f.Kind, onlyConn(t, s).Fault)
				require.Equal(t, 1, onlyRequest(t, s).Executed)
				require.NoError(t, s.Close())
			})
		})
	}
}

func TestAHandlerThatEndsItsGoroutineUnheardEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := inMemory(t, faultserver.Config{
			Faults: []faultserver.Fault{{Kind: faultserver.HalfClose, Times: 1}},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/exit" {
					runtime.Goexit()
				}
			}),
		})
		nc := dial()
		roundTrip(t, nc, "GET", "")
		for range 2 { // the second draws a RST
			_, err := nc.Write([]byte("GET /exit HTTP/1.1\r\nHost: test\r\n\r\n"))
			require.NoError(t, err)
			synctest.Wait()
		}
		_, err := nc.Write([]byte("x"))
		require.Error(t, err)
		require.Len(t, s.Journal().Requests(), 2)
		require.NoError(t, s.Close())
	})
}
