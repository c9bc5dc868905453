package idleprom

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
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

func TestTheDocumentationSaysHowManySeriesAnUpstreamHas(t *testing.T) {
	tr, s := used(t, 5)
	r := registered(t, NewCollector(tr))
	families, err := r.Gather()
	require.NoError(t, err)
	series, buckets := 0, 0
	up := strings.Replace(s.URL, "http://localhost", "http://127.0.0.1", 1)
	for _, f := range families {
		for _, m := range f.Metric {
			its := false
			for _, l := range m.Label {
				its = its || l.GetValue() == up
			}
			switch h := m.Histogram; {
			case !its:
			case h != nil:
				buckets += len(h.Bucket) + 1 // +Inf
				series += len(h.Bucket) + 3  // and sum and count
			default:
				series++
			}
		}
	}
	text, err := os.ReadFile("../docs/observability.md")
	require.NoError(t, err)
	said := regexp.MustCompile(`about (\d+)\s+series, (\d+) of them buckets`).FindStringSubmatch(string(text))
	require.NotNil(t, said)
	require.Equal(t, strconv.Itoa(buckets), said[2])
	about, err := strconv.Atoi(said[1])
	require.NoError(t, err)
	require.InDelta(t, series, about, 10)
}
