package idlewise

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func policyFor(t *testing.T, p Policies, rawURL string) (Policy, string) {
	t.Helper()
	u, err := url.Parse(rawURL)
	require.NoError(t, err)
	return p.For(u)
}

func TestAZeroFieldIsInheritedFromTheDefaultAndThereMeansTheBuiltInOne(t *testing.T) {
	p := Policies{
		Default:   Policy{MaxConns: 7, MaxIdleTime: time.Minute},
		Upstreams: map[string]Policy{"api.example.com": {MaxConns: -1, Hint: Off}},
	}
	got, pattern := policyFor(t, p, "https://api.example.com/x")
	require.Equal(t, "api.example.com", pattern)
	require.Equal(t, -1, got.MaxConns, "negative is off, not zero")
	require.Equal(t, time.Minute, got.MaxIdleTime)
	require.Equal(t, Off, got.Hint)
	require.Equal(t, 10*time.Minute, got.MaxConnAge)
	require.Equal(t, 100, got.MaxIdleConns)

	got, pattern = policyFor(t, p, "https://other.example.com/x")
	require.Empty(t, pattern)
	require.Equal(t, 7, got.MaxConns)
	require.Equal(t, On, got.Hint)
}

func TestTheMostSpecificPatternWins(t *testing.T) {
	p := Policies{Upstreams: map[string]Policy{}}
	for _, pattern := range []string{
		"*", "http://*", "*:8080", "*.example.com", "*.svc.example.com", "*.svc.example.com:8080",
		"a.svc.example.com", "https://a.svc.example.com", "a.svc.example.com:8443",
		"https://a.svc.example.com:8443", "[2001:db8::1]:8080", "bücher.example",
	} {
		p.Upstreams[pattern] = Policy{}
	}
	for rawURL, want := range map[string]string{
		"https://elsewhere.test":            "*",
		"http://elsewhere.test":             "http://*",
		"http://elsewhere.test:8080":        "*:8080",
		"https://example.com":               "*",
		"https://b.example.com":             "*.example.com",
		"https://x.y.svc.example.com":       "*.svc.example.com",
		"https://x.svc.example.com:8080":    "*.svc.example.com:8080",
		"http://A.SVC.example.com":          "a.svc.example.com",
		"https://a.svc.example.com":         "https://a.svc.example.com",
		"http://a.svc.example.com:8443":     "a.svc.example.com:8443",
		"https://a.svc.example.com:8443":    "https://a.svc.example.com:8443",
		"http://[2001:db8::1]:8080":         "[2001:db8::1]:8080",
		"https://xn--bcher-kva.example":     "bücher.example",
		"https://www.bücher.example.com":    "*.example.com",
		"https://notsvc.example.com.evil.x": "*",
	} {
		_, got := policyFor(t, p, rawURL)
		require.Equal(t, want, got, rawURL)
	}
}

func TestEveryMistakeInAConfigIsReportedByItsField(t *testing.T) {
	_, err := New(Config{
		Base:         &http.Transport{MaxConnsPerHost: 5},
		MaxUpstreams: -1,
		Policies: Policies{
			Default: Policy{MaxConns: 4, ServerKeepAlive: 5, Hint: Toggle(9)},
			Upstreams: map[string]Policy{
				"few.example.com":      {MinIdleConns: 10},
				"margin.example.com":   {ServerKeepAlive: 5 * time.Second, IdleMargin: 6 * time.Second},
				"FEW.example.com":      {},
				"":                     {},
				"ftp://x":              {},
				"host/path":            {},
				"host:port":            {},
				"host:0":               {},
				"a.*.example.com":      {},
				"*.":                   {},
				"::1":                  {},
				"[::1":                 {},
				"[example.com]":        {},
				"https://user@host":    {},
				"idle.example.com:443": {MinIdleConns: 3, MaxIdleConns: 2},
			},
		},
	})
	require.Error(t, err)
	for _, want := range []string{
		`Config.MaxUpstreams: -1 is negative`,
		`Policies.Default.MaxConns: 4 differs from the Base's MaxConnsPerHost, 5`,
		`Policies.Default.ServerKeepAlive: 5ns is under a millisecond; is the unit missing, as in 5 * time.Second?`,
		`Policies.Default.Hint: Toggle(9) is none of idlewise.Inherit, On and Off`,
		`Policies.Upstreams["few.example.com"].MinIdleConns: 10 is more than MaxConns allows, 4`,
		`Policies.Upstreams["margin.example.com"].IdleMargin: 6s leaves nothing of ServerKeepAlive, 5s`,
		`Policies.Upstreams["few.example.com"]: matches exactly what "FEW.example.com" matches`,
		`Policies.Upstreams[""]: the host is missing`,
		`Policies.Upstreams["ftp://x"]: scheme "ftp" is not http or https`,
		`Policies.Upstreams["host/path"]: "/path" does not belong in a pattern`,
		`Policies.Upstreams["host:port"]: port "port" is not a number`,
		`Policies.Upstreams["host:0"]: port "0" is not a number`,
		`Policies.Upstreams["a.*.example.com"]: a * stands only at the beginning`,
		`Policies.Upstreams["*."]: a label of the host is empty`,
		`Policies.Upstreams["::1"]: an IPv6 address needs brackets`,
		`Policies.Upstreams["[::1"]: a ] is missing`,
		`Policies.Upstreams["[example.com]"]: "example.com" is not an IP address`,
		`Policies.Upstreams["https://user@host"]: "@host" does not belong in a pattern`,
		`Policies.Upstreams["idle.example.com:443"].MinIdleConns: 3 is more than MaxIdleConns allows, 2`,
	} {
		require.ErrorContains(t, err, want)
	}
	require.True(t, strings.HasPrefix(err.Error(), "idlewise: "))
}

func TestAContradictionOfTheDefaultIsReportedOnce(t *testing.T) {
	p := Policies{
		Default: Policy{DialBurst: 5, MinIdleConns: 4, MaxConns: 3, Retry: Retry{WaitMin: time.Minute}},
		Upstreams: map[string]Policy{
			"lower.example.com":   {MaxConns: 2},
			"resolve.example.com": {DialRate: 5, MinIdleConns: 1, Retry: Retry{WaitMin: time.Second}},
		},
	}
	for i := range 100 {
		p.Upstreams[fmt.Sprintf("%d.example.com", i)] = Policy{MaxConnAge: time.Minute}
	}
	joined, ok := p.Validate().(interface{ Unwrap() []error })
	require.True(t, ok)
	var fields []string
	for _, err := range joined.Unwrap() {
		var wrong *PolicyError
		require.ErrorAs(t, err, &wrong)
		fields = append(fields, wrong.Pattern+" "+wrong.Field)
	}
	require.Equal(t, []string{" MinIdleConns", " DialBurst", " Retry.WaitMin", "lower.example.com MinIdleConns"}, fields)
}

func TestTheBasesLimitsAreTheDefaults(t *testing.T) {
	tr, err := New(Config{
		Base:     &http.Transport{MaxConnsPerHost: 5, MaxIdleConnsPerHost: 500, IdleConnTimeout: 7 * time.Second},
		Policies: Policies{Upstreams: map[string]Policy{"own.example.com": {MaxConns: 9, MaxIdleTime: time.Minute}}},
	})
	require.NoError(t, err)
	p := tr.Explain("http://example.com").Policy
	require.Equal(t, 5, p.MaxConns)
	require.Equal(t, 500, p.MaxIdleConns)
	require.Equal(t, 7*time.Second, p.MaxIdleTime)
	p = tr.Explain("http://own.example.com").Policy
	require.Equal(t, 9, p.MaxConns)
	require.Equal(t, time.Minute, p.MaxIdleTime)
}

func TestTheBasesMaxIdleConnsHoldsForTheWholeTransportWhereItWasGiven(t *testing.T) {
	given := &http.Transport{MaxIdleConns: 7}
	unlimited := &http.Transport{}
	made := func(tr *Transport, err error) int64 {
		require.NoError(t, err)
		require.NoError(t, tr.ready())
		return tr.maxIdle
	}
	require.EqualValues(t, 7, made(New(Config{Base: given})))
	require.EqualValues(t, 7, made(Wrap(given, Config{})))
	require.EqualValues(t, 9, made(New(Config{Base: given, MaxIdleConns: 9})))
	require.EqualValues(t, -1, made(Wrap(given, Config{MaxIdleConns: -1})))
	require.EqualValues(t, 1024, made(New(Config{Base: unlimited})))
	require.EqualValues(t, 1024, made(New(Config{})), "not http.DefaultTransport's 100")
	require.EqualValues(t, 1024, made(Wrap(nil, Config{})))
	require.EqualValues(t, 1024, made(&Transport{}, nil))
	require.EqualValues(t, 100, made(Wrap(http.DefaultTransport, Config{})))
}

func TestExplainSaysWhatIsWrongWithAURL(t *testing.T) {
	tr := &Transport{}
	for _, u := range []string{"", "example.com", "ftp://example.com", "http://", "http://[::1", "://"} {
		require.NotEmpty(t, tr.Explain(u).Problem, "%q", u)
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"api.example.com", "*.svc.cluster.local:8080", "https://host", "[::1]:80", "*", "bücher.example", "a:b:c", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePattern(text)
		if err != nil {
			return
		}
		if p.host == "" && !p.wild {
			t.Fatalf("%q: a pattern without a host", text)
		}
		// What an exact pattern names, it matches.
		if !p.wild {
			port := p.port
			if port == "" {
				port = "1"
			}
			if !p.matches(hostPort{scheme: "https", host: p.host, port: port}) && p.scheme != "http" {
				t.Fatalf("%q does not match itself", text)
			}
		}
	})
}

func TestAMistakeInPoliciesTellsPatternFieldAndMessage(t *testing.T) {
	p := Policies{
		Default: Policy{Retry: Retry{WaitMin: 10 * time.Second}},
		Upstreams: map[string]Policy{
			`a": b`:           {Probe: ProbePolicy{Path: "health"}, Retry: Retry{WaitMin: time.Second}},
			"api.example.com": {Retry: Retry{WaitMin: time.Second}},
		},
	}
	joined, ok := p.Validate().(interface{ Unwrap() []error })
	require.True(t, ok)
	var got []PolicyError
	for _, err := range joined.Unwrap() {
		var mistake *PolicyError
		require.ErrorAs(t, err, &mistake)
		got = append(got, PolicyError{Pattern: mistake.Pattern, Field: mistake.Field, Message: mistake.Message})
	}
	require.Equal(t, []PolicyError{
		{Field: "Retry.WaitMin", Message: "10s is longer than WaitMax, 5s; lower WaitMin or raise WaitMax"},
		{Pattern: `a": b`, Field: "Probe.Path", Message: `"health" is none; give one such as /health`},
		{Pattern: `a": b`, Message: `" b" does not belong in a pattern; give host, *.domain or host:port only, with http:// or https:// before it if needed`},
	}, got)
	require.ErrorContains(t, p.Validate(), `Policies.Upstreams["a\": b"].Probe.Path: "health" is none`)

	delete(p.Upstreams, `a": b`)
	p.Default.Retry.WaitMax = time.Minute
	require.NoError(t, p.Validate())
}
