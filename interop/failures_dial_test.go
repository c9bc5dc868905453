package interop

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

// resolving makes the base resolve names with a server whose every answer has
// the given code (RFC 1035 §4.1.1), or that never answers if it is negative.
func (s *side) resolving(code int) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(s, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if code >= 0 && n > 12 {
				buf[2] |= 0x80 // an answer
				buf[3] = 0x80 | byte(code)
				pc.WriteTo(buf[:n], from)
			}
		}
	}()
	var mu sync.Mutex
	var over bool
	var asked []net.Conn
	s.Cleanup(func() {
		// A lookup goes on after its context has ended, and asks again.
		mu.Lock()
		defer mu.Unlock()
		over = true
		for _, c := range asked {
			c.Close()
		}
		pc.Close()
		<-done
	})
	d := net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return nil, net.ErrClosed
		}
		var d net.Dialer
		c, err := d.DialContext(ctx, "udp", pc.LocalAddr().String())
		if err == nil {
			asked = append(asked, c)
		}
		return c, err
	}}}
	s.base.DialContext = d.DialContext
}

// inventedServer stands for the resolver that /etc/resolv.conf names.
var inventedServer = map[string]string{theText: "the text holds the resolver's address and the local port"}

var failuresOfDials = []failure{
	{name: "dial refused, GET", provoke: func(s *side) error {
		return s.fail(s.request("GET", "http://"+s.closedPort()+"/", ""))
	}},
	{name: "dial refused, POST", over: anyHTTP1, provoke: func(s *side) error {
		scheme := map[proto]string{http1: "http://", https: "https://"}[s.proto]
		return s.fail(s.request("POST", scheme+s.closedPort()+"/", "body"))
	}},
	{name: "name not found", provoke: func(s *side) error {
		s.resolving(3)
		return s.fail(s.request("GET", "http://no.such.host.example./", ""))
	}},
	{name: "the name server fails", provoke: func(s *side) error {
		s.resolving(2)
		return s.fail(s.request("POST", "http://no.such.host.example./", "body"))
	}, varies: inventedServer},
	{name: "the name server is silent", provoke: func(s *side) error {
		s.resolving(-1)
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		return s.fail(s.request("GET", "http://no.such.host.example./", "").WithContext(ctx))
	}, varies: inventedServer},
	{name: "dial timeout", provoke: func(s *side) error {
		d := net.Dialer{Timeout: 1} // ns
		s.base.DialContext = d.DialContext
		return s.fail(s.request("GET", "http://127.0.0.1:9/", ""))
	}},
	{name: "the dialer's own error", provoke: func(s *side) error {
		s.dialing(func(context.Context, int, string) (net.Conn, error) { return nil, errOwn })
		return s.fail(s.request("POST", "http://example.com/", "body"))
	}},
	{name: "the dialer gives io.EOF", provoke: func(s *side) error {
		s.dialing(func(context.Context, int, string) (net.Conn, error) { return nil, io.EOF })
		return s.fail(s.request("GET", "http://example.com/", ""))
	}},

	{name: "the proxy refuses the dial", provoke: func(s *side) error {
		s.base.Proxy = http.ProxyURL(mustParse(s, "http://"+s.closedPort()))
		return s.fail(s.request("GET", "http://example.com/", ""))
	}},
	{name: "the proxy refuses the dial for a tunnel", provoke: func(s *side) error {
		s.base.Proxy = http.ProxyURL(mustParse(s, "http://"+s.closedPort()))
		return s.fail(s.request("GET", "https://example.com/", ""))
	}},
	{name: "the proxy refuses the tunnel", provoke: func(s *side) error {
		s.base.Proxy = http.ProxyURL(mustParse(s, s.answering(http.StatusProxyAuthRequired)))
		return s.fail(s.request("POST", "https://example.com/", "body"))
	}},
	{name: "the proxy hangs up on the tunnel", provoke: func(s *side) error {
		addr := s.listen(func(c net.Conn) { http.ReadRequest(bufio.NewReader(c)) })
		s.base.Proxy = http.ProxyURL(mustParse(s, "http://"+addr))
		return s.fail(s.request("GET", "https://example.com/", ""))
	}},
	{name: "the SOCKS5 proxy is none", provoke: func(s *side) error {
		s.base.Proxy = http.ProxyURL(mustParse(s, "socks5://"+s.listen(func(c net.Conn) {
			io.ReadFull(c, make([]byte, 3))
			io.WriteString(c, "\x04\x00")
		})))
		return s.fail(s.request("GET", "http://example.com/", ""))
	}},
	{name: "the proxy function's own error", provoke: func(s *side) error {
		s.base.Proxy = func(*http.Request) (*url.URL, error) { return nil, errOwn }
		return s.fail(s.request("GET", "http://example.com/", ""))
	}},
}

// answering starts a server that gives every request the same answer.
func (s *side) answering(code int) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
	s.Cleanup(srv.Close)
	return srv.URL
}

var failuresOfTLS = []failure{
	{name: "unknown authority", over: []proto{https, http2}, provoke: func(s *side) error {
		srv := s.start(nil)
		s.base.TLSClientConfig = nil
		return s.fail(s.request("POST", srv.URL+"/", "body"))
	}},
	{name: "wrong name", over: []proto{https, http2}, provoke: func(s *side) error {
		srv := s.start(nil)
		s.base.TLSClientConfig.ServerName = "example.com"
		return s.fail(s.request("GET", srv.URL+"/", ""))
	}},
	{name: "expired", over: []proto{https}, provoke: func(s *side) error {
		srv := s.start(nil)
		s.base.TLSClientConfig.Time = func() time.Time { return time.Now().AddDate(200, 0, 0) }
		return s.fail(s.request("GET", srv.URL+"/", ""))
	}},
	{name: "the program's own verification fails", over: []proto{https, http2}, provoke: func(s *side) error {
		srv := s.start(nil)
		s.base.TLSClientConfig.VerifyConnection = func(tls.ConnectionState) error { return errOwn }
		return s.fail(s.request("GET", srv.URL+"/", ""))
	}},
	{name: "no common TLS version", over: []proto{https}, provoke: func(s *side) error {
		srv := s.start(nil)
		s.base.TLSClientConfig.MaxVersion = tls.VersionTLS10
		s.base.TLSClientConfig.MinVersion = tls.VersionTLS10
		return s.fail(s.request("GET", srv.URL+"/", ""))
	}},
	{name: "TLS handshake timeout", provoke: func(s *side) error {
		s.base.TLSHandshakeTimeout = 50 * time.Millisecond
		return s.fail(s.request("GET", "https://"+s.listen(swallow)+"/", ""))
	}},
	{name: "closed in the TLS handshake", provoke: func(s *side) error {
		return s.fail(s.request("POST", "https://"+s.listen(func(c net.Conn) { c.Read(make([]byte, 4096)) })+"/", "body"))
	}},
	{name: "HTTPS asked of an HTTP server", provoke: func(s *side) error {
		return s.fail(s.request("GET", "https"+s.start(nil).URL[len("http"):]+"/", ""))
	}},
	{name: "HTTPS asked of something else", provoke: func(s *side) error {
		return s.fail(s.request("GET", "https://"+s.listen(func(c net.Conn) {
			io.WriteString(c, "220 ready for mail\r\n")
			swallow(c)
		})+"/", ""))
	}},
}

// swallow reads until the other end closes.
func swallow(c net.Conn) { io.Copy(io.Discard, c) }
