package faultserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// ProxyOptions are the choices of [Proxy]. The zero value is a proxy that adds
// nothing of its own.
type ProxyOptions struct {
	// PreserveHost sends the client's Host header on. False: the target's.
	PreserveHost bool
	// TLSClientConfig is used for an https target. nil: the system's roots.
	TLSClientConfig *tls.Config
	// Protocols are spoken to the target; a gRPC server needs HTTP2 or
	// UnencryptedHTTP2. nil: HTTP/1.1.
	Protocols *http.Protocols
	// DialContext connects to the target. nil: package net, for 10 s at most.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// ProxyHandler is an [http.Handler] that asks another server; see [Proxy].
type ProxyHandler struct {
	proxy     httputil.ReverseProxy
	transport *http.Transport
	host      bool

	mu   sync.Mutex // guards errs
	errs []error
}

// keptProxyErrors bounds what ProxyHandler.Errors remembers.
const keptProxyErrors = 100

// Proxy makes a handler that passes every request on to the server at target,
// such as nginx on another port or a third party's sandbox, so that faults can
// be put before it:
//
//	p, err := faultserver.Proxy("http://127.0.0.1:8081", faultserver.ProxyOptions{})
//	s := faultserver.Start(t, faultserver.Config{Handler: p})
//
// Bodies stream both ways, trailers, 1xx responses and upgrades pass, redirects
// are not followed, and nothing is added but what HTTP demands of a proxy. A
// path of the target is put before the request's.
//
// Every request has a connection of its own to the target: a proxy that reused
// them would add the very fault that is under test. A target that cannot be
// reached, or ends the connection before it answers, is a 502, with the reason
// in Errors; one that fails later cuts the client's response off.
//
// Closing the server closes a proxy that is its Config.Handler. One beneath
// another handler has nothing to close: it keeps no connections.
func Proxy(target string, opts ProxyOptions) (*ProxyHandler, error) {
	to, err := url.Parse(target)
	var unparsable *url.Error
	switch {
	case errors.As(err, &unparsable): // without the text, which may hold a password
		return nil, fmt.Errorf("faultserver: proxy: target: %w", unparsable.Err)
	case err != nil:
		return nil, fmt.Errorf("faultserver: proxy: target: %w", err)
	case to.Scheme != "http" && to.Scheme != "https", to.Host == "":
		return nil, fmt.Errorf("faultserver: proxy: target: %q is not of the form http://host:port", target)
	case to.RawQuery != "", to.Fragment != "", to.User != nil:
		return nil, fmt.Errorf("faultserver: proxy: target: %q: only scheme, host and path are used", to.Redacted())
	}
	dial := opts.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	protocols := opts.Protocols
	if protocols == nil {
		protocols = new(http.Protocols)
		protocols.SetHTTP1(true)
	}
	p := &ProxyHandler{host: opts.PreserveHost}
	p.transport = &http.Transport{
		DialContext: dial, TLSClientConfig: opts.TLSClientConfig, Protocols: protocols,
		DisableKeepAlives: true, DisableCompression: true, ExpectContinueTimeout: time.Second,
	}
	p.proxy = httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { p.rewrite(r, to) },
		Transport:     p.transport,
		FlushInterval: -1,
		ErrorHandler:  p.failed,
		// What it would print is either in Errors or a client's leaving.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return p, nil
}

// Errors returns the first hundred errors the proxy met with its target, oldest
// first. A client that leaves is none.
func (p *ProxyHandler) Errors() []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]error(nil), p.errs...)
}

func (p *ProxyHandler) record(r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.errs) < keptProxyErrors {
		p.errs = append(p.errs, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err))
	}
}

// Close closes what is idle toward the target. The server calls it.
func (p *ProxyHandler) Close() { p.transport.CloseIdleConnections() }

// rewrite undoes what the standard proxy takes out: this one is to be
// transparent.
func (p *ProxyHandler) rewrite(r *httputil.ProxyRequest, to *url.URL) {
	query := r.In.URL.RawQuery
	r.SetURL(to)
	r.Out.URL.RawQuery = query
	if p.host {
		r.Out.Host = r.In.Host
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
	if len(r.In.Trailer) > 0 {
		r.Out.Body = trailerBody{r.Out.Body, r.In, r.Out}
		r.Out.ContentLength = -1 // trailers need chunks
	}
}

// trailerBody hands the trailers on when they have arrived.
type trailerBody struct {
	io.ReadCloser
	in, out *http.Request
}

func (b trailerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		maps.Copy(b.out.Trailer, b.in.Trailer)
	}
	return n, err
}

// ServeHTTP passes a request on and its answer back.
func (p *ProxyHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	pw := &proxyWriter{ResponseWriter: w}
	// The standard proxy cuts a broken response off, by a panic, only if it
	// finds this key, and else lets it look complete.
	ctx := context.WithValue(r.Context(), http.ServerContextKey, (*http.Server)(nil))
	proxy := p.proxy
	proxy.ModifyResponse = func(resp *http.Response) error {
		if resp.StatusCode != http.StatusSwitchingProtocols {
			resp.Body = watchedBody{resp.Body, func(err error) { p.record(r, fmt.Errorf("in the body: %w", err)) }}
		}
		return nil
	}
	proxy.ServeHTTP(pw, r.WithContext(ctx))
}

func (p *ProxyHandler) failed(w http.ResponseWriter, r *http.Request, err error) {
	p.record(r, err)
	if pw, ok := w.(*proxyWriter); ok && pw.hijacked {
		return // the upgrade was agreed on and its bytes could not be written
	}
	http.Error(w, "faultserver: proxy: "+err.Error(), http.StatusBadGateway)
}

// watchedBody tells of the error that ends a body early.
type watchedBody struct {
	io.ReadCloser
	failed func(error)
}

func (b watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.failed(err)
	}
	return n, err
}

// proxyWriter keeps the server from adding to the target's answer.
type proxyWriter struct {
	http.ResponseWriter
	hijacked bool
}

func (w *proxyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *proxyWriter) WriteHeader(status int) {
	if status == http.StatusContinue {
		return // this server says its own when the body is first read
	}
	if _, typed := w.Header()["Content-Type"]; !typed && status >= 200 {
		w.Header()["Content-Type"] = nil // none, instead of a guess
	}
	w.ResponseWriter.WriteHeader(status)
}

// Hijack returns a connection that reads first what the server has buffered.
func (w *proxyWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, brw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.hijacked = true
	return upgradedConn{nc, brw.Reader}, brw, nil
}

// upgradedConn is a hijacked connection whose halves close one by one.
type upgradedConn struct {
	net.Conn
	br *bufio.Reader
}

func (c upgradedConn) Read(p []byte) (int, error) { return c.br.Read(p) }

func (c upgradedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}

// CloseWrite sends a FIN, or under TLS a close_notify, and goes on reading.
func (h hijackedConn) CloseWrite() error {
	if half, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
