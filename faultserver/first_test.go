package faultserver_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// The tests of this file are shown in README.md.

func TestAPaymentWhoseAnswerIsLostIsMadeOnce(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Personality: "uvicorn", TimeScale: 100})
	s.Inject(faultserver.Fault{Kind: faultserver.FinAfterRequest, Method: "POST", Executed: true, Times: 1})

	req, _ := http.NewRequest("POST", s.URL+"/payments", strings.NewReader("5 EUR"))
	req.Header.Set("Idempotency-Key", "order 17")
	resp, err := s.Client().Do(req) // your client in its place
	if err == nil {
		resp.Body.Close()
	}
	s.Journal().AssertNoneExecutedTwice(t, "POST")
}

func TestAnHourOfIdlenessTakesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(memnet.Options{Latency: 20 * time.Millisecond})
		ln, _ := network.Listen("server:80")
		s := faultserver.Start(t, faultserver.Config{
			Listener: ln, DialContext: network.DialContext, Personality: "envoy",
		})
		resp, err := s.Client().Get(s.URL)
		require.NoError(t, err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		time.Sleep(2 * time.Hour)
		require.Equal(t, time.Hour, s.Journal().Conns()[0].IdleAge)
		s.Close()
		time.Sleep(time.Second) // what was sent last arrives
	})
}
