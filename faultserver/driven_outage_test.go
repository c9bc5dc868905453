package faultserver_test

import (
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// Faults that are more than a rule must come and go in every way that faults
// can: here all but Inject itself.

func latency(d time.Duration) faultserver.Fault {
	return faultserver.Fault{Kind: faultserver.Latency, After: d}
}

// twoWays is how long a request takes on a connection that is open already.
func twoWays(t *testing.T, nc net.Conn) time.Duration {
	t.Helper()
	begun := time.Now()
	exchangeRaw(t, nc)
	return time.Since(begun)
}

func TestAPhaseSlowsOpenConnectionsDownAndItsEndUndoesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{})
		c := dial()
		require.Equal(t, 2*virtualLatency, twoWays(t, c))
		sc := &faultserver.Scenario{Name: "slow", Faults: []faultserver.Fault{latency(time.Second)}, Phases: []faultserver.ScenarioPhase{
			{Name: "slower", Duration: time.Minute, Faults: []faultserver.Fault{latency(2 * time.Second)}},
			{Name: "slow", Duration: time.Minute},
		}}
		played := make(chan error)
		go func() { played <- s.Play(t.Context(), sc) }()
		synctest.Wait()
		require.Equal(t, 2*(virtualLatency+3*time.Second), twoWays(t, c))
		time.Sleep(time.Minute)
		require.Equal(t, 2*(virtualLatency+time.Second), twoWays(t, c))
		require.NoError(t, <-played)
		require.Equal(t, 2*virtualLatency, twoWays(t, c))
		require.Equal(t, []faultserver.Kind{faultserver.Latency, faultserver.Latency}, onlyConn(t, s).Faults)
		require.Equal(t, 1, s.Journal().Totals().Struck)
		require.Equal(t, 2, s.Journal().Totals().Faults["latency"])
		endVirtual(s, c)
	})
}

func TestSetFaultsPutsOneLatencyInThePlaceOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{Faults: []faultserver.Fault{latency(time.Second)}})
		c := dial()
		require.Equal(t, 2*(virtualLatency+time.Second), twoWays(t, c))
		require.NoError(t, s.SetFaults(latency(3*time.Second)))
		require.Equal(t, 2*(virtualLatency+3*time.Second), twoWays(t, c))
		remove, err := s.InjectAll(latency(time.Second), latency(time.Second))
		require.NoError(t, err)
		require.Equal(t, 2*(virtualLatency+5*time.Second), twoWays(t, c))
		remove()
		require.True(t, s.RemoveFault(s.Faults()[0].ID))
		require.Equal(t, 2*virtualLatency, twoWays(t, c))
		endVirtual(s, c)
	})
}

func accepts(s *faultserver.Server) bool {
	nc, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		return false
	}
	nc.Close()
	return true
}

var refuse = faultserver.Fault{Kind: faultserver.RefuseConnections}

func TestAPhaseRefusesConnectionsAndItsEndTakesThemAgain(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	c := dialRaw(t, s)
	c.get("/")
	sc := &faultserver.Scenario{Name: "outage", Phases: []faultserver.ScenarioPhase{
		{Name: "refusing", Faults: []faultserver.Fault{refuse}, Until: faultserver.ScenarioEnd{Requests: 1}},
		{Name: "back", Until: faultserver.ScenarioEnd{Connections: 1}},
		{Name: "refusing again", Faults: []faultserver.Fault{refuse}},
	}}
	go s.Play(t.Context(), sc)
	require.NoError(t, waitFor(t, s, faultserver.OutageBegan, 1))
	require.False(t, accepts(s))
	c.get("/") // ends the phase: connections that are open live on
	require.NoError(t, waitFor(t, s, faultserver.OutageEnded, 1))
	require.True(t, accepts(s))
	require.NoError(t, waitFor(t, s, faultserver.OutageBegan, 2))
	require.False(t, accepts(s))
	s.StopScenario()
	require.True(t, accepts(s))
}

func waitFor(t *testing.T, s *faultserver.Server, what faultserver.ServerEventKind, times int) error {
	t.Helper()
	return s.Journal().Wait(t.Context(), func() bool {
		n := 0
		for _, e := range s.Journal().ServerEvents() {
			if e.What == what {
				n++
			}
		}
		return n >= times
	})
}

func TestTheControlEndpointRefusesConnectionsAndTakesThemAgain(t *testing.T) {
	s := controlled(t, faultserver.Config{})
	for _, undo := range []string{"DELETE /faults/1", "DELETE /faults", "POST /reset"} {
		does(t, s, "POST /faults", "refuse-connections")
		require.False(t, accepts(s))
		does(t, s, undo, "")
		require.True(t, accepts(s))
	}
	does(t, s, "POST /faults", "refuse-connections; latency after=1ms")
	does(t, s, "PUT /faults", "refuse-connections")
	require.False(t, accepts(s), "one outage took the other's place")
	does(t, s, "PUT /faults", "latency after=1ms")
	require.True(t, accepts(s))
}

const plainText = "Content-Type: text/plain"

func does(t *testing.T, s *faultserver.Server, request, body string) {
	t.Helper()
	status, answer := control(t, s, request, body, plainText)
	require.Equal(t, http.StatusOK, status, "%s: %s", request, answer)
}

func TestAServerCanBePausedAndCrashedByTheControlEndpoint(t *testing.T) {
	s := controlled(t, faultserver.Config{})
	c := dialRaw(t, s)
	c.get("/")
	for _, step := range []struct {
		operation string
		accepts   bool
	}{{"pause", true}, {"resume", true}, {"crash", false}, {"resume", true}, {"stop", false}, {"resume", true}, {"restart-abruptly", true}} {
		does(t, s, "POST /do/"+step.operation, "")
		require.Equal(t, step.accepts, accepts(s), step.operation)
	}
	require.Equal(t, faultserver.ProcessCrashed, s.Journal().Conns()[0].Reason)
}

func TestWhatTheServerCannotDoIsRefusedBeforeAnyOfItIsInForce(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := controlled(t, faultserver.Config{Listener: helpless{ln}, HeaderFaults: true})
	const vanish = "is a faultserver_test.helpless, not a TCP socket"

	_, err = s.InjectAll(latency(time.Second), faultserver.Fault{Kind: faultserver.VanishOnRequest})
	require.ErrorContains(t, err, "[1]: fault vanish-on-request: ")
	require.ErrorContains(t, err, vanish)
	require.ErrorContains(t, s.SetFaults(refuse), "set Config.Listen instead")
	err = s.Play(t.Context(), &faultserver.Scenario{Name: "x", Phases: []faultserver.ScenarioPhase{
		{Name: "a", Duration: time.Hour}, {Name: "b", Faults: []faultserver.Fault{latency(1), refuse}},
	}})
	require.ErrorContains(t, err, "phases[1].faults[1].kind: fault refuse-connections: Config.Listener is a")

	status, answer := control(t, s, "POST /faults", "latency after=1s; vanish-on-request", plainText)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, answer, vanish)
	require.Contains(t, answer, `"line": 1,`)
	require.Contains(t, answer, `"column": 19,`)
	status, answer = control(t, s, "POST /scenario", "name: a\nfaults:\n  - kind: refuse-connections\n", "Content-Type: application/yaml")
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, answer, `"line": 3,`)
	require.Contains(t, answer, `"field": "faults[0].kind"`)

	require.Empty(t, s.Faults())
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.1\r\nHost: test\r\nX-Fault: vanish-on-request\r\n\r\n")
	resp, body := c.response("GET")
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, body, "X-Fault:1:1: kind: fault vanish-on-request: ")
	require.Empty(t, s.Faults())
}

func TestARequestsHeaderAsksOnlyForFaultsOfRequests(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{HeaderFaults: true})
	for _, fault := range []string{"latency after=1s", "refuse-connections", "pause-server", "lookup-nxdomain", "accept-reset", "idle-vanish after=1s"} {
		c := dialRaw(t, s)
		c.send("GET / HTTP/1.1\r\nHost: test\r\nX-Fault: " + fault + "\r\n\r\n")
		resp, body := c.response("GET")
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		require.Contains(t, body, "is not judged for one request: inject it on the server")
	}
}
