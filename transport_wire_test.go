package idlewise

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A writeRecorder is a connection that notes every Write as one line: what
// went out, and in how many pieces.
type writeRecorder struct {
	net.Conn
	mu     sync.Mutex
	writes []string
}

func (w *writeRecorder) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.writes = append(w.writes, string(p))
	w.mu.Unlock()
	return w.Conn.Write(p)
}

func (w *writeRecorder) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.writes
	w.writes = nil
	return taken
}

// onTheWire sends each request and notes its bytes, write by write. The clause
// is virtual: net/http does not use a connection again whose write is reported
// 50 ms late, which a busy machine brings about.
func (e *env) onTheWire(requests ...*http.Request) {
	serve := func(c net.Conn) {
		defer c.Close()
		br := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if req.Header.Get("Expect") != "" {
				io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}
	var conns []*writeRecorder
	var mu sync.Mutex
	e.base.DialContext = func(context.Context, string, string) (net.Conn, error) {
		c, server := net.Pipe()
		go serve(server)
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, &writeRecorder{Conn: c})
		return conns[len(conns)-1], nil
	}
	for _, req := range requests {
		resp, err := e.roundTrip(req)
		if err != nil {
			e.note("error %s", describe(err))
			continue
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		mu.Lock()
		for i, c := range conns {
			for _, w := range c.take() {
				e.note("connection %d: %d bytes %.1000q", i+1, len(w), w)
			}
		}
		mu.Unlock()
	}
}

func TestTheContractOfBytesOnTheWire(t *testing.T) {
	const at = "http://wire.example"
	with := func(e *env, method string, body io.Reader, change func(*http.Request)) *http.Request {
		req := e.request(method, at+"/p?q=1#f", body)
		if change != nil {
			change(req)
		}
		return req
	}
	clauses := []clause{
		{says: "header fields go out in the same order and form", holds: func(e *env) {
			e.onTheWire(with(e, "GET", nil, func(r *http.Request) {
				r.Header = http.Header{
					"Zulu": {"1", "2"}, "alpha-lower": {"x"}, "Accept": {"*/*"}, "X-Empty": {""}, "X-None": {},
					"Host": {"ignored.example"}, "Cookie": {"a=b", "c=d"}, "X-Space": {"  trimmed\t"},
				}
			}))
		}},
		{says: "the user agent is the default, the program's, or none", holds: func(e *env) {
			agent := func(v []string) func(*http.Request) {
				return func(r *http.Request) { r.Header["User-Agent"] = v }
			}
			e.onTheWire(with(e, "GET", nil, nil), with(e, "GET", nil, agent([]string{"mine/1"})), with(e, "GET", nil, agent([]string{""})), with(e, "GET", nil, agent(nil)))
		}},
		{says: "a body in memory goes out in one write with the header", holds: func(e *env) {
			e.onTheWire(
				with(e, "POST", strings.NewReader("hello"), nil),
				with(e, "POST", bytes.NewReader([]byte("hello")), nil),
				with(e, "POST", bytes.NewBufferString("hello"), nil),
				with(e, "PUT", strings.NewReader(strings.Repeat("x", 10_000)), nil),
			)
		}},
		{says: "an unknown body of known length goes out as with net/http", holds: func(e *env) {
			length := func(n int64) func(*http.Request) { return func(r *http.Request) { r.ContentLength = n } }
			e.onTheWire(
				with(e, "POST", e.body(strings.NewReader("hello")), length(5)),
				with(e, "POST", e.body(strings.NewReader("")), length(0)),
				with(e, "POST", io.NopCloser(e.body(strings.NewReader("hello"))), length(5)),
			)
			e.bodies[2].Close() // NopCloser does not
		}},
		{says: "a body of unknown length is chunked, unless it is empty", holds: func(e *env) {
			for _, method := range []string{"POST", "PUT", "PATCH", "GET", "DELETE", "PROPFIND"} {
				for _, length := range []int64{0, -1} {
					for _, content := range []string{"", "hello"} {
						e.note("%s %d %q", method, length, content)
						e.onTheWire(with(e, method, e.body(strings.NewReader(content)), func(r *http.Request) { r.ContentLength = length }))
						e.renew(&http.Transport{})
					}
				}
			}
		}},
		{says: "no body, http.NoBody and a nil body have the length net/http gives them", holds: func(e *env) {
			var requests []*http.Request
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"} {
				requests = append(requests, with(e, method, nil, nil), with(e, method, http.NoBody, nil),
					with(e, method, http.NoBody, func(r *http.Request) { r.ContentLength = -1 }))
			}
			e.onTheWire(requests...)
		}},
		{says: "Transfer-Encoding, TE and Trailer are sent", holds: func(e *env) {
			e.onTheWire(
				with(e, "POST", strings.NewReader("hello"), func(r *http.Request) { r.TransferEncoding = []string{"chunked"} }),
				with(e, "POST", strings.NewReader("hello"), func(r *http.Request) { r.TransferEncoding = []string{"identity"} }),
				with(e, "GET", nil, func(r *http.Request) { r.Header.Set("TE", "trailers") }),
				with(e, "GET", nil, func(r *http.Request) { r.Header.Set("Transfer-Encoding", "chunked") }),
				with(e, "POST", e.body(strings.NewReader("hello")), func(r *http.Request) {
					r.ContentLength, r.Trailer = -1, http.Header{"X-Sum": {"42"}, "A-Sum": {"1"}}
				}),
			)
		}},
		{says: "Connection, Close and DisableKeepAlives are sent alike", holds: func(e *env) {
			e.onTheWire(
				with(e, "GET", nil, func(r *http.Request) { r.Header.Set("Connection", "keep-alive") }),
				with(e, "GET", nil, func(r *http.Request) { r.Header.Set("Connection", "X-Hop") }),
				with(e, "GET", nil, func(r *http.Request) { r.Close = true }),
				with(e, "GET", nil, func(r *http.Request) { r.Header.Set("Connection", "close") }),
			)
			e.renew(&http.Transport{DisableKeepAlives: true})
			e.onTheWire(with(e, "GET", nil, nil), with(e, "GET", nil, func(r *http.Request) { r.Close = true }),
				with(e, "GET", nil, func(r *http.Request) {
					r.Header.Set("Connection", "upgrade")
					r.Header.Set("Upgrade", "x")
				}))
		}},
		{says: "Accept-Encoding is added just where net/http adds it", holds: func(e *env) {
			requests := func() []*http.Request {
				return []*http.Request{
					with(e, "GET", nil, nil), with(e, "HEAD", nil, nil), with(e, "POST", nil, nil),
					with(e, "GET", nil, func(r *http.Request) { r.Header.Set("Range", "bytes=0-1") }),
					with(e, "GET", nil, func(r *http.Request) { r.Header.Set("Accept-Encoding", "br") }),
					with(e, "GET", nil, func(r *http.Request) { r.Header["Accept-Encoding"] = []string{""} }),
				}
			}
			e.onTheWire(requests()...)
			e.renew(&http.Transport{DisableCompression: true})
			e.onTheWire(requests()...)
		}},
		{says: "Expect: 100-continue separates header and body", holds: func(e *env) {
			e.onTheWire(with(e, "POST", strings.NewReader("hello"), func(r *http.Request) { r.Header.Set("Expect", "100-continue") }))
		}},
		{says: "request targets and hosts are written alike", holds: func(e *env) {
			var requests []*http.Request
			for _, u := range []string{
				"http://wire.example:80/", "http://wire.example:8080", "http://[::1]:8080/", "http://[fe80::1%25eth0]/",
				"http://bücher.example/ü?ü=ü", "http://wire.example/a%2fb//c/../d", "http://wire.example/?", "http://user:pw@wire.example/", "http://wire.example:/",
			} {
				parsed, err := url.Parse(u)
				require.NoError(e, err)
				requests = append(requests, &http.Request{Method: "GET", URL: parsed, Header: http.Header{}})
			}
			e.onTheWire(requests...)
			// Connections are numbered: hosts that differ do not share them.
		}},
		{says: "write and read buffer sizes are respected", holds: func(e *env) {
			e.base.WriteBufferSize = 1000
			e.onTheWire(with(e, "PUT", strings.NewReader(strings.Repeat("x", 3000)), nil))
		}},
		{says: "a file goes out in the same pieces where the connection has no ReadFrom", holds: func(e *env) {
			name := filepath.Join(e.TempDir(), "f")
			require.NoError(e, os.WriteFile(name, bytes.Repeat([]byte("y"), 100_000), 0o600))
			f, err := os.Open(name)
			require.NoError(e, err)
			e.onTheWire(with(e, "PUT", f, func(r *http.Request) { r.ContentLength = 100_000 }))
		}},
	}
	for i := range clauses {
		clauses[i].virtual = true
	}
	runContract(t, clauses)
}

// A hookedConn has the ReadFrom that net/http looks for.
type hookedConn struct {
	*writeRecorder
	e *env
}

func (c hookedConn) ReadFrom(r io.Reader) (int64, error) {
	c.e.note("ReadFrom %T", r)
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

func TestTheContractOfSendfile(t *testing.T) {
	runContract(t, []clause{
		{says: "a *net.TCPConn is asked to send files and pipes itself", holds: func(e *env) {
			name := filepath.Join(e.TempDir(), "f")
			require.NoError(e, os.WriteFile(name, bytes.Repeat([]byte("y"), 8<<20), 0o600))
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, n)
			})
			f, err := os.Open(name)
			require.NoError(e, err)
			req := e.request("PUT", srv.URL, f)
			req.ContentLength = 8 << 20
			e.do(req)
		}},
		{says: "a program's connection is asked for its ReadFrom", holds: func(e *env) {
			srv := e.serve(echo)
			e.base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				var d net.Dialer
				c, err := d.DialContext(ctx, network, addr)
				return hookedConn{&writeRecorder{Conn: c}, e}, err
			}
			req := e.request("PUT", srv.URL, e.body(strings.NewReader(strings.Repeat("z", 100_000))))
			req.ContentLength = 100_000
			e.do(req)
		}},
	})
}
