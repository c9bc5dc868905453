package idlewise

//lint:file-ignore SA1019 what programs still set and do must work

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A bareConn has only what net.Conn demands.
type bareConn struct{ net.Conn }

// A pipeListener accepts what dial makes.
type pipeListener struct {
	conns chan net.Conn
	done  <-chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func TestTheContractOfDialers(t *testing.T) {
	runContract(t, []clause{
		{says: "a refused connection is the same error", holds: func(e *env) {
			for _, scheme := range []string{"http", "https"} {
				e.do(e.bodied(scheme + "://" + e.closedPort()))
				resp, err := e.client().Get(scheme + "://" + e.closedPort())
				e.noteResult(resp, err)
			}
		}},
		{says: "a name that does not exist is the same error", holds: func(e *env) {
			d := &net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("no name server")
			}}}
			e.base.DialContext = d.DialContext
			resp, err := e.roundTrip(e.bodied("http://no.such.example./"))
			require.Nil(e, resp)
			text := describe(err)
			_, is, _ := strings.Cut(text, "is ")
			e.note("%v %s", strings.Contains(text, "no name server"), is) // which server was asked varies
		}},
		{says: "Dial is used", over: anyProto, holds: func(e *env) {
			srv := e.serve(echo)
			e.base.Dial = func(network, addr string) (net.Conn, error) {
				e.note("dial %s %s", network, addr)
				return net.Dial(network, srv.Listener.Addr().String())
			}
			for range 2 {
				e.get(strings.Replace(srv.URL, "127.0.0.1", "example.com", 1))
			}
		}},
		{says: "DialContext wins over Dial", holds: func(e *env) {
			srv := e.serve(echo)
			e.base.Dial = func(network, addr string) (net.Conn, error) { return nil, errors.New("not this") }
			e.base.DialContext = (&net.Dialer{}).DialContext
			e.get(srv.URL)
		}},
		{says: "a custom dialer switches HTTP/2 off unless it is forced", over: http2, holds: func(e *env) {
			srv := e.serve(echo)
			e.base.ForceAttemptHTTP2 = false
			e.base.DialContext = (&net.Dialer{}).DialContext
			e.get(srv.URL)
			b := e.base.Clone()
			b.ForceAttemptHTTP2 = true
			e.renew(b)
			e.get(srv.URL)
			b = &http.Transport{TLSClientConfig: e.base.TLSClientConfig.Clone(), ForceAttemptHTTP2: true}
			b.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
			b.TLSClientConfig.NextProtos = nil
			e.renew(b)
			e.get(srv.URL)
			p := new(http.Protocols)
			p.SetHTTP1(true)
			b = &http.Transport{TLSClientConfig: e.base.TLSClientConfig.Clone(), Protocols: p}
			e.renew(b)
			e.get(srv.URL)
		}},
		{says: "DialTLSContext and DialTLS are used, with or without a *tls.Conn", over: https1 | http2, holds: func(e *env) {
			srv := e.serve(echo)
			protos := []string{"http/1.1"}
			if e.proto == http2 {
				protos = []string{"h2", "http/1.1"}
			}
			dial := func(network, addr string) (net.Conn, error) {
				return tls.Dial(network, addr, &tls.Config{RootCAs: e.base.TLSClientConfig.RootCAs, NextProtos: protos})
			}
			for _, set := range []func(*http.Transport){
				func(b *http.Transport) { b.DialTLS = dial },
				func(b *http.Transport) {
					b.DialTLSContext = func(_ context.Context, network, addr string) (net.Conn, error) { return dial(network, addr) }
				},
				func(b *http.Transport) {
					protos = []string{"http/1.1"}
					b.DialTLSContext = func(_ context.Context, network, addr string) (net.Conn, error) {
						c, err := dial(network, addr)
						return bareConn{c}, err
					}
				},
				func(b *http.Transport) {
					b.DialTLS = func(network, addr string) (net.Conn, error) { return nil, errors.New("no TLS here") }
				},
			} {
				b := e.base.Clone()
				b.DialTLS, b.DialTLSContext = nil, nil
				set(b)
				e.renew(b)
				e.get(srv.URL)
				e.do(e.bodied(srv.URL))
			}
		}},
		{says: "a dialer that returns nothing is the same error", holds: func(e *env) {
			e.base.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, nil }
			e.base.DialTLSContext = e.base.DialContext
			e.do(e.bodied("http://example.com"))
			e.do(e.bodied("https://example.com"))
		}},
		{says: "connections of any kind work: bare ones, pipes and Unix sockets", holds: func(e *env) {
			big := strings.Repeat("x", 1<<20)
			try := func() {
				for range 2 {
					e.get("http://example.com")
					e.do(e.request("POST", "http://example.com", e.body(strings.NewReader(big))))
				}
			}
			srv := e.serve(echo)
			e.base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				c, err := net.Dial(network, srv.Listener.Addr().String())
				return bareConn{c}, err
			}
			try()

			pipes := &pipeListener{make(chan net.Conn), e.Context().Done()}
			piped := &http.Server{Handler: http.HandlerFunc(echo)}
			go piped.Serve(pipes)
			e.Cleanup(func() { piped.Close() })
			e.renew(&http.Transport{DialContext: pipes.dial})
			try()

			name := filepath.Join(e.TempDir(), "s.sock")
			l, err := net.Listen("unix", name)
			require.NoError(e, err)
			unixed := &http.Server{Handler: http.HandlerFunc(echo)}
			go unixed.Serve(l)
			e.Cleanup(func() { unixed.Close() })
			e.renew(&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", name) }})
			try()
		}},
		{says: "CloseWrite of an upgraded connection is there where the dialer's has it", holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				c, buf, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				defer c.Close()
				io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
				b, _ := io.ReadAll(buf)
				fmt.Fprintf(c, "got %d", len(b))
			})
			for _, bare := range []bool{true, false} {
				e.renew(&http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := net.Dial(network, addr)
					if bare {
						return bareConn{c}, err
					}
					return c, err
				}})
				req := e.request("GET", srv.URL, nil)
				req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"x"}}
				resp, err := e.roundTrip(req)
				require.NoError(e, err)
				conn := resp.Body.(io.ReadWriteCloser)
				io.WriteString(conn, "hello")
				err = conn.(interface{ CloseWrite() error }).CloseWrite()
				e.note("%v, not supported %v", err, errors.Is(err, http.ErrNotSupported))
				if err == nil {
					b, err := io.ReadAll(conn)
					e.note("%s %v", b, err)
				}
				conn.Close()
			}
		}},
		{says: "a dialer that cancels the request and fails gives the cancellation", holds: func(e *env) {
			for range 20 {
				ctx, cancel := context.WithCancel(e.Context())
				e.renew(&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
					cancel()
					return nil, errors.New("no way")
				}})
				e.do(e.bodied("http://example.com").WithContext(ctx))
			}
		}},
		{says: "the dialer's context does not end with the dial", over: anyProto, holds: func(e *env) {
			srv := e.serve(echo)
			var dialed context.Context
			e.base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialed = ctx
				var d net.Dialer
				return d.DialContext(ctx, network, addr)
			}
			e.get(srv.URL)
			e.note("%v", dialed.Err())
		}},
		{says: "a connection whose life is tied to the dialer's context lives on", holds: func(e *env) {
			srv := e.serve(echo)
			dials := 0
			e.base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				dials++
				var d net.Dialer
				c, err := d.DialContext(ctx, network, addr)
				context.AfterFunc(ctx, func() { c.Close() }) // as an exec.CommandContext does
				return c, err
			}
			for range 3 {
				e.get(srv.URL)
			}
			e.note("%d dials", dials)
		}},
		{says: "spellings of a host share their connections", differs: "net/http keeps a pool for each spelling", holds: func(e *env) {
			srv := e.serve(echo)
			var asked []string
			e.base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				asked = append(asked, addr)
				return net.Dial(network, srv.Listener.Addr().String())
			}
			e.get("http://EXAMPLE.com/")
			e.get("http://example.com/")
			if e.ours {
				require.Equal(e, []string{"EXAMPLE.com:80"}, asked)
			} else {
				require.Equal(e, []string{"EXAMPLE.com:80", "example.com:80"}, asked)
			}
		}},
	})
}
