package faultserver_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// behind is a net/http server and a proxy to it.
func behind(t *testing.T, opts faultserver.ProxyOptions, h http.HandlerFunc) (*faultserver.ProxyHandler, *httptest.Server) {
	t.Helper()
	target := httptest.NewServer(h)
	t.Cleanup(target.Close)
	p, err := faultserver.Proxy(target.URL, opts)
	require.NoError(t, err)
	return p, target
}

func TestTheProxyIsTransparentOverEveryProtocol(t *testing.T) {
	p, target := behind(t, faultserver.ProxyOptions{}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header()["Date"] = []string{"today"}
		w.Header()["Content-Type"] = nil
		w.Header().Set("X-Saw", fmt.Sprintf("%s %s %q %q %q %s", r.Method, r.RequestURI, r.Header["X-Forwarded-For"],
			r.Header["User-Agent"], r.Header["Accept-Encoding"], r.Host))
		w.WriteHeader(http.StatusTeapot)
		w.Write(bytes.ToUpper(body))
	})
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		cfg.Handler = p
		s := faultserver.Start(t, cfg)
		req, _ := http.NewRequest("PUT", s.URL+"/a%2Fb?q=1;2", strings.NewReader("body"))
		req.Header.Set("X-Forwarded-For", "someone")
		req.Header.Set("Accept-Encoding", "br")
		req.Header.Set("User-Agent", "") // net/http: none
		resp, err := s.Client().Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusTeapot, resp.StatusCode)
		require.Equal(t, "BODY", string(body))
		require.Equal(t, `PUT /a%2Fb?q=1;2 ["someone"] [] ["br"] `+target.Listener.Addr().String(), resp.Header.Get("X-Saw"))
		require.Equal(t, "today", resp.Header.Get("Date"))
		require.NotContains(t, resp.Header, "Content-Type")
		require.Equal(t, proto, resp.Proto)
	})
	require.Empty(t, p.Errors())
}

func TestAnotherReverseProxyCutsOffWhatItsTargetDoesNotComplete(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(target.Close)
	to, err := url.Parse(target.URL)
	require.NoError(t, err)
	p := httputil.NewSingleHostReverseProxy(to)
	p.ErrorLog = log.New(io.Discard, "", 0)
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		cfg.Handler = p
		s := faultserver.Start(t, cfg)
		resp, err := s.Client().Get(s.URL)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		require.Error(t, err)
		require.False(t, onlyRequest(t, s).Answered)
	})
}

func TestTheProxyKeepsTheHostIfTold(t *testing.T) {
	p, _ := behind(t, faultserver.ProxyOptions{PreserveHost: true}, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Host)
	})
	c := dialRaw(t, faultserver.Start(t, faultserver.Config{Handler: p}))
	_, body := c.get("/")
	require.Equal(t, "test", body)
}

func TestTheProxyStreamsBothWaysAndPassesTrailers(t *testing.T) {
	p, _ := behind(t, faultserver.ProxyOptions{}, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Trailer", "X-Sum")
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintf(w, "%s!\n", lines.Text())
			http.NewResponseController(w).Flush()
		}
		w.Header().Set("X-Sum", "of "+r.Trailer.Get("X-Of"))
	})
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		cfg.Handler = p
		s := faultserver.Start(t, cfg)
		send, w := io.Pipe()
		req, _ := http.NewRequest("POST", s.URL, send)
		req.Trailer = http.Header{"X-Of": nil}
		go fmt.Fprintln(w, "one")
		resp, err := s.Client().Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		br := bufio.NewReader(resp.Body)
		line, err := br.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "one!\n", line, "before the request has ended")
		req.Trailer.Set("X-Of", "two")
		fmt.Fprintln(w, "two")
		w.Close()
		rest, err := io.ReadAll(br)
		require.NoError(t, err)
		require.Equal(t, "two!\n", string(rest))
		require.Equal(t, "of two", resp.Trailer.Get("X-Sum"))
	})
}

func TestTheProxyPassesInterimResponses(t *testing.T) {
	p, _ := behind(t, faultserver.ProxyOptions{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		cfg.Handler = p
		s := faultserver.Start(t, cfg)
		var interim []int
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			interim = append(interim, code)
			return nil
		}})
		req, _ := http.NewRequestWithContext(ctx, "POST", s.URL, strings.NewReader("12345"))
		req.Header.Set("Expect", "100-continue")
		s.Client().Transport.(*http.Transport).ExpectContinueTimeout = patience
		resp, err := s.Client().Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		require.Equal(t, "5", string(body))
		require.ElementsMatch(t, []int{100, 103}, interim)
		require.Empty(t, resp.Header.Get("Link"))
	})
}

func TestTheProxyCarriesAnUpgradeWithEarlyBytesAndHalfClose(t *testing.T) {
	p, _ := behind(t, faultserver.ProxyOptions{}, func(w http.ResponseWriter, r *http.Request) {
		nc, brw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer nc.Close()
		io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(nc, brw)
		io.WriteString(nc, "bye")
	})
	s := faultserver.Start(t, faultserver.Config{Handler: p})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly,")
	resp, err := http.ReadResponse(c.br, nil)
	require.NoError(t, err)
	require.Equal(t, 101, resp.StatusCode)
	require.Equal(t, "echo", resp.Header.Get("Upgrade"))
	c.send("late,")
	require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
	rest, err := c.rest()
	require.NoError(t, err)
	require.Equal(t, "early,late,bye", rest)
}

func TestABackendThatHalfClosesAnUpgradeStillReads(t *testing.T) {
	got := make(chan string, 1)
	p, _ := behind(t, faultserver.ProxyOptions{}, func(w http.ResponseWriter, r *http.Request) {
		nc, brw, _ := http.NewResponseController(w).Hijack()
		defer nc.Close()
		io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		nc.(*net.TCPConn).CloseWrite()
		rest, _ := io.ReadAll(brw)
		got <- string(rest)
	})
	c := dialRaw(t, faultserver.Start(t, faultserver.Config{Handler: p}))
	c.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	_, err := http.ReadResponse(c.br, nil)
	require.NoError(t, err)
	c.wantFIN()
	c.send("more")
	require.NoError(t, c.Close())
	require.Equal(t, "more", <-got)
}

func TestTheProxyStreamsABodyOfKnownLength(t *testing.T) {
	first := make(chan struct{})
	p, _ := behind(t, faultserver.ProxyOptions{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "6")
		io.WriteString(w, "abc")
		http.NewResponseController(w).Flush()
		<-first
		io.WriteString(w, "def")
	})
	c := dialRaw(t, faultserver.Start(t, faultserver.Config{Handler: p}))
	c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	resp, err := http.ReadResponse(c.br, nil)
	require.NoError(t, err)
	require.EqualValues(t, 6, resp.ContentLength)
	_, err = io.ReadFull(resp.Body, make([]byte, 3))
	require.NoError(t, err)
	close(first)
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "def", string(rest))
}

func TestTheProxyAddsNoHeader(t *testing.T) {
	p, target := behind(t, faultserver.ProxyOptions{}, func(w http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		h.Del("Connection") // the proxy's own, to its own connection
		fmt.Fprintf(w, "%s %v", r.Host, h)
	})
	c := dialRaw(t, faultserver.Start(t, faultserver.Config{Handler: p}))
	_, body := c.get("/")
	require.Equal(t, target.Listener.Addr().String()+" map[]", body)
}

func TestKillEndsAnUpgradeBehindTheProxyToo(t *testing.T) {
	ended := make(chan struct{})
	p, _ := behind(t, faultserver.ProxyOptions{}, func(w http.ResponseWriter, r *http.Request) {
		nc, brw, _ := http.NewResponseController(w).Hijack()
		defer nc.Close()
		io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(io.Discard, brw)
		close(ended)
	})
	s := faultserver.Start(t, faultserver.Config{Handler: p})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	_, err := http.ReadResponse(c.br, nil)
	require.NoError(t, err)
	s.Kill()
	c.wantRST()
	<-ended
}

func TestTheProxyDoesNotFollowRedirects(t *testing.T) {
	p, _ := behind(t, faultserver.ProxyOptions{}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	c := dialRaw(t, faultserver.Start(t, faultserver.Config{Handler: p}))
	resp, _ := c.get("/")
	require.Equal(t, "/elsewhere", resp.Header.Get("Location"))
}

func TestTheProxyNeverReusesAConnectionToItsTarget(t *testing.T) {
	var conns atomic.Int32
	target := httptest.NewUnstartedServer(faultserver.Echo)
	target.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	target.Start()
	defer target.Close()
	p, err := faultserver.Proxy(target.URL+"/base/", faultserver.ProxyOptions{})
	require.NoError(t, err)
	c := dialRaw(t, faultserver.Start(t, faultserver.Config{Handler: p}))
	for range 3 {
		resp, body := c.get("/x")
		require.Equal(t, "GET /base/x 0\n", body)
		require.False(t, resp.Close, "the client's connection is none of the target's business")
	}
	require.EqualValues(t, 3, conns.Load())
}

func TestAnUnreachableTargetIsA502WithAReason(t *testing.T) {
	p, target := behind(t, faultserver.ProxyOptions{}, nil)
	target.Close()
	s := faultserver.Start(t, faultserver.Config{Handler: p})
	resp, body := dialRaw(t, s).get("/a")
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Contains(t, body, "refused")
	require.Equal(t, http.StatusBadGateway, onlyRequest(t, s).Status)
	require.Len(t, p.Errors(), 1)
	require.ErrorContains(t, p.Errors()[0], "GET /a: ")
}

func TestATargetThatFailsInTheBodyCutsTheResponseOff(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		p, _ := behind(t, faultserver.ProxyOptions{}, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "part")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		cfg.Handler = p
		s := faultserver.Start(t, cfg)
		resp, err := s.Client().Get(s.URL)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.Error(t, err, "the response must not look complete")
		require.Equal(t, "part", string(body))
		require.False(t, onlyRequest(t, s).Answered)
		require.Len(t, p.Errors(), 1)
	})
}

func TestAClientThatLeavesIsNoErrorOfTheProxy(t *testing.T) {
	arrived, left := make(chan struct{}), make(chan struct{})
	p, _ := behind(t, faultserver.ProxyOptions{}, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(left)
	})
	s := faultserver.Start(t, faultserver.Config{Handler: p, Protocols: protocols(h2c)})
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
	go func() { <-arrived; cancel() }()
	_, err := s.Client().Do(req)
	require.ErrorIs(t, err, context.Canceled)
	<-left
	require.NoError(t, s.Close())
	require.Empty(t, p.Errors())
}

func TestFaultsStrikeBeforeTheProxy(t *testing.T) {
	executed := 0
	p, _ := behind(t, faultserver.ProxyOptions{}, func(w http.ResponseWriter, r *http.Request) { executed++ })
	s := faultserver.Start(t, faultserver.Config{Handler: p})
	s.Inject(faultserver.Fault{Kind: faultserver.FinAfterRequest, Executed: true, Times: 1})
	c := dialRaw(t, s)
	c.send(post("/charge", "5 EUR"))
	c.wantFIN()
	require.Equal(t, 1, executed)
	require.Equal(t, 1, onlyRequest(t, s).Executed)
}

func TestProxyRefusesTargetsItCannotUse(t *testing.T) {
	for _, target := range []string{"", "127.0.0.1:80", "ftp://a", "http://", "http://a/?q=1", "http://user:secret@a/", "http://user:secret@a\x7f", "http://a\x7f"} {
		_, err := faultserver.Proxy(target, faultserver.ProxyOptions{})
		require.ErrorContains(t, err, "target", target)
		require.NotContains(t, err.Error(), "secret")
	}
}
