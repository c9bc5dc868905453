package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

func TestTheSuggestedPolicyIsOneThatCanBeConfigured(t *testing.T) {
	for _, c := range []struct{ url, proxy, want string }{
		{"http://a/b?c", "", "http://a"},
		{"HTTPS://me:secret@API.example.com:8443/", "", "https://api.example.com:8443"},
		{"http://[::1]:8080/", "", "http://[::1]:8080"},
		{"http://a/", "http://proxy:3128", "http://proxy:3128"},
		{"http://a/", "socks5://proxy:1080", "http://a"},
		{"https://a/", "http://proxy:3128", "https://a"},
	} {
		r := result{url: c.url, report: &idlewise.ProbeReport{
			Proxy: c.proxy, Finding: idlewise.ProbeTimeout, Lower: 5 * time.Second, Upper: 5 * time.Second, Measured: 3,
		}}
		require.Equal(t, c.want, pattern(r))
		_, err := idlewise.New(idlewise.Config{Policies: idlewise.Policies{
			Upstreams: map[string]idlewise.Policy{pattern(r): r.report.SuggestedPolicy()},
		}})
		require.NoError(t, err)
		require.Equal(t, "upstreams:\n  \""+c.want+"\":\n    server_keep_alive: 5s\n", policyYAML([]result{r, r}), "each once")
	}
}

func TestNothingIsSaidOfTheDefaultsWhereNothingWasMeasured(t *testing.T) {
	const (
		nothing = "# Nothing was measured.\n"
		enough  = "# Nothing to configure: idlewise's defaults are as good as what was measured.\n"
		partly  = "# Nothing to configure for 1 of 2 URLs: idlewise's defaults are as good as what was measured. Of the rest nothing is known.\n"
	)
	found := func(f idlewise.ProbeFinding, cut bool) result {
		return result{url: "http://a", report: &idlewise.ProbeReport{Finding: f, AtLeast: time.Second, Cut: cut}}
	}
	outlasted, notKept := found(idlewise.ProbeOutlasted, false), found(idlewise.ProbeNotKept, false)
	interrupted := found(idlewise.ProbeOutlasted, true)
	wrong := result{url: "http://b", err: idlewise.ErrClosed}
	for _, c := range []struct {
		results []result
		want    string
	}{
		{[]result{outlasted, notKept}, enough},
		{[]result{outlasted, found(idlewise.ProbeUnreachable, false)}, partly},
		{[]result{notKept, wrong}, partly},
		{[]result{interrupted}, nothing},
		{[]result{wrong}, nothing},
		{[]result{found(idlewise.ProbeUnreachable, false), found(idlewise.ProbeInconclusive, true)}, nothing},
		{[]result{found(idlewise.ProbeMassClose, false), found(idlewise.ProbeUnanswered, false)}, nothing},
	} {
		require.Equal(t, c.want, policyYAML(c.results))
	}
}

func TestWhatNeedsNoPolicyGetsNone(t *testing.T) {
	r := result{url: "http://a", report: &idlewise.ProbeReport{Finding: idlewise.ProbeOutlasted, AtLeast: time.Minute}}
	require.Equal(t, "# Nothing to configure: idlewise's defaults are as good as what was measured.\n", policyYAML([]result{r}))
	require.Contains(t, row(r), "> 1m0s")
}
