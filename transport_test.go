package idlewise

//lint:file-ignore SA1019 what programs still set and do must work

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The contract: whoever swaps http.Transport for a Transport sees no
// difference. Each clause runs against both, over real sockets, and writes down
// what it observes; the two transcripts must be equal. The differences there
// must be are listed in docs/compatibility.md.

// A proto is a way to speak HTTP.
type proto uint8

const (
	http1  proto = 1 << iota // in the clear
	https1                   // HTTP/1.1 over TLS
	http2                    // over TLS
	h2c                      // HTTP/2 in the clear, with prior knowledge

	anyHTTP1 = http1 | https1
	anyHTTP2 = http2 | h2c
	anyProto = anyHTTP1 | anyHTTP2
)

var protoNames = map[proto]string{http1: "HTTP/1", https1: "HTTP/1 over TLS", http2: "HTTP/2", h2c: "h2c"}

// A clause is one sentence of the contract.
type clause struct {
	says  string
	over  proto // zero: http1
	holds func(e *env)

	// differs says why the transcripts are not compared, for a difference that
	// docs/compatibility.md lists. The clause asserts it itself.
	differs string

	// broken names a defect that was reported and not yet repaired. The
	// clause is skipped unless IDLEWISE_BROKEN is set.
	broken string

	// virtual clauses run in a testing/synctest bubble, and must not use sockets.
	virtual bool
}

// runContract runs every clause against both transports.
func runContract(t *testing.T, clauses []clause) {
	for _, c := range clauses {
		t.Run(c.says, func(t *testing.T) {
			if c.broken != "" && os.Getenv("IDLEWISE_BROKEN") == "" {
				t.Skip("a known defect: " + c.broken)
			}
			over := c.over
			if over == 0 {
				over = http1
			}
			for p := http1; p <= h2c; p <<= 1 {
				if over&p != 0 {
					t.Run(protoNames[p], func(t *testing.T) { c.compare(t, p) })
				}
			}
		})
	}
}

func (c clause) compare(t *testing.T, p proto) {
	t.Parallel()
	theirs := c.transcript(t, "net/http", p)
	ours := c.transcript(t, "idlewise", p)
	require.NotEmpty(t, theirs, "nothing was observed")
	if c.differs == "" {
		require.Equal(t, strings.Join(theirs, "\n"), strings.Join(ours, "\n"), "expected: net/http; actual: idlewise")
	}
}

func (c clause) transcript(t *testing.T, name string, p proto) []string {
	e := &env{proto: p, ours: name == "idlewise", base: &http.Transport{}}
	t.Run(name, func(t *testing.T) {
		run := func(t *testing.T) {
			e.T = t
			t.Cleanup(e.checkBodies)
			t.Cleanup(e.closeTransport)
			c.holds(e)
		}
		if c.virtual {
			synctest.Test(t, run)
		} else {
			run(t)
		}
	})
	return e.lines
}

// An env is what a clause runs in.
type env struct {
	*testing.T
	proto proto
	ours  bool
	base  *http.Transport // may be changed until the first request
	made  http.RoundTripper

	mu     sync.Mutex
	lines  []string
	bodies []*closingBody
}

// note writes a line into the transcript. Addresses are made equal.
func (e *env) note(format string, args ...any) {
	line := address.ReplaceAllString(fmt.Sprintf(format, args...), "HOST")
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, line)
}

var address = regexp.MustCompile(`(127\.0\.0\.1|\[::1\]|localhost|/tmp/\S+\.sock)(:\d+)?|(:\d{5}\b)`)

// rt returns the transport under test, made from e.base.
func (e *env) rt() http.RoundTripper {
	if e.made != nil {
		return e.made
	}
	e.made = e.base
	if e.ours {
		tr, err := New(Config{Base: e.base})
		require.NoError(e, err)
		e.made = tr
	}
	return e.made
}

func (e *env) client() *http.Client { return &http.Client{Transport: e.rt()} }

func (e *env) closeTransport() {
	if tr, ok := e.made.(*Transport); ok {
		tr.Close()
	}
	e.base.CloseIdleConnections()
}

// renew puts a transport with base in place of the one there is.
func (e *env) renew(base *http.Transport) {
	e.closeTransport()
	e.made, e.base = nil, base
}

// serve starts a server that speaks the env's protocol and makes the base
// speak it.
func (e *env) serve(h http.HandlerFunc) *httptest.Server {
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = quiet
	switch e.proto {
	case http1:
		srv.Start()
	case h2c:
		only := new(http.Protocols)
		only.SetUnencryptedHTTP2(true)
		srv.Config.Protocols = only
		e.base.Protocols = only
		srv.Start()
	default:
		srv.EnableHTTP2 = e.proto == http2
		srv.StartTLS()
		e.trust(srv)
		e.base.ForceAttemptHTTP2 = e.proto == http2
	}
	e.Cleanup(srv.Close)
	e.Cleanup(srv.CloseClientConnections)
	return srv
}

var quiet = log.New(io.Discard, "", 0)

func (e *env) trust(srv *httptest.Server) {
	if e.base.TLSClientConfig == nil {
		e.base.TLSClientConfig = &tls.Config{}
	}
	if e.base.TLSClientConfig.RootCAs == nil {
		e.base.TLSClientConfig.RootCAs = x509.NewCertPool()
	}
	e.base.TLSClientConfig.RootCAs.AddCert(srv.Certificate())
}

// listen serves raw connections, numbered from 1, and returns the address.
func (e *env) listen(serve func(c net.Conn, number int)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(e, err)
	e.serveOn(l, serve)
	return l.Addr().String()
}

func (e *env) serveOn(l net.Listener, serve func(c net.Conn, number int)) {
	var mu sync.Mutex
	var conns []net.Conn
	var closed bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for number := 1; ; number++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			if closed {
				c.Close() // it was accepted a moment before the listener was closed
			}
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(c, number)
			})
		}
	})
	e.Cleanup(func() {
		l.Close()
		mu.Lock()
		closed = true
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

func (e *env) request(method, url string, body io.Reader) *http.Request {
	req, err := http.NewRequest(method, url, body)
	require.NoError(e, err)
	return req
}

// roundTrip sends req on the transport and sees that it is not modified.
func (e *env) roundTrip(req *http.Request) (*http.Response, error) {
	before := picture(req)
	resp, err := e.rt().RoundTrip(req)
	require.Equal(e, before, picture(req), "the request was modified")
	if err == nil && e.ours { // net/http gives a copy on reused HTTP/2 connections
		require.Same(e, req, resp.Request, "Response.Request")
	}
	return resp, err
}

// do sends req and notes all there is to see of the response, or the error.
func (e *env) do(req *http.Request) {
	resp, err := e.roundTrip(req)
	e.noteResult(resp, err)
	if !e.ours && resp != nil && resp.ProtoMajor == 2 {
		// net/http hands a new HTTP/2 connection to its request before it enters it
		// in its pool (Transport.dialConnFor): the next request may come in between,
		// and dial again.
		eventually(e.T, func() bool { return !running("Transport).dialConnFor") }, "a dial has not ended")
	}
}

func (e *env) get(url string) { e.do(e.request("GET", url, nil)) }

func (e *env) noteResult(resp *http.Response, err error) {
	if err != nil {
		e.note("error %s", describe(err))
		return
	}
	e.noteHead(resp)
	body, err := io.ReadAll(resp.Body)
	e.note("body %d %.200q", len(body), body)
	if err != nil {
		e.note("body error %s", describe(err))
	}
	e.note("close %v, trailer %v", resp.Body.Close(), resp.Trailer)
}

func (e *env) noteHead(resp *http.Response) {
	e.note("%s %s, length %d %q, close %v, uncompressed %v, TLS %v", resp.Proto, resp.Status, resp.ContentLength, resp.TransferEncoding, resp.Close, resp.Uncompressed, resp.TLS != nil)
	for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
		if name != "Date" {
			e.note("  %s: %q", name, resp.Header[name])
		}
	}
}

// A closingBody is a request body of a type that net/http does not know. It
// must be closed exactly once.
type closingBody struct {
	io.Reader
	what   string
	closed chan struct{} // at the first Close
	times  atomic.Int64
	onEnd  func() // called by the first Close
}

func (b *closingBody) Close() error {
	if b.times.Add(1) == 1 {
		close(b.closed)
		if b.onEnd != nil {
			b.onEnd()
		}
	}
	return nil
}

// body wraps r, and sees to it that in the end it was closed exactly once.
func (e *env) body(r io.Reader) *closingBody {
	b := &closingBody{Reader: r, closed: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	b.what = fmt.Sprintf("body %d", len(e.bodies)+1)
	e.bodies = append(e.bodies, b)
	return b
}

func (e *env) checkBodies() {
	for _, b := range e.bodies {
		e.await(b.closed, b.what+" to be closed")
	}
	for _, b := range e.bodies {
		require.EqualValues(e, 1, b.times.Load(), "how often %s was closed", b.what)
	}
}

// await waits for what another goroutine is bound to do.
func (e *env) await(ch <-chan struct{}, what string) {
	e.Helper()
	select {
	case <-ch:
	case <-time.After(20 * time.Second):
		require.Fail(e, "waited in vain for "+what)
	}
}

// picture copies everything of a request that could be modified.
func picture(r *http.Request) map[string]any {
	p := map[string]any{"context": fmt.Sprintf("%p", r.Context())}
	v := reflect.ValueOf(*r)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		switch x := v.Field(i).Interface().(type) {
		case http.Header:
			p[f.Name] = x.Clone()
		case *url.URL:
			u := *x
			p[f.Name] = u
		case func() (io.ReadCloser, error):
			p[f.Name] = x != nil
		case io.ReadCloser:
			p[f.Name] = fmt.Sprintf("%T", x)
		case <-chan struct{}:
			p[f.Name] = x != nil
		case *http.Response, *tls.ConnectionState:
		default:
			p[f.Name] = x
		}
	}
	return p
}

// describe gives an error's text and all by which a program may tell it apart.
func describe(err error) string {
	is := []string{}
	for name, target := range map[string]error{
		"EOF": io.EOF, "ErrUnexpectedEOF": io.ErrUnexpectedEOF, "ErrClosedPipe": io.ErrClosedPipe,
		"Canceled": context.Canceled, "DeadlineExceeded": context.DeadlineExceeded, "os.ErrDeadlineExceeded": os.ErrDeadlineExceeded,
		"net.ErrClosed": net.ErrClosed, "ECONNREFUSED": syscall.ECONNREFUSED, "ECONNRESET": syscall.ECONNRESET, "EPIPE": syscall.EPIPE,
		"ErrSchemeMismatch": http.ErrSchemeMismatch, "ErrBodyReadAfterClose": http.ErrBodyReadAfterClose, "ErrLineTooLong": http.ErrLineTooLong,
	} {
		if errors.Is(err, target) {
			is = append(is, name)
		}
	}
	as := func(name string, target any) {
		if errors.As(err, target) {
			is = append(is, name)
		}
	}
	as("*url.Error", new(*url.Error))
	as("*net.OpError", new(*net.OpError))
	as("*net.DNSError", new(*net.DNSError))
	as("UnknownAuthorityError", new(x509.UnknownAuthorityError))
	as("HostnameError", new(x509.HostnameError))
	as("RecordHeaderError", new(tls.RecordHeaderError))
	as("AlertError", new(tls.AlertError))
	as("*ProtocolError", new(*http.ProtocolError))
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) {
		is = append(is, fmt.Sprint("timeout ", timeout.Timeout()))
	}
	if timeout, ok := err.(interface{ Timeout() bool }); ok {
		is = append(is, fmt.Sprint("itself timeout ", timeout.Timeout()))
	}
	slices.Sort(is)
	return fmt.Sprintf("%q, is %s", err.Error(), strings.Join(is, ", "))
}
