package faultserver_test

import (
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

const (
	needsTLS       = "strikes only under TLS, which this server does not serve: start it with TLS (Config.TLS, server.tls, -tls)"
	needsHTTP1     = "strikes only on HTTP/1, which this server does not serve: add http1 to its protocols (Config.Protocols, server.protocols, -protocols)"
	needsHTTP2     = "strikes only on HTTP/2, which this server does not serve: start it with TLS (Config.TLS, server.tls, -tls) or add h2c to its protocols"
	needsALPN      = "strikes only on HTTP/2, which this server does not serve: add http2 to its protocols (Config.Protocols, server.protocols, -protocols)"
	lacksNothing   = ""
	aScenarioNamed = "name: s\nfaults:\n  - "
)

// unreachable are servers, faults in the one-line form, and why they can never
// strike there.
var unreachable = []struct {
	server string
	cfg    faultserver.Config
	fault  string
	lacks  string
}{
	{"in clear", faultserver.Config{}, "tls-refused", needsTLS},
	{"in clear", faultserver.Config{}, "alpn-mismatch", needsTLS},
	{"in clear", faultserver.Config{}, "no-close-notify", needsTLS},
	{"in clear", faultserver.Config{}, "resumption-forgotten", needsTLS},
	{"in clear", faultserver.Config{}, "goaway", needsHTTP2},
	{"in clear", faultserver.Config{}, "ping-late", needsHTTP2},
	{"in clear", faultserver.Config{}, "settings-missing", needsHTTP2},
	{"in clear", faultserver.Config{}, "idle-goaway after=1s", needsHTTP2},
	{"in clear", faultserver.Config{}, "idle-408 after=1s", lacksNothing},
	{"in clear", faultserver.Config{}, "half-close", lacksNothing},
	{"in clear", faultserver.Config{}, "accept-reset", lacksNothing},
	{"in clear", faultserver.Config{}, "lookup-nxdomain", lacksNothing},
	{"HTTP/1 under TLS", faultserver.Config{TLS: true, Protocols: protocols(http1)}, "goaway", needsALPN},
	{"HTTP/1 under TLS", faultserver.Config{TLS: true, Protocols: protocols(http1)}, "alpn-refused", lacksNothing},
	{"HTTP/2 under TLS", faultserver.Config{TLS: true, Protocols: protocols(http2)}, "idle-408 after=1s", needsHTTP1},
	{"HTTP/2 under TLS", faultserver.Config{TLS: true, Protocols: protocols(http2)}, "goaway", lacksNothing},
	{"both under TLS", faultserver.Config{TLS: true}, "idle-408 after=1s", lacksNothing},
	{"both under TLS", faultserver.Config{TLS: true}, "goaway", lacksNothing},
	{"HTTP/2 in clear", faultserver.Config{Protocols: protocols(h2c)}, "idle-408 after=1s", needsHTTP1},
	{"HTTP/2 in clear", faultserver.Config{Protocols: protocols(h2c)}, "close-on-reuse", needsHTTP1},
	{"HTTP/2 in clear", faultserver.Config{Protocols: protocols(h2c)}, "tls-cut", needsTLS},
	{"HTTP/2 in clear", faultserver.Config{Protocols: protocols(h2c)}, "goaway", lacksNothing},
	{"both in clear", faultserver.Config{Protocols: protocols(http1, h2c)}, "idle-408 after=1s", lacksNothing},
	{"both in clear", faultserver.Config{Protocols: protocols(http1, h2c)}, "goaway", lacksNothing},
}

func TestAFaultThatCanNeverStrikeIsRefusedInEveryWayToInjectIt(t *testing.T) {
	for _, test := range unreachable {
		t.Run(test.fault+" on "+test.server, func(t *testing.T) {
			f, err := faultserver.ParseFault(test.fault)
			require.NoError(t, err)
			asked := faultserver.Fault{Kind: faultserver.SilentClose}
			sc := &faultserver.Scenario{Name: "s", Phases: []faultserver.ScenarioPhase{{Name: "p", Faults: []faultserver.Fault{f}}}}
			check := func(err error, before string) {
				t.Helper()
				if test.lacks == lacksNothing {
					require.NoError(t, err)
					return
				}
				require.ErrorContains(t, err, before+"fault "+f.Kind.String()+": "+test.lacks)
			}

			with := test.cfg
			with.Faults = []faultserver.Fault{asked, f}
			check(with.Validate(), "faultserver: Config.Faults[1]: ")
			begun, err := faultserver.New(with)
			if err == nil {
				begun.Close()
			}
			check(err, "faultserver: Config.Faults[1]: ")
			with = test.cfg
			with.Scenario = sc
			check(with.Validate(), "faultserver: Config.Scenario: scenario s: phases[0].faults[0].kind: ")

			s := controlled(t, test.cfg)
			_, err = s.InjectE(f)
			check(err, "faultserver: ")
			_, err = s.InjectAll(asked, f)
			check(err, "faultserver: [1]: ")
			check(s.SetFaults(f), "faultserver: ")
			require.NoError(t, s.SetFaults())
			if test.lacks == lacksNothing {
				return
			}
			check(s.Play(t.Context(), sc), "scenario s: phases[0].faults[0].kind: ")
			for _, request := range []string{"POST /faults", "PUT /faults"} {
				status, text := control(t, s, request, test.fault, "Content-Type: text/plain")
				require.Equal(t, 400, status)
				require.Contains(t, text, `"message": "fault `+f.Kind.String()+": "+test.lacks)
				require.Contains(t, text, `"field": "kind"`)
			}
			one, err := f.MarshalJSON()
			require.NoError(t, err)
			status, text := control(t, s, "POST /scenario", aScenarioNamed+string(one)+"\n", "Content-Type: application/yaml")
			require.Equal(t, 400, status)
			require.Contains(t, text, test.lacks)
			require.Contains(t, text, `"line": 3`)
			require.Empty(t, s.Faults())
		})
	}
}

func TestARequestsOwnFaultThatCanNeverStrikeIsAnsweredWith400(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{HeaderFaults: true})
	c := dialRaw(t, s)
	for header, want := range map[string]string{
		"reset-stream code=CANCEL": needsHTTP2,
		"no-close-notify":          needsTLS,
	} {
		c.send(withFault(header))
		resp, body := c.response("GET")
		require.Equal(t, 400, resp.StatusCode)
		require.Contains(t, body, "X-Fault:1:1: kind: fault ")
		require.Contains(t, body, want)
	}
	require.Zero(t, s.Journal().Totals().Executions)
	c.wantAlive()

	// On a server that speaks both, the other protocol is the remedy.
	s = faultserver.Start(t, faultserver.Config{HeaderFaults: true, Protocols: protocols(http1, h2c)})
	c = dialRaw(t, s)
	c.send(withFault("reset-stream code=CANCEL"))
	resp, body := c.response("GET")
	require.Equal(t, 400, resp.StatusCode)
	require.Equal(t, "X-Fault:1:1: kind: reset-stream does not exist on this request's protocol: send the request over HTTP/2\n", body)
}

func TestTheNextProtosOfATLSConfigDecideWhatCanStrike(t *testing.T) {
	goAway := []faultserver.Fault{{Kind: faultserver.GoAway}}
	get := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, http.ErrNotSupported }
	require.ErrorContains(t, faultserver.Config{
		TLS: true, TLSConfig: &tls.Config{GetCertificate: get, NextProtos: []string{"http/1.1"}}, Faults: goAway,
	}.Validate(), "strikes only on HTTP/2, which this server does not serve: add h2 to Config.TLSConfig.NextProtos")
	for _, cfg := range []*tls.Config{
		{GetCertificate: get, NextProtos: []string{"h2"}}, {GetCertificate: get},
		{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }, NextProtos: []string{"http/1.1"}},
	} {
		require.NoError(t, faultserver.Config{TLS: true, TLSConfig: cfg, Faults: goAway}.Validate())
	}
}

func TestAScenarioBringsTheTLSThatItsFaultsNeed(t *testing.T) {
	text := "name: s\nserver: {tls: true}\nphases:\n  - {name: p, faults: [{kind: goaway}, {kind: tls-refused, nth: 9}, {kind: idle-408, after: 1s}]}\n"
	sc, err := faultserver.ParseScenario([]byte(text), "s.yaml")
	require.NoError(t, err)
	s := faultserver.Start(t, faultserver.Config{Scenario: sc})
	require.Len(t, s.Faults(), 3)
}
