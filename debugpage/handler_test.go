package debugpage

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

// look asks for the page.
func look(h http.Handler, method, target, accept string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(b)
}

// snapshotAt parses the JSON of the page at target as others see it.
func snapshotAt(t *testing.T, h http.Handler, target string) (s map[string]any) {
	t.Helper()
	resp := look(h, "GET", target, "application/json")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "application/json; charset=utf-8", resp.Header.Get("Content-Type"))
	require.NoError(t, json.Unmarshal([]byte(body(t, resp)), &s))
	return s
}

func TestThePageTellsOfPassthrough(t *testing.T) {
	const says, no = "Config.Passthrough is set", "No request has been sent yet"
	h := Handler(newTransport(t, idlewise.Config{Passthrough: true}))
	html := body(t, look(h, "GET", "/", ""))
	require.Equal(t, 2, strings.Count(html, says), "with and without JavaScript")
	require.NotContains(t, html, no)
	require.Equal(t, true, snapshotAt(t, h, "/")["passthrough"])

	h = Handler(newTransport(t, idlewise.Config{}))
	html = body(t, look(h, "GET", "/", ""))
	require.NotContains(t, html, says)
	require.Contains(t, html, no)
	require.NotContains(t, snapshotAt(t, h, "/"), "passthrough")
}

func TestBrowsersGetHTMLAndWhoPrefersJSONGetsThat(t *testing.T) {
	h := Handler(newTransport(t, idlewise.Config{}))
	for accept, want := range map[string]string{
		"": "text/html", "*/*": "text/html",
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": "text/html",
		"application/json":                      "application/json",
		"application/json, text/plain, */*":     "application/json",
		"text/html;q=0.5, application/json":     "application/json",
		"text/html, application/json;q=0.9":     "text/html",
		"application/json;q=0":                  "text/html",
		"application/json;q=much, text/html, ;": "text/html",
	} {
		resp := look(h, "GET", "/", accept)
		require.Equal(t, want+"; charset=utf-8", resp.Header.Get("Content-Type"), accept)
		require.Equal(t, "Accept", resp.Header.Get("Vary"))
	}
	require.Contains(t, look(h, "GET", "/?format=json", "text/html").Header.Get("Content-Type"), "application/json")
}

func TestNothingButGETAndHEADIsServed(t *testing.T) {
	h := Handler(newTransport(t, idlewise.Config{}))
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"} {
		resp := look(h, method, "/", "")
		require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
		require.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
	}
	head, get := look(h, "HEAD", "/", ""), look(h, "GET", "/", "")
	require.Empty(t, body(t, head))
	require.Equal(t, fmt.Sprint(len(body(t, get))), get.Header.Get("Content-Length"))
	require.Equal(t, get.Header.Get("Content-Type"), head.Header.Get("Content-Type"))
}

func TestThePageIsNotStoredAndMayDoNothingButRunItsOwnScript(t *testing.T) {
	h := Handler(newTransport(t, idlewise.Config{}))
	resp := look(h, "GET", "/", "")
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
	csp := resp.Header.Get("Content-Security-Policy")
	require.True(t, strings.HasPrefix(csp, "default-src 'none'; "))
	require.NotContains(t, csp, "unsafe")
	page := body(t, resp)
	for element, directive := range map[string]string{"script": "script-src", "style": "style-src"} {
		_, rest, ok := strings.Cut(page, "<"+element+">")
		require.True(t, ok)
		inline, _, _ := strings.Cut(rest, "</"+element+">")
		sum := sha256.Sum256([]byte(inline))
		require.Contains(t, csp, directive+" 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	require.NotContains(t, page, "src=", "nothing is loaded from elsewhere")
	require.NotContains(t, page, "@import")
	require.NotContains(t, page, ` style="`, "the policy would refuse it")
	require.NotRegexp(t, `\son[a-z]+="`, page, "the policy would refuse it")
	require.NotContains(t, script, "innerHTML")
}

func TestNamesAndTitlesAreEscaped(t *testing.T) {
	const evil = `<img src=x onerror=alert(1)>`
	transport := newTransport(t, idlewise.Config{})
	req := &http.Request{Method: "GET", URL: &url.URL{Scheme: "http", Host: evil, Path: "/"}, Header: http.Header{}}
	_, err := transport.RoundTrip(req)
	require.Error(t, err)
	s := Take(transport)
	require.Len(t, s.Upstreams, 1)
	require.Contains(t, s.Upstreams[0].Name, "<img", "such names do get here")

	h := Handler(transport, WithTitle(`</title><script>alert(2)</script>`))
	page := body(t, look(h, "GET", "/", ""))
	require.NotContains(t, page, "<img")
	require.NotContains(t, page, "<script>alert")
	require.Contains(t, page, "&lt;img src=x onerror=alert(1)&gt;")
	require.NotContains(t, body(t, look(h, "GET", "/?format=json", "")), "<img", "not even in JSON, if a browser took it for HTML")
}

func TestTheJSONHasWhatThePageShows(t *testing.T) {
	network := newNetwork(t)
	transport := newTransport(t, idlewise.Config{Base: network.base(), Policies: idlewise.Policies{Default: idlewise.Policy{ServerKeepAlive: 5 * time.Second}}})
	network.get(transport, "a.example", 3)
	network.closeOnReuse()
	network.get(transport, "a.example", 1)
	network.get(transport, "b.example", 1)

	s := snapshotAt(t, Handler(transport), "/")
	require.EqualValues(t, 1, s["total"].(map[string]any)["stale"])
	upstreams := s["upstreams"].([]any)
	require.Len(t, upstreams, 2)
	a := upstreams[0].(map[string]any)
	require.Equal(t, "http://a.example:80", a["name"])
	require.Equal(t, "configured", a["source"])
	require.EqualValues(t, 4750*time.Millisecond, a["idle_limit_ns"])
	require.EqualValues(t, 5, a["requests"])
	require.EqualValues(t, 1, a["stale"])
	require.EqualValues(t, 1, a["resent"])
	require.EqualValues(t, 1, a["closed_last_hour"].(map[string]any)["stale_on_use"])
	detail := a["detail"].(map[string]any)
	require.Len(t, detail["conns"], 1)
	conn := detail["conns"].([]any)[0].(map[string]any)
	require.EqualValues(t, 4750*time.Millisecond, conn["retire_at_ns"])
	ages := detail["ages"].(map[string]any)
	require.Len(t, ages["reused"], len(ages["bounds_ns"].([]any))+1)
	require.Equal(t, "stale_on_use", ages["closes"].([]any)[0].(map[string]any)["found"])

	recent := s["recent"].([]any)
	require.Len(t, recent, 1)
	event := recent[0].(map[string]any)
	require.Equal(t, "attempt_failed", event["kind"])
	require.Equal(t, "resent", event["weight"])
	require.Equal(t, "GET", event["method"])
	require.Contains(t, event, "idle_age_ns")
}

func TestDetailsCanBeAskedForByName(t *testing.T) {
	network := newNetwork(t)
	transport := newTransport(t, idlewise.Config{Base: network.base()})
	network.get(transport, "a.example", 1)
	network.get(transport, "b.example", 1)
	detailed := func(target string) (names []string) {
		for _, u := range snapshotAt(t, Handler(transport), target)["upstreams"].([]any) {
			if u.(map[string]any)["detail"] != nil {
				names = append(names, u.(map[string]any)["name"].(string))
			}
		}
		return names
	}
	require.Len(t, detailed("/"), 2)
	require.Empty(t, detailed("/?detail="))
	require.Equal(t, []string{"http://b.example:80"}, detailed("/?detail=&detail=http://b.example:80&detail=unknown"))
}

func TestNoSecretOfARequestOrAPolicyIsShown(t *testing.T) {
	network := newNetwork(t)
	transport := newTransport(t, idlewise.Config{Base: network.base(), Policies: idlewise.Policies{Default: idlewise.Policy{
		Retry: idlewise.Retry{Max: 1, CheckRetry: idlewise.DefaultCheckRetry, Backoff: idlewise.DefaultBackoff},
	}}})
	network.closeOnReuse()
	for range 2 {
		req, err := http.NewRequest("POST", "http://user:hunter2@a.example/secret-path?token=s3cret", strings.NewReader("confidential"))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer s3cret")
		if resp, err := transport.RoundTrip(req); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	h := Handler(transport)
	for _, shown := range []string{body(t, look(h, "GET", "/", "")), body(t, look(h, "GET", "/?format=json", ""))} {
		require.Contains(t, shown, "a.example")
		for _, secret := range []string{"hunter2", "secret-path", "s3cret", "confidential", "user:"} {
			require.NotContains(t, shown, secret)
		}
	}
}

func TestAThousandUpstreamsAreServed(t *testing.T) {
	network := newNetwork(t)
	transport := newTransport(t, idlewise.Config{Base: network.base()})
	const n = 1000
	for i := range n {
		network.get(transport, fmt.Sprintf("service-%04d.example", i), 1)
	}
	h := Handler(transport)
	require.Len(t, snapshotAt(t, h, "/")["upstreams"], n)
	require.Len(t, snapshotAt(t, h, "/?detail=")["upstreams"], n)
	page := body(t, look(h, "GET", "/", ""))
	require.Equal(t, plainUpstreams, strings.Count(page, `<th scope="row">`))
	require.Contains(t, page, fmt.Sprintf("%d more", n-plainUpstreams))
}

func TestAClosedTransportHasAPageToo(t *testing.T) {
	transport := newTransport(t, idlewise.Config{})
	require.NoError(t, transport.Close())
	require.Empty(t, snapshotAt(t, Handler(transport), "/")["upstreams"])
	require.Equal(t, http.StatusOK, look(Handler(&idlewise.Transport{}), "GET", "/", "").StatusCode)
}
