package interop

import (
	"bufio"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

var quiet = log.New(io.Discard, "", 0)

// answers serves raw text to each request of a connection.
func (s *side) answers(text string) string {
	return "http://" + s.listen(func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, text)
		}
	}) + "/"
}

// answer makes a failure of a server that gives a malformed answer.
func answer(name, text string) failure {
	return failure{name: name, provoke: func(s *side) error { return s.fail(s.request("GET", s.answers(text), "")) }}
}

// mistake makes a failure of a request that is wrong in itself.
func mistake(name string, f func(*http.Request)) failure {
	return failure{name: name, over: []proto{http1, http2}, provoke: func(s *side) error {
		req := s.request("POST", s.start(nil).URL+"/", "body")
		f(req)
		return s.fail(req)
	}}
}

var failuresOfMessages = []failure{
	answer("malformed response", "no HTTP at all\r\n\r\n"),
	answer("malformed version", "HTTP/1.x 200 OK\r\n\r\n"),
	answer("malformed status", "HTTP/1.1 2xx OK\r\n\r\n"),
	answer("malformed header", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
	answer("bad Content-Length", "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n"),
	answer("two Content-Lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
	answer("unknown Transfer-Encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\n"),
	answer("malformed chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n"),
	answer("endless chunk line", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("0", 10000)),
	answer("no gzip where it says so", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"),
	answer("broken gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"),
	answer("malformed 1xx", "HTTP/1.1 103 Early\r\nno colon\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
	{name: "too many 1xx", provoke: func(s *side) error {
		s.base.MaxResponseHeaderBytes = 10_000
		return s.fail(s.request("GET", s.answers(strings.Repeat("HTTP/1.1 102 Processing\r\nX: "+strings.Repeat("x", 1000)+"\r\n\r\n", 100)), ""))
	}},
	{name: "too long a header", over: []proto{http1, http2}, provoke: func(s *side) error {
		s.base.MaxResponseHeaderBytes = 1000
		srv := s.start(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 5000))
		}))
		return s.fail(s.request("GET", srv.URL+"/", ""))
	}},

	mistake("invalid header name", func(r *http.Request) { r.Header["a b"] = []string{"c"} }),
	mistake("invalid header value", func(r *http.Request) { r.Header.Set("A", "b\nc") }),
	mistake("invalid trailer", func(r *http.Request) { r.Trailer = http.Header{"a b": {"c"}} }),
	mistake("invalid method", func(r *http.Request) { r.Method = "GE T" }),
	mistake("invalid host", func(r *http.Request) { r.Host = "a\x00" }).on(http2),
	mistake("no host", func(r *http.Request) { r.URL.Host = "" }),
	mistake("no URL", func(r *http.Request) { r.URL = nil }),
	mistake("unsupported protocol scheme", func(r *http.Request) { r.URL.Scheme = "gopher" }),
	mistake("no scheme", func(r *http.Request) { r.URL.Scheme = "" }),
	mistake("RequestURI is set", func(r *http.Request) { r.RequestURI = "/" }).by(byClient),
	mistake("the request's body fails", func(r *http.Request) { r.Body = io.NopCloser(iotest.ErrReader(errOwn)) }),
	mistake("the request's body is cut", func(r *http.Request) { r.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)) }),
	mistake("the request's body is too short", func(r *http.Request) { r.ContentLength = 5 }).on(http1), // over HTTP/2 it is the server that objects
	mistake("the request's body is too long", func(r *http.Request) { r.ContentLength = 3 }),
	mistake("GetBody fails on a redirect", func(r *http.Request) {
		r.URL.Path = "/307"
		r.GetBody = func() (io.ReadCloser, error) { return nil, errOwn }
	}).of(redirecting).by(byClient),
	mistake("too many redirects", func(r *http.Request) { r.URL.Path = "/loop" }).of(redirecting).by(byClient),
	mistake("a redirect to a malformed place", func(r *http.Request) { r.URL.Path = "/malformed" }).of(redirecting).by(byClient),
	mistake("a redirect to another scheme", func(r *http.Request) { r.URL.Path = "/gopher" }).of(redirecting).by(byClient),
	{name: "a redirect that the program forbids", only: byClient, provoke: func(s *side) error {
		c := s.client()
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return errOwn }
		_, err := c.Get(s.start(redirecting).URL + "/loop")
		return err
	}},
	{name: "the body is read after it was closed", over: []proto{http1, http2}, provoke: func(s *side) error {
		resp, err := s.send(s.request("GET", s.start(nil).URL+"/", ""))
		require.NoError(s, err)
		require.NoError(s, resp.Body.Close())
		_, err = resp.Body.Read(make([]byte, 1))
		return err
	}},
	{name: "the body is larger than the program allows", over: []proto{http1, http2}, provoke: func(s *side) error {
		resp, err := s.send(s.request("GET", s.start(nil).URL+"/", ""))
		require.NoError(s, err)
		defer resp.Body.Close()
		_, err = io.ReadAll(http.MaxBytesReader(nil, resp.Body, 3))
		return err
	}},
}

// by makes it a failure of one way alone.
func (f failure) by(w way) failure {
	f.only = w
	return f
}

// on makes it a failure of the given protocols alone.
func (f failure) on(over ...proto) failure {
	f.over = over
	return f
}

// of makes the failure happen at a server with handler h.
func (f failure) of(h http.Handler) failure {
	provoke := f.provoke
	f.provoke = func(s *side) error {
		s.handler = h
		return provoke(s)
	}
	return f
}

var redirecting = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/loop":
		http.Redirect(w, r, "/loop", http.StatusFound)
	case "/307":
		http.Redirect(w, r, "/loop", http.StatusTemporaryRedirect)
	case "/malformed":
		w.Header().Set("Location", "http://[::1")
		w.WriteHeader(http.StatusFound)
	case "/gopher":
		w.Header().Set("Location", "gopher://example.com/")
		w.WriteHeader(http.StatusFound)
	}
})
