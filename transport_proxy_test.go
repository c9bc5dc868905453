package idlewise

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// forward is a proxy's handler: it answers plain requests itself, as would the
// server behind it, and tunnels CONNECT to the one address there is.
func (e *env) forward(target func() string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		e.note("proxy: %s %s, Host %s, authorization %q, x %q", r.Method, r.RequestURI, r.Host, r.Header["Proxy-Authorization"], r.Header["X-Proxy"])
		if r.Method != http.MethodConnect {
			echo(w, r)
			return
		}
		if strings.HasPrefix(r.Host, "forbidden") {
			w.Header().Set("X-Why", "policy")
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		there, err := net.Dial("tcp", target())
		if err != nil {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			there.Close()
			return
		}
		io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		join(here, there)
	}
}

// join copies both ways until either side ends.
func join(a, b net.Conn) {
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			io.Copy(pair[0], pair[1])
			a.Close()
			b.Close()
		})
	}
	wg.Wait()
}

// proxy starts a proxy in front of target, itself over TLS if asked for.
func (e *env) proxy(overTLS bool, target func() string) *url.URL {
	srv := httptest.NewUnstartedServer(e.forward(target))
	srv.Config.ErrorLog = quiet
	if overTLS {
		srv.StartTLS()
		e.trust(srv)
	} else {
		srv.Start()
	}
	e.Cleanup(srv.Close)
	e.Cleanup(srv.CloseClientConnections)
	u, err := url.Parse(srv.URL)
	require.NoError(e, err)
	return u
}

// socks5 starts a SOCKS5 proxy (RFC 1928) that wants a password if user is set.
func (e *env) socks5(user string, target func() string) string {
	return e.listen(func(c net.Conn, _ int) {
		br := bufio.NewReader(c)
		head := make([]byte, 2)
		if _, err := io.ReadFull(br, head); err != nil {
			return
		}
		methods := make([]byte, head[1])
		io.ReadFull(br, methods)
		e.note("socks: methods %v", methods)
		if user == "" {
			c.Write([]byte{5, 0})
		} else {
			c.Write([]byte{5, 2})
			var fields []string
			br.ReadByte()
			for range 2 {
				n, _ := br.ReadByte()
				b := make([]byte, n)
				io.ReadFull(br, b)
				fields = append(fields, string(b))
			}
			e.note("socks: %q", fields)
			if fields[0] != user {
				c.Write([]byte{1, 1})
				return
			}
			c.Write([]byte{1, 0})
		}
		ask := make([]byte, 4)
		io.ReadFull(br, ask)
		host := ""
		switch ask[3] {
		case 1:
			b := make([]byte, 4)
			io.ReadFull(br, b)
			host = net.IP(b).String()
		case 3:
			n, _ := br.ReadByte()
			b := make([]byte, n)
			io.ReadFull(br, b)
			host = string(b)
		}
		port := make([]byte, 2)
		io.ReadFull(br, port)
		e.note("socks: to %s:%v", host, host != "127.0.0.1" && binary.BigEndian.Uint16(port) == 80)
		if strings.HasPrefix(host, "forbidden") {
			c.Write([]byte{5, 2, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		there, err := net.Dial("tcp", target())
		if err != nil {
			return
		}
		c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		join(struct {
			io.Reader
			net.Conn
		}{br, c}.Conn, there)
	})
}

func hostPortOf(srv **httptest.Server) func() string {
	return func() string { return (*srv).Listener.Addr().String() }
}

func TestTheContractOfProxies(t *testing.T) {
	runContract(t, []clause{
		{says: "plain requests go through an HTTP or HTTPS proxy, whatever the target, with the proxy's credentials", holds: func(e *env) {
			for _, overTLS := range []bool{false, true} {
				proxy := e.proxy(overTLS, nil)
				proxy.User = url.UserPassword("me", "pass")
				e.base.Proxy = http.ProxyURL(proxy)
				for _, target := range []string{"http://one.example/a?b=c", "http://two.example:8080", "http://user:pw@three.example/"} {
					e.get(target)
				}
				req := e.request("POST", "http://four.example/", strings.NewReader("hello"))
				req.Host, req.Header = "five.example", http.Header{"X-Proxy": {"to the proxy, too"}}
				e.do(req)
				e.renew(e.base.Clone())
			}
		}},
		{says: "CONNECT leads through an HTTP and an HTTPS proxy", over: https1 | http2, holds: func(e *env) {
			srv := e.serve(echo)
			for _, overTLS := range []bool{false, true} {
				proxy := e.proxy(overTLS, hostPortOf(&srv))
				proxy.User = url.UserPassword("me", "pass")
				e.base.Proxy = http.ProxyURL(proxy)
				e.base.ProxyConnectHeader = http.Header{"X-Proxy": {"fixed"}}
				for range 2 {
					e.get("https://example.com/")
				}
				resp, err := e.client().Get("https://example.com/")
				e.noteResult(resp, err)
				e.renew(e.base.Clone())
			}
		}},
		{says: "GetProxyConnectHeader and OnProxyConnectResponse are asked with the request's context", over: https1 | http2, holds: func(e *env) {
			srv := e.serve(echo)
			type key struct{}
			e.base.Proxy = http.ProxyURL(e.proxy(false, hostPortOf(&srv)))
			e.base.GetProxyConnectHeader = func(ctx context.Context, proxyURL *url.URL, target string) (http.Header, error) {
				e.note("header for %v %v %v", ctx.Value(key{}), proxyURL, target)
				if ctx.Value(key{}) == "fail" {
					return nil, errors.New("no header")
				}
				return http.Header{"X-Proxy": {"made"}}, nil
			}
			e.base.OnProxyConnectResponse = func(ctx context.Context, proxyURL *url.URL, req *http.Request, resp *http.Response) error {
				e.note("response for %v %v: %s %s %s %q", ctx.Value(key{}), proxyURL, req.Method, req.URL, resp.Status, resp.Header["X-Why"])
				if ctx.Value(key{}) == "refuse" {
					return errors.New("do not like it")
				}
				return nil
			}
			for i, to := range []string{"https://forbidden.example/", "https://example.com/", "https://a.example.com/", "https://b.example.com"} {
				req := e.request("GET", to, nil)
				e.do(req.WithContext(context.WithValue(req.Context(), key{}, []string{"", "", "fail", "refuse"}[i])))
			}
		}},
		{says: "a proxy that refuses, is not there or is no proxy gives the same error", over: https1, holds: func(e *env) {
			srv := e.serve(echo)
			proxy := e.proxy(false, hostPortOf(&srv))
			nowhere, _ := url.Parse("http://" + e.closedPort())
			for _, p := range []*url.URL{proxy, nowhere, {Scheme: "https", Host: proxy.Host}, {Scheme: "socks5", Host: nowhere.Host}, {Scheme: "ftp", Host: proxy.Host}, {Host: proxy.Host}} {
				e.base.Proxy = http.ProxyURL(p)
				for _, to := range []string{"https://forbidden.example/", "http://example.com"} {
					body := e.body(strings.NewReader("x"))
					resp, err := (&http.Client{Transport: e.rt()}).Post(to, "", body)
					e.noteResult(resp, err)
				}
				e.renew(e.base.Clone())
			}
		}},
		{says: "a SOCKS5 proxy is used, with and without a password", over: anyHTTP1 | http2, holds: func(e *env) {
			srv := e.serve(echo)
			scheme := "http"
			if e.proto != http1 {
				scheme = "https"
			}
			for _, kind := range []string{"socks5", "socks5h"} {
				for _, user := range []string{"", "me"} {
					u := &url.URL{Scheme: kind, Host: e.socks5(user, hostPortOf(&srv))}
					if user != "" {
						u.User = url.UserPassword(user, "pass")
					}
					e.base.Proxy = http.ProxyURL(u)
					e.get(scheme + "://example.com/")
					e.get(scheme + "://forbidden.example/")
					e.renew(e.base.Clone())
				}
			}
		}},
		{says: "a SOCKS5 proxy that refuses the password gives the same error", holds: func(e *env) {
			e.base.Proxy = http.ProxyURL(&url.URL{Scheme: "socks5", Host: e.socks5("me", nil), User: url.UserPassword("you", "pass")})
			e.get("http://example.com/")
		}},
		{says: "the Proxy function is asked about every request, with its own URL, and may answer differently", holds: func(e *env) {
			srv := e.serve(echo)
			proxy := e.proxy(false, nil)
			e.base.Proxy = func(r *http.Request) (*url.URL, error) {
				e.note("asked about %s %s %q", r.Method, r.URL, r.Header["X-Via"])
				switch r.Header.Get("X-Via") {
				case "proxy":
					return proxy, nil
				case "error":
					return nil, errors.New("the proxy cannot be told")
				}
				return nil, nil
			}
			for _, via := range []string{"proxy", "", "error", "proxy", ""} {
				req := e.request("POST", srv.URL+"/"+via, e.body(strings.NewReader("hello")))
				req.Header.Set("X-Via", via)
				e.do(req)
			}
			resp, err := e.client().Get(srv.URL)
			e.noteResult(resp, err)
		}},
		{says: "the Proxy function is asked after the request was checked", holds: func(e *env) {
			e.base.Proxy = func(r *http.Request) (*url.URL, error) { return nil, errors.New("the proxy cannot be told") }
			req := e.request("GET", "http://example.com", nil)
			req.Header["a b"] = []string{"x"}
			e.do(req)
		}},
	})
}

// closedPort returns an address at which nobody listens.
func (e *env) closedPort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(e, err)
	defer l.Close()
	return l.Addr().String()
}

// The environment's proxy is read once per process: the test runs in another.
func TestTheEnvironmentsProxyIsUsedAsByNetHTTP(t *testing.T) {
	if os.Getenv("IDLEWISE_TEST_PROXY") != "" {
		for _, rt := range []http.RoundTripper{http.DefaultTransport, DefaultTransport} {
			for _, to := range []string{"http://one.example/", "http://direct.example/", "http://ported.example:8080/", "http://ported.example/"} {
				resp, err := rt.RoundTrip(httptest.NewRequest("GET", to, nil))
				if err != nil {
					fmt.Printf("RESULT %s direct\n", to)
					continue
				}
				b, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				fmt.Printf("RESULT %s %s\n", to, b)
			}
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		DefaultTransport.CloseIdleConnections()
		return
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "by proxy ", r.RequestURI) }))
	defer proxy.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestTheEnvironmentsProxyIsUsedAsByNetHTTP$")
	cmd.Env = append(os.Environ(), "IDLEWISE_TEST_PROXY=1", "HTTP_PROXY="+proxy.URL, "NO_PROXY=direct.example,ported.example:8080")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	var results []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "RESULT ") {
			results = append(results, line)
		}
	}
	require.Len(t, results, 8, "%s", out)
	require.Equal(t, results[:4], results[4:])
	require.Contains(t, results[4], "by proxy")
	require.Contains(t, results[6], "direct", "NO_PROXY with a port")
}
