// Package clients has the ways to call a server from Go that are compared. All
// have the defaults of their documentation, and no limit to idle connections.
// Waits between retries are shortened, since they are not what is compared.
package clients

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/PuerkitoBio/rehttp"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/hashicorp/go-retryablehttp"

	"github.com/idlewise/idlewise"
)

// A Kind is one of the ways.
type Kind struct {
	Name  string
	HTTP2 bool // it can speak it
	Make  func(Env) (Client, error)
}

// An Env is what a client is made for.
type Env struct {
	Address string        // of the server, host:port
	Dials   *atomic.Int64 // counts connections
	TLS     *tls.Config   // nil: HTTP/1 in the clear, else HTTP/2
	Timeout time.Duration // of a request; 0: none
}

// A Client makes requests. It may be used by many goroutines.
type Client interface {
	// Do makes a request and reads the whole response into a buffer of the
	// caller's. Any status but 200 is an error.
	Do(r *Request, into *bytes.Buffer) error
	Close()
}

// A Request is what every client is asked to send.
type Request struct {
	Method string
	URL    string
	Key    string // of the fault server's journal; "": none
	Body   []byte // nil: none
}

const (
	retryWait = 10 * time.Millisecond
	unlimited = 1 << 20
)

// Peers are what one would use instead of idlewise. The first is net/http.
var Peers = []Kind{
	{"net/http", true, func(e Env) (Client, error) {
		base := e.base()
		return &std{e.client(base), base.CloseIdleConnections}, nil
	}},
	{"go-retryablehttp", true, func(e Env) (Client, error) {
		base := e.base()
		c := retryablehttp.NewClient()
		c.Logger, c.RetryWaitMin, c.RetryWaitMax = nil, retryWait, retryWait
		c.HTTPClient = e.client(base)
		return &retryable{c, base.CloseIdleConnections}, nil
	}},
	{"failsafehttp", true, func(e Env) (Client, error) {
		base := e.base()
		policy := failsafehttp.NewRetryPolicyBuilder().WithDelay(retryWait).Build()
		return &std{e.client(failsafehttp.NewRoundTripper(base, policy)), base.CloseIdleConnections}, nil
	}},
	{"rehttp", true, func(e Env) (Client, error) {
		base := e.base()
		// As its README has it, with any error instead of temporary ones, which
		// closed connections are not.
		again := rehttp.RetryAll(rehttp.RetryMaxRetries(3), rehttp.RetryAny(rehttp.RetryIsErr(func(err error) bool { return err != nil }), rehttp.RetryStatuses(503)))
		return &std{e.client(rehttp.NewTransport(base, again, rehttp.ConstDelay(retryWait))), base.CloseIdleConnections}, nil
	}},
	{"fasthttp", false, newFast},
}

// Idlewise is idlewise with a policy, by a name.
func Idlewise(name string, p idlewise.Policy) Kind {
	return Kind{name, true, func(e Env) (Client, error) {
		t, err := idlewise.New(idlewise.Config{Base: e.base(), Policies: idlewise.Policies{Default: p}, MaxIdleConns: -1})
		if err != nil {
			return nil, err
		}
		return &std{e.client(t), func() { t.Close() }}, nil
	}}
}

func (e Env) client(rt http.RoundTripper) *http.Client {
	return &http.Client{Transport: rt, Timeout: e.Timeout}
}

// base is net/http's default transport without limits, with a dialer that counts.
func (e Env) base() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns = 0
	t.MaxIdleConnsPerHost = unlimited
	t.DialContext = e.dial
	t.TLSClientConfig = e.TLS
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(e.TLS == nil)
	t.Protocols.SetHTTP2(e.TLS != nil)
	return t
}

func (e Env) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err == nil {
		e.Dials.Add(1)
	}
	return c, err
}
