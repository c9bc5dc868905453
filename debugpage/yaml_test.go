package debugpage

import (
	"net"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/policyfile"
)

// readBack returns what a policy file with the text says about the URL.
func readBack(t *testing.T, text, rawURL string) (idlewise.Policy, string) {
	t.Helper()
	policies, err := policyfile.Parse("pasted.yaml", []byte(text))
	require.NoError(t, err, text)
	u, err := url.Parse(rawURL)
	require.NoError(t, err)
	return policies.For(u)
}

// withoutFunctions makes policies comparable.
func withoutFunctions(p idlewise.Policy) idlewise.Policy {
	p.Retry.CheckRetry, p.Retry.Backoff = nil, nil
	return p
}

func TestAPolicyIsShownAsAFileWouldHaveIt(t *testing.T) {
	defaults := newDefaults()
	set := idlewise.Policy{
		ServerKeepAlive: 65 * time.Second, MaxIdleTime: 10 * time.Minute, IdleMargin: 1500 * time.Millisecond,
		Hint: idlewise.Off, Learning: idlewise.Off, Canary: idlewise.Off, Evidence: idlewise.Off, ElicitHint: idlewise.On,
		LivenessCheckAfter: -1, UnackedTimeout: time.Hour, TCPKeepAlive: net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: time.Second, Count: 7},
		PingAfter: 45 * time.Second, PingTimeout: 3 * time.Second, BodyIdleTimeout: time.Second, MaxConnAge: -1, MaxRequestsPerConn: 100,
		MaxConns: 10, MaxIdleConns: 8, MinIdleConns: 2, DialRate: 2.5, DialBurst: 4, Group: "a: group",
		Retry: idlewise.Retry{Max: 3, WaitMin: time.Second, WaitMax: 9 * time.Second, PerTryTimeout: 2 * time.Second, MaxReplayBody: 4096,
			AutoIdempotencyKey: idlewise.On, AttemptHeader: "X-Attempt", NonIdempotent: idlewise.On},
		Probe: idlewise.ProbePolicy{Every: time.Hour, Timeout: time.Minute, Method: "GET", Path: "/health"},
	}
	const target = "https://api.example.com:8443/"
	u, err := url.Parse(target)
	require.NoError(t, err)
	want, _ := idlewise.Policies{Default: set}.For(u)
	all, differing := policyYAML("https://api.example.com:8443", &want, defaults)
	for _, text := range []string{all, differing} {
		got, pattern := readBack(t, text, target)
		require.Equal(t, "https://api.example.com:8443", pattern)
		require.Equal(t, withoutFunctions(want), withoutFunctions(got))
	}

	// Every field is set above, but for the breaker, which has a test of its own.
	v := reflect.ValueOf(set)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; name != "Breaker" {
			require.False(t, v.Field(i).IsZero(), "%s is new: show it, and set it here", name)
		}
	}
}

func TestOfDefaultsNothingDiffers(t *testing.T) {
	p, _ := idlewise.Policies{}.For(&url.URL{})
	all, differing := policyYAML("http://a.example:80", &p, newDefaults())
	require.Empty(t, differing)
	got, _ := readBack(t, all, "http://a.example")
	require.Equal(t, withoutFunctions(p), withoutFunctions(got))
}

func TestTheBurstInForceIsShown(t *testing.T) {
	for _, c := range []struct {
		set  idlewise.Policy
		want string
	}{
		{idlewise.Policy{}, "dial_burst: off"},
		{idlewise.Policy{DialRate: 2.5}, "dial_burst: 3"},
		{idlewise.Policy{DialRate: 5, DialBurst: -1}, "dial_burst: 5"},
		{idlewise.Policy{DialRate: 5, DialBurst: 2}, "dial_burst: 2"},
	} {
		p, _ := idlewise.Policies{Default: c.set}.For(&url.URL{})
		all, _ := policyYAML("http://a.example:80", &p, newDefaults())
		require.Contains(t, all, "    "+c.want+"\n")
		readBack(t, all, "http://a.example")
	}
}

func TestABreakerIsShownWithoutItsFunctions(t *testing.T) {
	p, _ := idlewise.Policies{Default: idlewise.Policy{Breaker: &idlewise.Breaker{
		Settings: gobreaker.Settings{MaxRequests: 3, Interval: time.Minute, BucketPeriod: time.Second, Timeout: 5 * time.Second, ReadyToTrip: func(gobreaker.Counts) bool { return true }},
		Statuses: []int{502, 503},
	}}}.For(&url.URL{})
	_, differing := policyYAML("http://a.example:80", &p, newDefaults())
	require.Contains(t, differing, "breaker: {max_requests: 3, interval: 1m, bucket_period: 1s, timeout: 5s, statuses: [502, 503]}")
	got, _ := readBack(t, differing, "http://a.example")
	require.Equal(t, []int{502, 503}, got.Breaker.Statuses)
	require.Equal(t, 5*time.Second, got.Breaker.Settings.Timeout)
}

func TestAnUpstreamsPatternSelectsIt(t *testing.T) {
	for name, c := range map[string]struct{ pattern, target string }{
		"https://api.example.com:443":               {"https://api.example.com:443", "https://api.example.com/"},
		"http://[::1]:8080":                         {"http://[::1]:8080", "http://[::1]:8080"},
		"https://a.example:443 via http://p:3128":   {"https://a.example:443", "https://a.example"},
		"http://* via http://proxy:3128":            {"http://proxy:3128", "http://proxy:3128"},
		"https://a.example:443 (HTTP/1 only)":       {"https://a.example:443", "https://a.example"},
		`http://a.example:80 via socks5://p.x:1080`: {"http://a.example:80", "http://a.example"},
	} {
		require.Equal(t, c.pattern, patternFor(name))
		_, pattern := readBack(t, upstreamHead(name)+"    max_conns: 1\n", c.target)
		require.Equal(t, c.pattern, pattern)
	}
}

func TestAnUpstreamsNameCannotWriteYAML(t *testing.T) {
	require.Equal(t, "upstreams:\n  \"http://a\\\"b\\n: #c:80\":\n", upstreamHead("http://a\"b\n: #c:80"))
}
