package browsertest

import (
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

// bound is generous: the page is to be shown in 200 ms, but not on processors
// that other tests use at the same time.
const bound = time.Second

// darken has the browser prefer dark colors.
func (b *browser) darken() {
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
	require.NoError(b, err)
}

// fresh empties the page's table, renders it anew, and returns how long that
// took until the browser had drawn it, by the browser's clock: the least of a
// few times, in milliseconds.
const fresh = `(async () => {
	clearTimeout(page.timer);
	let least = Infinity;
	for (let i = 0; i < 7; i++) {
		page.rows.clear();
		find("rows").replaceChildren();
		performance.clearMeasures();
		render();
		while (performance.getEntriesByName("idlewise-render").length === 0) await new Promise(done => setTimeout(done, 5));
		least = Math.min(least, performance.getEntriesByName("idlewise-render")[0].duration);
	}
	ask();
	return least;
})()`

func (b *browser) renders() time.Duration {
	b.Helper()
	took := time.Duration(ask[float64](b, fresh) * float64(time.Millisecond))
	b.Logf("rendered in %v", took)
	return took
}

func TestAThousandConnectionsAreShownAtOnce(t *testing.T) {
	const n = 1000
	meet := newMeeting(n)
	s := newSystem(t, meet, idlewise.Policies{Default: idlewise.Policy{MaxIdleConns: n}})
	s.connect(service(0), n, meet)
	b := open(t, s.url)
	b.until(`document.querySelectorAll(".detail .conns tbody tr").length === 1000`)
	require.Less(t, b.renders(), bound)
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
	require.Less(t, b.renders(), bound)
	b.screenshot("upstreams")
	b.run(`find("more").click()`)
	require.Equal(t, n, ask[int](b, `document.querySelectorAll("#rows tr").length`))
	require.Less(t, b.renders(), bound)
}
