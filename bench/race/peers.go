package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/PuerkitoBio/rehttp"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/valyala/fasthttp"

	"github.com/idlewise/idlewise"
)

// A peer is a way to call a server from Go. All have the defaults of their
// documentation; waits between retries are shortened, since they are not what is
// compared.
type peer struct {
	name  string
	http2 bool // it can speak it
	make  func(env) (client, error)
}

// An env is what the client of a peer is made for.
type env struct {
	dials     *atomic.Int64
	keepAlive time.Duration // the server's, for those who can be told
	tls       *tls.Config   // nil: HTTP/1 in the clear, else HTTP/2
}

// A client makes requests and reads the responses to their ends.
type client interface {
	do(method, url, key string) error
	close()
}

const (
	retryWait = 10 * time.Millisecond
	patience  = 10 * time.Second
)

var peers = []peer{
	{"net/http", true, func(e env) (client, error) { return over(e.base(), nil), nil }},
	{"go-retryablehttp", true, func(e env) (client, error) {
		c := retryablehttp.NewClient()
		c.Logger, c.RetryWaitMin, c.RetryWaitMax = nil, retryWait, retryWait
		base := e.base()
		c.HTTPClient = &http.Client{Transport: base}
		return over(&retryablehttp.RoundTripper{Client: c}, base.CloseIdleConnections), nil
	}},
	{"failsafehttp", true, func(e env) (client, error) {
		base := e.base()
		policy := failsafehttp.NewRetryPolicyBuilder().WithDelay(retryWait).Build()
		return over(failsafehttp.NewRoundTripper(base, policy), base.CloseIdleConnections), nil
	}},
	{"rehttp", true, func(e env) (client, error) {
		base := e.base()
		// As its README has it, with any error instead of temporary ones, which
		// closed connections are not.
		again := rehttp.RetryAll(rehttp.RetryMaxRetries(3), rehttp.RetryAny(rehttp.RetryIsErr(func(err error) bool { return err != nil }), rehttp.RetryStatuses(503)))
		return over(rehttp.NewTransport(base, again, rehttp.ConstDelay(retryWait)), base.CloseIdleConnections), nil
	}},
	{"fasthttp", false, func(e env) (client, error) { return newFast(e), nil }},
	{"idlewise, told", true, func(e env) (client, error) {
		return withIdlewise(e, idlewise.Policy{ServerKeepAlive: e.keepAlive})
	}},
	{"idlewise, not told", true, func(e env) (client, error) { return withIdlewise(e, idlewise.Policy{}) }},
}

// base is net/http's default transport, with a dialer that counts.
func (e env) base() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 100
	t.DialContext = e.dial
	t.TLSClientConfig = e.tls
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(e.tls == nil)
	t.Protocols.SetHTTP2(e.tls != nil)
	return t
}

func (e env) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err == nil {
		e.dials.Add(1)
	}
	return c, err
}

func withIdlewise(e env, p idlewise.Policy) (client, error) {
	t, err := idlewise.New(idlewise.Config{Base: e.base(), Policies: idlewise.Policies{Default: p}})
	if err != nil {
		return nil, err
	}
	return over(t, func() { t.Close() }), nil
}

// A std is an http.Client.
type std struct {
	*http.Client
	end func()
}

func over(rt http.RoundTripper, end func()) client {
	c := &http.Client{Transport: rt, Timeout: patience}
	if end == nil {
		end = c.CloseIdleConnections
	}
	return &std{c, end}
}

func (c *std) close() { c.end() }

func (c *std) do(method, url, key string) error {
	var body io.Reader
	if method == "POST" || method == "PUT" {
		body = strings.NewReader("{}")
	}
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return err
	}
	req.Header.Set("X-Fault-Key", key)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// fast is fasthttp's client.
type fast struct{ *fasthttp.Client }

func newFast(e env) client {
	return &fast{&fasthttp.Client{
		Dial:        func(addr string) (net.Conn, error) { return e.dial(context.Background(), "tcp", addr) },
		ReadTimeout: patience,
	}}
}

func (c *fast) close() { c.CloseIdleConnections() }

func (c *fast) do(method, url, key string) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.Header.SetMethod(method)
	req.SetRequestURI(url)
	req.Header.Set("X-Fault-Key", key)
	if method == "POST" || method == "PUT" {
		req.SetBodyString("{}")
	}
	if err := c.Client.Do(req, resp); err != nil {
		return err
	}
	if s := resp.StatusCode(); s != fasthttp.StatusOK {
		return errors.New(fasthttp.StatusMessage(s))
	}
	return nil
}
