package faultserver_test

import (
	"crypto/tls"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestEveryMistakeInTheConfigurationIsNamed(t *testing.T) {
	_, err := faultserver.New(faultserver.Config{
		Personality: "no such server", TimeScale: math.NaN(), KeepAlive: "a\r\nb", TLSConfig: &tls.Config{},
		Protocols: new(http.Protocols), Faults: []faultserver.Fault{{}, {Kind: faultserver.IdleClose}},
	})
	require.Error(t, err)
	for _, want := range []string{
		"Config.Personality", "uvicorn", "Config.TimeScale", "Config.KeepAlive", "Config.TLSConfig: set, but",
		"Config.TLSConfig: has no", "Config.Protocols", "Config.Faults[0]: Kind", "Config.Faults[1]: fault idle-close: After",
	} {
		require.ErrorContains(t, err, want)
	}
	_, err = faultserver.New(faultserver.Config{Protocols: protocols(http2)})
	require.ErrorContains(t, err, "UnencryptedHTTP2")
	_, err = faultserver.New(faultserver.Config{TLS: true, Protocols: protocols(h2c)})
	require.ErrorContains(t, err, "Config.Protocols")
}

func TestEveryMistakeInAFaultIsNamed(t *testing.T) {
	err := faultserver.Fault{
		Kind: faultserver.CloseOnReuse, Nth: -1, Probability: 2, Method: "GET", Path: "/a*b", Header: ": v", Times: -1,
		After: time.Second, Executed: true,
	}.Validate()
	require.Error(t, err)
	for _, want := range []string{"Nth", "Probability", "Method", "Path", "Header", "Times", "After", "Executed"} {
		require.ErrorContains(t, err, want+": ")
	}
	require.Error(t, faultserver.Fault{Kind: 250}.Validate())
	for _, f := range []faultserver.Fault{
		{Kind: faultserver.ResetStream, Code: 7, Executed: true}, // a lie that RFC 9113 forbids
		{Kind: faultserver.ResetStreamAfterHeaders, Code: 7},
		{Kind: faultserver.Status, Code: 100},
		{Kind: faultserver.IdleClose, After: 1, IdleAtLeast: 1},
		{Kind: faultserver.KeepAliveHeader, Value: "a\nb"},
	} {
		require.Error(t, f.Validate(), "%+v", f)
	}
}

func TestInjectFailsTheTestOrPanicsOnAMistake(t *testing.T) {
	var f fails
	s := faultserver.Start(&f, faultserver.Config{})
	defer s.Close() // fails has no cleanup
	s.Inject(faultserver.Fault{})
	require.Len(t, f.messages, 1)

	program, err := faultserver.New(faultserver.Config{})
	require.NoError(t, err)
	defer program.Close()
	require.Panics(t, func() { program.Inject(faultserver.Fault{}) })
	_, err = program.InjectE(faultserver.Fault{})
	require.ErrorContains(t, err, "Kind")
}

func TestKindsAreWrittenAndReadByName(t *testing.T) {
	for _, k := range faultserver.Kinds() {
		require.NotEmpty(t, k.String())
		require.Equal(t, strings.ToLower(k.String()), k.String())
		parsed, err := faultserver.ParseKind(k.String())
		require.NoError(t, err)
		require.Equal(t, k, parsed)
		text, err := k.MarshalText()
		require.NoError(t, err)
		var back faultserver.Kind
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, k, back)
	}
	_, err := faultserver.ParseKind("explode")
	require.EqualError(t, err, `unknown kind of fault "explode"; Kinds, GET /kinds and -list have them all`)
}

func TestAFaultStrikesWhenAndWhomItSays(t *testing.T) {
	teapot := func(f faultserver.Fault) faultserver.Fault {
		f.Kind, f.Code = faultserver.Status, 418
		return f
	}
	for _, test := range []struct {
		name  string
		fault faultserver.Fault
		want  string // of GET /a, POST /a, GET /b/c, GET /a with X-A: 1; then all again
	}{
		{"always", teapot(faultserver.Fault{}), "xxxxxxxx"},
		{"nth", teapot(faultserver.Fault{Nth: 3}), "..x....."},
		{"nth of a path", teapot(faultserver.Fault{Nth: 3, Path: "/a"}), "...x...."},
		{"nth on the connection", teapot(faultserver.Fault{NthOnConn: 2}), ".x......"},
		{"reused", teapot(faultserver.Fault{ReusedOnly: true}), ".xxxxxxx"},
		{"times", teapot(faultserver.Fault{Times: 2}), "xx......"},
		{"method", teapot(faultserver.Fault{Method: "POST"}), ".x...x.."},
		{"path", teapot(faultserver.Fault{Path: "/a"}), "xx.xxx.x"},
		{"prefix", teapot(faultserver.Fault{Path: "/b/*"}), "..x...x."},
		{"header", teapot(faultserver.Fault{Header: "x-a"}), "...x...x"},
		{"header with value", teapot(faultserver.Fault{Header: "X-A: 1", Times: 1}), "...x...."},
		{"header with another value", teapot(faultserver.Fault{Header: "X-A: 2"}), "........"},
		{"idle", teapot(faultserver.Fault{IdleAtLeast: time.Hour}), "........"},
		{"not on this protocol", faultserver.Fault{Kind: faultserver.ResetStream, Code: 1}, "........"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dialRaw(t, faultserver.Start(t, faultserver.Config{
				Protocols: protocols(http1, h2c), Faults: []faultserver.Fault{test.fault},
			}))
			got := ""
			for range 2 {
				for _, request := range []string{
					"GET /a HTTP/1.1\r\nHost: t\r\n\r\n", post("/a", ""), "GET /b/c HTTP/1.1\r\nHost: t\r\n\r\n",
					"GET /a HTTP/1.1\r\nHost: t\r\nX-A: 1\r\n\r\n",
				} {
					c.send(request)
					if resp, _ := c.response("GET"); resp.StatusCode == 418 {
						got += "x"
					} else {
						got += "."
					}
				}
			}
			require.Equal(t, test.want, got)
		})
	}
}

func TestProbabilityIsRepeatableWithASeed(t *testing.T) {
	run := func(seed uint64) (pattern string) {
		s := faultserver.Start(t, faultserver.Config{Seed: seed, Faults: []faultserver.Fault{
			{Kind: faultserver.Status, Code: 500, Probability: 0.5},
		}})
		c := dialRaw(t, s)
		for range 64 {
			resp, _ := c.get("/")
			pattern += resp.Status[:1]
		}
		return pattern
	}
	one := run(1)
	require.Equal(t, one, run(1))
	require.NotEqual(t, one, run(2))
	require.Contains(t, one, "2")
	require.Contains(t, one, "5")
}

func TestPersonalitiesBehaveLikeTheirServers(t *testing.T) {
	ask := func(t *testing.T, cfg faultserver.Config, header string) http.Header {
		c := dialRaw(t, faultserver.Start(t, cfg))
		c.send("GET / HTTP/1.1\r\nHost: t\r\n" + header + "\r\n")
		resp, _ := c.response("GET")
		return resp.Header
	}
	const keep = "Connection: keep-alive\r\n"
	for _, test := range []struct{ server, plain, asked string }{
		{"node", "timeout=5", "timeout=5"},
		{"apache", "", "timeout=5, max=99"},
		{"tomcat", "", "timeout=60"},
		{"uvicorn", "", ""},
		{"go", "", ""},
	} {
		cfg := faultserver.Config{Personality: test.server}
		require.Equal(t, test.plain, ask(t, cfg, "").Get("Keep-Alive"), test.server)
		require.Equal(t, test.asked, ask(t, cfg, keep).Get("Keep-Alive"), test.server)
	}
	require.Equal(t, "timeout=30", ask(t, faultserver.Config{Personality: "tomcat", TimeScale: 2}, keep).Get("Keep-Alive"))
	require.Empty(t, ask(t, faultserver.Config{Personality: "node", TimeScale: 100}, "").Get("Keep-Alive"),
		"an announced timeout under a second would be untrue")
}

func TestApacheLingersSoThatACrossingRequestDrawsNoRST(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Personality: "apache", TimeScale: 1000})
	c := dialRaw(t, s)
	c.get("/")
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool { return onlyConn(t, s).Reason == faultserver.IdleTimeout }))
	c.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
	c.wantFIN()
}
