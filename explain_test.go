package idlewise

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestPassthroughIsExplained(t *testing.T) {
	tr, err := New(Config{Base: &http.Transport{}, Passthrough: true})
	require.NoError(t, err)
	e := tr.Explain("http://example.com/")
	require.True(t, e.Passthrough)
	require.True(t, tr.Stats().Passthrough)
	require.Contains(t, e.String(), "Config.Passthrough is set")
	require.NotContains(t, e.String(), "retired", "nothing is")
}

func TestAnExplanationIsForReading(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{Personality: "node"}}, func(t *testing.T, w *world) {
		for _, want := range []string{", 1 request in 0s", ", 2 requests in 0s"} {
			_, err := w.do(t.Context(), "GET", "/", "")
			require.NoError(t, err)
			require.Contains(t, w.tr.Explain(w.url("/")).String(), want)
		}
	})
	e := Explanation{Source: DeadlineLearned, IdleLimit: 375719032, Margin: 93929758, ServerKeepAlive: 469648790}
	require.Contains(t, e.String(), "retired at 375.7ms, 93.93ms before the server's 469.6ms (learned)")
	e = Explanation{Source: DeadlineMaxIdleTime, IdleLimit: 90 * time.Second}
	require.Contains(t, e.String(), "retired at 1m30s (MaxIdleTime)")
}
