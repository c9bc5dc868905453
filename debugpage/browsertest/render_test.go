package browsertest

import (
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

// The page is to be shown in 200 ms. The bounds are generous, since machines
// differ and other tests may have the processors.
const (
	bound     = time.Second
	busyBound = 400 * time.Millisecond
)

// darken has the browser prefer dark colors.
func (b *browser) darken() {
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
	require.NoError(b, err)
}

// fresh empties the page's table, renders it anew, and returns how long that
// took until the browser had drawn it, by the browser's clock, in milliseconds.
const fresh = `(async () => {
	clearTimeout(page.timer);
	page.rows.clear();
	find("rows").replaceChildren();
	performance.clearMeasures();
	render();
	while (performance.getEntriesByName("idlewise-render").length === 0) await new Promise(done => setTimeout(done, 5));
	return performance.getEntriesByName("idlewise-render")[0].duration;
})()`

// renders measures how long the page takes to be shown: the least of a few
// times, and of the processor time of the page's thread, which depends less on
// what else the machine does.
func (b *browser) renders() (took, busy time.Duration) {
	b.Helper()
	_, err := chromedp.Call(b.ctx, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks})
	require.NoError(b, err)
	took, busy = time.Hour, time.Hour
	for range 7 {
		before := b.busy()
		took = min(took, milliseconds(ask[float64](b, fresh)))
		busy = min(busy, b.busy()-before)
	}
	b.run(`ask()`)
	b.Logf("shown after %v, %v of them processor time", took, busy)
	return took, busy
}

func milliseconds(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

// busy is the processor time that the page's thread has used.
func (b *browser) busy() time.Duration {
	b.Helper()
	result, err := chromedp.Call(b.ctx, performance.GetMetrics, cdp.Empty{})
	require.NoError(b, err)
	for _, m := range result.Metrics {
		if m.Name == "TaskDuration" {
			return milliseconds(1000 * m.Value)
		}
	}
	require.Fail(b, "there is no TaskDuration")
	return 0
}

// requireShownAtOnce renders the page anew.
func (b *browser) requireShownAtOnce() {
	b.Helper()
	took, busy := b.renders()
	require.Less(b, took, bound)
	require.Less(b, busy, busyBound)
	require.Positive(b, busy)
}

func TestAThousandConnectionsAreShownAtOnce(t *testing.T) {
	const n = 1000
	meet := newMeeting(n)
	s := newSystem(t, meet, idlewise.Policies{Default: idlewise.Policy{MaxIdleConns: n}})
	s.connect(service(0), n, meet)
	b := open(t, s.url)
	b.until(`document.querySelectorAll(".detail .conns tbody tr").length === 1000`)
	b.requireShownAtOnce()
	require.Equal(t, n, ask[int](b, `document.querySelectorAll(".detail .conns tbody tr").length`))
	b.click(".conns th:nth-child(1) button")
	require.Equal(t, "1000", ask[string](b, `document.querySelector(".conns tbody td").firstChild.textContent`))
	b.screenshot("connections")
}

func TestAThousandUpstreamsAreShownAtOnce(t *testing.T) {
	const n = 1000
	s := newSystem(t, nil, idlewise.Policies{})
	for i := range n {
		s.get(service(i), 1)
	}
	b := open(t, s.url)
	require.Equal(t, 200, ask[int](b, `document.querySelectorAll("#rows tr").length`))
	b.requireShownAtOnce()
	b.screenshot("upstreams")
	b.run(`find("more").click()`)
	require.Equal(t, n, ask[int](b, `document.querySelectorAll("#rows tr").length`))
	b.requireShownAtOnce()
}
