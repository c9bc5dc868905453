package policyfile

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

func TestEveryPresetIsValidAndSaysWhereItsValuesAreFrom(t *testing.T) {
	for _, p := range Presets() {
		var r reader
		for _, written := range presets {
			if written.name == p.Name {
				r.block(r.document([]byte(written.text)), p.Name, pos{})
			}
		}
		require.NoError(t, r.err(p.Name))
		require.NotZero(t, p.Policy, p.Name)
		require.NoError(t, idlewise.Policies{Default: p.Policy}.Validate(), p.Name)
		require.NotEmpty(t, p.Source, p.Name)
		require.Regexp(t, `^.*\.\)?$`, p.Doc, p.Name)

		extended := parsed(t, "default: {extends: "+p.Name+"}").Default
		require.Equal(t, p.Policy.ServerKeepAlive, extended.ServerKeepAlive)
		require.Equal(t, p.Policy.Retry.Max, extended.Retry.Max)
	}
}

func TestACallerMayChangeThePresetsItGot(t *testing.T) {
	Presets()[0].Policy.ServerKeepAlive = time.Hour
	require.Equal(t, 5*time.Second, Presets()[0].Policy.ServerKeepAlive)
}

// presetOf names the preset for a personality of the fault server's that is called
// otherwise; empty where there is none.
var presetOf = map[string]string{
	"haproxy":      "haproxy-debian",
	"azure-lb-rst": "azure-lb",
	"cloudfront":   "", // which is the client of an origin, not its server
}

func TestThereIsAPresetForEveryServerThatTheFaultServerImitates(t *testing.T) {
	keepAlive := make(map[string]time.Duration)
	for _, p := range Presets() {
		keepAlive[p.Name] = p.Policy.ServerKeepAlive
	}
	unknown := maps.Clone(keepAlive)
	delete(unknown, "behind-load-balancer")
	for _, name := range faultserver.Personalities() {
		is, err := faultserver.DescribePersonality(name)
		require.NoError(t, err)
		preset, other := presetOf[name]
		if !other {
			preset = name
		}
		if is.IdleTimeout == 0 || preset == "" {
			require.NotContains(t, keepAlive, name)
			continue
		}
		require.Contains(t, keepAlive, preset)
		want := is.IdleTimeout
		if name == "node" {
			want = want.Truncate(time.Second) - time.Second // which closes late
		}
		require.Equal(t, want, keepAlive[preset], name)
		delete(unknown, preset)
	}
	require.Empty(t, unknown, "presets that the fault server does not know")
}
