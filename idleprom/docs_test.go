package idleprom

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

func TestTheDocumentationNamesEveryMetricAndNoOther(t *testing.T) {
	text, err := os.ReadFile("../docs/observability.md")
	require.NoError(t, err)
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `idlewise_[^|]*").FindAll(text, -1) {
		documented = append(documented, regexp.MustCompile("idlewise_[a-z_]+").FindAllString(string(m), -1)...)
	}
	c := NewCollector(&fake{})
	ch := make(chan *prometheus.Desc, 100)
	c.Describe(ch)
	close(ch)
	var described []string
	for d := range ch {
		described = append(described, regexp.MustCompile(`fqName: "([a-z_]+)"`).FindStringSubmatch(d.String())[1])
	}
	require.ElementsMatch(t, described, documented)
	for _, name := range regexp.MustCompile(`idlewise_[a-z_]+`).FindAllString(string(text), -1) {
		require.True(t, slices.Contains(described, name), name)
	}
}

func TestTheDocumentationNamesEveryEvent(t *testing.T) {
	text, err := os.ReadFile("../docs/observability.md")
	require.NoError(t, err)
	for _, e := range []idlewise.Event{
		idlewise.ConnectionOpened{}, idlewise.ConnectionClosed{}, idlewise.DialFailed{}, idlewise.AttemptFailed{}, idlewise.RequestLost{},
		idlewise.DeadlineChanged{}, idlewise.CanaryEnded{}, idlewise.ProbeEnded{}, idlewise.UpgradeEnded{}, idlewise.BreakerChanged{},
	} {
		require.Contains(t, string(text), "| `"+e.Kind()+"` |")
	}
}
