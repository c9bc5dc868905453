package browsertest

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

// names are those of the upstreams that are shown, in order.
const names = `[...document.querySelectorAll("#rows .name")].map(e => e.textContent)`

func TestUpstreamsAreSortedByAClickOnAColumn(t *testing.T) {
	s := newSystem(t, nil, idlewise.Policies{})
	for i, n := range []int{2, 3, 1} {
		s.get(service(i), n)
	}
	b := open(t, s.url)
	byRequests := []string{"http://service-0001.example:80", "http://service-0000.example:80", "http://service-0002.example:80"}
	const column = `#upstreams th:nth-child(3)`
	b.click(column + " button")
	require.Equal(t, byRequests, ask[[]string](b, names))
	require.Equal(t, "descending", ask[string](b, `document.querySelector("`+column+`").getAttribute("aria-sort")`))
	b.click(column + " button")
	require.Equal(t, []string{byRequests[2], byRequests[1], byRequests[0]}, ask[[]string](b, names))
	b.click(`#upstreams th:nth-child(1) button`)
	require.Equal(t, []string{byRequests[1], byRequests[0], byRequests[2]}, ask[[]string](b, names))
}

func TestUpstreamsAreFiltered(t *testing.T) {
	s := newSystem(t, nil, idlewise.Policies{})
	for i := range 5 {
		s.get(service(i), 1)
	}
	s.server.Inject(faultserver.Fault{Kind: faultserver.CloseOnReuse, Times: 1})
	s.get(service(3), 1)
	b := open(t, s.url)
	require.Len(t, ask[[]string](b, names), 5)
	b.do(chromedp.SendKeys(chromedp.CSS("#filter"), "0004"))
	require.Equal(t, []string{"http://service-0004.example:80"}, ask[[]string](b, names))
	require.Equal(t, "1 of 5 upstreams", ask[string](b, `find("shown").textContent`))
	b.run(`find("filter").value = ""; find("show").value = "stale"; find("show").dispatchEvent(new Event("change"))`)
	require.Equal(t, []string{"http://service-0003.example:80"}, ask[[]string](b, names))
}

func TestAnUpstreamIsOpenedByTheKeyboardAndShowsItsConnections(t *testing.T) {
	s := newSystem(t, nil, idlewise.Policies{Upstreams: map[string]idlewise.Policy{"service-0002.example": {ServerKeepAlive: 5 * time.Second}}})
	for i := range 5 {
		s.get(service(i), 2)
	}
	b := open(t, s.url)
	b.click(`#upstreams th:nth-child(1) button`)
	b.do(chromedp.Focus(chromedp.CSS("#rows tr:nth-child(3) .name")), chromedp.KeyEvent("\r"))
	b.until(`document.querySelector(".detail .conns tbody tr") !== null`)
	require.Equal(t, "true", ask[string](b, `document.querySelector("#rows tr:nth-child(3) .name").getAttribute("aria-expanded")`))
	text := ask[string](b, `document.querySelector(".detail").textContent`)
	require.Contains(t, text, "Idle connections are closed after 4.75s: 250ms before the 5s that server_keep_alive says.")
	require.Contains(t, text, "of 4.75s", "the connection's idle age and limit")
	require.Contains(t, text, `"http://service-0002.example:80":`)
	require.Contains(t, text, "server_keep_alive: 5s")
	require.Equal(t, "idlewise: 4.75s", ask[string](b, `document.querySelector(".chart .limit-text").textContent`))
	b.screenshot("opened")
	b.do(chromedp.KeyEvent("\r"))
	b.until(`document.querySelector(".detail") === null`)
}

func TestTheFocusStaysOnAnUpstreamThatMoves(t *testing.T) {
	s := newSystem(t, nil, idlewise.Policies{})
	for i := range 3 {
		s.get(service(i), 3-i)
	}
	b := open(t, s.url)
	b.click(`#upstreams th:nth-child(3) button`)
	b.do(chromedp.Focus(chromedp.CSS("#rows tr:nth-child(3) .name")))
	s.get(service(2), 10)
	b.until(names + `[0] === "http://service-0002.example:80"`)
	require.Equal(t, "http://service-0002.example:80", ask[string](b, `document.activeElement.textContent.slice(0, 60)`))
}

func TestALinkOpensAnUpstream(t *testing.T) {
	s := newSystem(t, nil, idlewise.Policies{})
	for i := range 3 {
		s.get(service(i), 1)
	}
	b := open(t, s.url+"#http://service-0001.example:80")
	b.until(`document.querySelector(".detail .conns tbody tr") !== null`)
	require.Equal(t, []string{"http://service-0001.example:80"}, ask[[]string](b, names))
}

func TestThePageBringsItselfUpToDateUntilItIsPaused(t *testing.T) {
	s := newSystem(t, nil, idlewise.Policies{})
	s.get(service(0), 1)
	b := open(t, s.url)
	b.run(`document.body.style.minHeight = "5000px"; scrollTo(0, 50); window.kept = document.querySelector("#rows tr")`)
	s.get(service(0), 41)
	b.until(`document.querySelector("#rows td:nth-child(3)").textContent.startsWith("42")`)
	require.True(t, ask[bool](b, `window.kept === document.querySelector("#rows tr")`), "rows are kept")
	require.Equal(t, 50.0, ask[float64](b, `scrollY`))

	b.click("#pause")
	b.until(`find("status").textContent.startsWith("paused")`)
	asked := ask[int](b, `page.asked`)
	ask[any](b, `new Promise(done => setTimeout(done, 2500, 0))`)
	require.Equal(t, asked, ask[int](b, `page.asked`))
	b.click("#pause")
	b.until(fmt.Sprintf(`page.asked > %d`, asked+1))
}

func TestARequestThatMetACloseIsListedWithItsEvidence(t *testing.T) {
	s := newSystem(t, nil, idlewise.Policies{})
	s.get(service(0), 1)
	s.server.Inject(faultserver.Fault{Kind: faultserver.CloseOnReuse, Times: 1})
	s.get(service(0), 1)
	b := open(t, s.url)
	text := ask[string](b, `find("events").textContent`)
	require.Contains(t, text, "met a connection that the server had closed; sent again")
	require.Contains(t, text, "http://service-0000.example:80")
	require.Contains(t, text, "GET")
}

func TestAPageWithoutTrafficSaysWhatItWaitsFor(t *testing.T) {
	b := open(t, newSystem(t, nil, idlewise.Policies{}).url)
	require.True(t, ask[bool](b, `!find("none").hidden && !find("quiet").hidden && find("upstreams").hidden`))
	b.screenshot("empty")
}

func TestThePageIsReadableOnAPhoneAndInTheDark(t *testing.T) {
	s := newSystem(t, nil, idlewise.Policies{})
	s.get(service(0), 3)
	b := open(t, s.url)
	b.do(chromedp.EmulateViewport(390, 844))
	b.darken()
	b.until(`document.querySelector(".detail .conns tbody tr") !== null`)
	require.LessOrEqual(t, ask[float64](b, `document.documentElement.scrollWidth`), 390.0, "nothing makes the page itself wider; tables scroll")
	require.Equal(t, "rgb(20, 23, 28)", ask[string](b, `getComputedStyle(document.body).backgroundColor`))
	b.screenshot("phone")
}

func TestWithoutJavaScriptThereIsATable(t *testing.T) {
	s := newSystem(t, nil, idlewise.Policies{})
	s.get(service(0), 3)
	b := start(t)
	_, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	require.NoError(t, err)
	b.do(chromedp.Navigate(s.url))
	text, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("main")))
	require.NoError(t, err)
	require.Contains(t, text, "http://service-0000.example:80")
	require.Contains(t, text, "max_idle_time")
	require.NotContains(t, text, "How to read this page", "what needs the script is not there")
	b.screenshot("plain")
}
