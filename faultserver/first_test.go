package faultserver_test

import (
	"io"
	"net"
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

func TestAClientSurvivesAnOutageInThreePhases(t *testing.T) {
	outage, err := faultserver.ParseScenario([]byte(`
name: outage
phases:
  - {name: well, until: {requests: 1}}
  - name: down                       # for two requests, and nobody new gets in
    until: {requests: 2}
    faults:
      - {kind: status, code: 503, value: "1"}
      - {kind: refuse-connections}
  - {name: well again}
`), "outage.yaml")
	require.NoError(t, err) // with file, line, column and what was probably meant
	s := faultserver.Start(t, faultserver.Config{Scenario: outage})
	for _, want := range []int{200, 503, 503, 200} {
		resp, err := s.Client().Get(s.URL)
		require.NoError(t, err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		require.Equal(t, want, resp.StatusCode)
	}
	require.Equal(t, "outage 3/3 well again", s.Phase().String())
}

func TestARequestAsksForItsOwnFault(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{HeaderFaults: true})
	req, _ := http.NewRequest("GET", s.URL, nil)
	req.Header.Set(faultserver.FaultHeader, "delay after=10ms; status code=429 value=7")
	resp, err := s.Client().Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, "7", resp.Header.Get("Retry-After"))
}

func TestAClientMeetsANameThatIsGoneForAWhile(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Names: map[string][]string{"api.test": {"127.0.0.1"}}})
	client := &http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{Resolver: s.Resolver()}).DialContext, DisableKeepAlives: true,
	}}
	url := strings.Replace(s.URL, "127.0.0.1", "api.test", 1)

	remove := s.Inject(faultserver.Fault{Kind: faultserver.LookupNXDomain, Value: "api.test"})
	_, err := client.Get(url)
	require.ErrorContains(t, err, "no such host")
	remove()
	resp, err := client.Get(url)
	require.NoError(t, err)
	resp.Body.Close()
}
