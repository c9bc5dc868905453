package idlewise

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheFieldsOfAProbePolicyAreInheritedOneByOne(t *testing.T) {
	p := Policies{
		Default: Policy{Probe: ProbePolicy{Every: time.Hour, Method: "GET"}},
		Upstreams: map[string]Policy{
			"path.test": {Probe: ProbePolicy{Path: "/health"}},
			"off.test":  {Probe: ProbePolicy{Every: -1}},
		},
	}
	got, _ := policyFor(t, p, "http://path.test")
	require.Equal(t, ProbePolicy{Every: time.Hour, Method: "GET", Path: "/health"}, got.Probe)
	got, _ = policyFor(t, p, "http://off.test")
	require.Equal(t, ProbePolicy{Every: -1, Method: "GET"}, got.Probe)
	got, _ = policyFor(t, Policies{}, "http://any.test")
	require.Equal(t, ProbePolicy{Every: -1}, got.Probe, "off")
}

func TestABackgroundProbeOutlastsWhatConnectionsAreKeptFor(t *testing.T) {
	for maxIdle, want := range map[time.Duration]time.Duration{
		90 * time.Second: 2 * time.Minute,
		time.Second:      31 * time.Second,
		time.Hour:        63 * time.Minute,
		100 * time.Hour:  24 * time.Hour,
		-1:               2 * time.Minute,
	} {
		p := Policy{MaxIdleTime: maxIdle}
		require.Equal(t, want, p.probeTimeout())
		p.Probe.Timeout = time.Minute
		require.Equal(t, time.Minute, p.probeTimeout())
	}
}

func TestEveryMistakeInAProbePolicyIsReportedByItsField(t *testing.T) {
	_, err := New(Config{Policies: Policies{
		Default: Policy{Probe: ProbePolicy{Every: 10 * time.Minute}},
		Upstreams: map[string]Policy{
			"unit.test":     {Probe: ProbePolicy{Every: 30}},
			"short.test":    {Probe: ProbePolicy{Every: time.Minute}},
			"idle.test":     {MaxIdleTime: time.Hour},
			"negative.test": {Probe: ProbePolicy{Timeout: -1}},
			"long.test":     {Probe: ProbePolicy{Every: 1000 * time.Hour, Timeout: 25 * time.Hour}},
			"post.test":     {Probe: ProbePolicy{Method: "POST"}},
			"path.test":     {Probe: ProbePolicy{Path: "health"}},
			"escape.test":   {Probe: ProbePolicy{Path: "/%zz"}},
			"fine.test":     {Probe: ProbePolicy{Every: 5 * time.Minute, Timeout: time.Minute, Method: "OPTIONS", Path: "/a?b=c"}},
		},
	}})
	for _, want := range []string{
		`Policies.Upstreams["unit.test"].Probe.Every: 30ns is under a millisecond; is the unit missing, as in 30 * time.Second?`,
		`Policies.Upstreams["short.test"].Probe.Every: 1m0s is too short for probes that may take 2m0s; raise it to at least 10m0s, or lower Probe.Timeout`,
		`Policies.Upstreams["idle.test"].Probe.Every: 10m0s is too short for probes that may take 1h3m0s; raise it to at least 5h15m0s, or lower Probe.Timeout`,
		`Policies.Upstreams["negative.test"].Probe.Timeout: -1ns is negative; a probe has to end`,
		`Policies.Upstreams["long.test"].Probe.Timeout: 25h0m0s is more than a day`,
		`Policies.Upstreams["post.test"].Probe.Method: "POST" may have effects, and nobody asked for the probe's requests; use GET, HEAD, OPTIONS or TRACE`,
		`Policies.Upstreams["path.test"].Probe.Path: "health" is none; give one such as /health`,
		`Policies.Upstreams["escape.test"].Probe.Path: "/%zz" is none`,
	} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "fine.test")
	require.NotContains(t, err.Error(), "Policies.Default")
}
