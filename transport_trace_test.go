package idlewise

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A traceLog notes the events of httptrace. Those that net/http reports from
// a goroutine of its own, in no certain order, are noted aside.
type traceLog struct {
	e      *env
	mu     sync.Mutex
	events []string
	aside  []string
	wrote  chan struct{} // closed at WroteRequest
}

func (l *traceLog) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, fmt.Sprintf(format, args...))
}

// answered notes an event of the response, which in HTTP/2 may overtake the
// events of the request's writing.
func (l *traceLog) answered(format string, args ...any) {
	if l.e.proto&anyHTTP2 == 0 {
		l.add(format, args...)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aside = append(l.aside, fmt.Sprintf(format, args...))
}

func (l *traceLog) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(hostPort string) { l.add("GetConn %s", hostPort) },
		GotConn: func(info httptrace.GotConnInfo) {
			l.add("GotConn %s reused %v, was idle %v, for a time %v", kindOf(info.Conn), info.Reused, info.WasIdle, info.IdleTime > 0)
		},
		PutIdleConn:          func(err error) { l.add("PutIdleConn %v", err) },
		GotFirstResponseByte: func() { l.answered("GotFirstResponseByte") },
		Got100Continue:       func() { l.add("Got100Continue") },
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			l.answered("Got1xxResponse %d", code)
			return nil
		},
		DNSStart:          func(i httptrace.DNSStartInfo) { l.add("DNSStart %s", i.Host) },
		DNSDone:           func(i httptrace.DNSDoneInfo) { l.add("DNSDone %v %v", len(i.Addrs) > 0, i.Err) },
		ConnectStart:      func(network, addr string) { l.add("ConnectStart %s %s", network, addr) },
		ConnectDone:       func(network, addr string, err error) { l.add("ConnectDone %s %s %v", network, addr, err) },
		TLSHandshakeStart: func() { l.add("TLSHandshakeStart") },
		TLSHandshakeDone:  func(s tls.ConnectionState, err error) { l.add("TLSHandshakeDone %q %v", s.NegotiatedProtocol, err) },
		WroteHeaderField:  func(k string, v []string) { l.add("WroteHeaderField %s %q", k, v) },
		WroteHeaders:      func() { l.add("WroteHeaders") },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			l.mu.Lock()
			l.aside = append(l.aside, fmt.Sprintf("WroteRequest %v", info.Err))
			l.mu.Unlock()
			close(l.wrote)
		},
	}
}

// kindOf names the connection that GotConn shows; docs/compatibility.md lists
// that over TLS it is the one below.
func kindOf(c net.Conn) string {
	switch c.(type) {
	case *net.TCPConn, *tls.Conn:
		return "a connection"
	}
	return fmt.Sprintf("%T", c)
}

// traced sends req and notes its events, and what came of it.
func (e *env) traced(req *http.Request) {
	l := &traceLog{e: e, wrote: make(chan struct{})}
	resp, err := e.roundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), l.trace())))
	got := err == nil
	e.noteResult(resp, err)
	if got {
		e.await(l.wrote, "WroteRequest")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.aside)
	last := ""
	for _, event := range append(l.events, l.aside...) {
		if e.proto&anyHTTP2 != 0 && event == last && strings.HasPrefix(event, "GetConn") {
			continue // docs/compatibility.md: net/http may ask twice, for the connection and for the stream
		}
		e.note("%s", event)
		last = event
	}
}

func TestTheContractOfTraces(t *testing.T) {
	runContract(t, []clause{
		{says: "the events of new and reused connections are the same", over: anyProto, holds: func(e *env) {
			srv := e.serve(echo)
			for range 2 {
				e.traced(e.request("GET", srv.URL, nil))
				e.traced(e.request("POST", srv.URL, strings.NewReader("hello")))
				e.traced(e.bodied(srv.URL))
				e.traced(e.request("HEAD", srv.URL, nil))
			}
		}},
		{says: "the name's look-up is an event, too", over: anyHTTP1, holds: func(e *env) {
			srv := e.serve(echo)
			_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
			e.base.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp4", addr)
			}
			if e.proto == https1 {
				e.base.TLSClientConfig.ServerName = "example.com"
			}
			scheme, _, _ := strings.Cut(srv.URL, ":")
			e.traced(e.request("GET", scheme+"://localhost:"+port, nil))
		}},
		{says: "the events of informational responses are the same", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusEarlyHints)
				io.WriteString(w, "hello")
			})
			e.traced(e.request("GET", srv.URL, nil))
		}},
		{says: "the events of a connection that is not kept are the same", over: anyHTTP1, holds: func(e *env) {
			srv := e.serve(echo)
			req := e.request("GET", srv.URL, nil)
			req.Close = true
			e.traced(req)
			e.renew(func() *http.Transport { b := e.base.Clone(); b.DisableKeepAlives = true; return b }())
			e.traced(e.request("GET", srv.URL, nil))
		}},
		{says: "the events of a failed dial are the same", holds: func(e *env) {
			e.traced(e.bodied("http://" + e.closedPort()))
			e.base.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no way") }
			e.renew(e.base.Clone())
			e.traced(e.bodied("http://example.com"))
		}},
		{says: "the events of a failed handshake are the same", over: https1 | http2, holds: func(e *env) {
			srv := e.serve(echo)
			e.base.TLSClientConfig = nil
			e.traced(e.bodied(srv.URL))
		}},
		{says: "the events of a proxied request are the same", over: anyHTTP1, holds: func(e *env) {
			srv := e.serve(echo)
			e.base.Proxy = http.ProxyURL(e.proxy(false, hostPortOf(&srv)))
			scheme, _, _ := strings.Cut(srv.URL, ":")
			for range 2 {
				e.traced(e.request("GET", scheme+"://example.com/", nil))
			}
		}},
		{says: "the events of a connection that fails are the same", holds: func(e *env) {
			addr := e.listen(func(c net.Conn, _ int) { http.ReadRequest(bufio.NewReader(c)) })
			e.traced(e.request("POST", "http://"+addr, nil))
		}},
		{says: "the program's own context values reach the dialer, and no deadline", over: anyProto, holds: func(e *env) {
			srv := e.serve(echo)
			type key struct{}
			e.base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				_, limited := ctx.Deadline()
				e.note("value %v, deadline %v, %s %s", ctx.Value(key{}), limited, network, addr)
				var d net.Dialer
				return d.DialContext(ctx, network, addr)
			}
			e.base.ForceAttemptHTTP2 = e.proto == http2
			ctx, cancel := context.WithTimeout(context.WithValue(e.Context(), key{}, "mine"), 1e12)
			defer cancel()
			e.do(e.request("GET", srv.URL, nil).WithContext(ctx))
		}},
		{says: "over TLS GotConn shows the connection below it", over: https1 | http2, differs: "http.ClientConn does not give its *tls.Conn", holds: func(e *env) {
			srv := e.serve(echo)
			var conn net.Conn
			req := e.request("GET", srv.URL, nil)
			e.do(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { conn = i.Conn }})))
			if e.ours {
				require.IsType(e, &net.TCPConn{}, conn)
			} else {
				require.IsType(e, &tls.Conn{}, conn)
			}
		}},
	})
}
