package clients

import (
	"bytes"
	"context"
	"errors"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// A fast is fasthttp's client for one host.
type fast struct{ client *fasthttp.HostClient }

func newFast(e Env) (Client, error) {
	if e.TLS != nil {
		return nil, errors.New("fasthttp has no HTTP/2")
	}
	return &fast{&fasthttp.HostClient{
		Addr:                e.Address,
		Dial:                func(addr string) (net.Conn, error) { return e.dial(context.Background(), "tcp", addr) },
		MaxConns:            unlimited,
		MaxIdleConnDuration: 90 * time.Second, // as net/http's default transport
		ReadTimeout:         e.Timeout,
	}}, nil
}

func (c *fast) Close() { c.client.CloseIdleConnections() }

func (c *fast) Do(r *Request, into *bytes.Buffer) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.Header.SetMethod(r.Method)
	req.SetRequestURI(r.URL)
	if r.Key != "" {
		req.Header.Set(keyHeader, r.Key)
	}
	if r.Body != nil {
		req.SetBodyRaw(r.Body)
	}
	if err := c.client.Do(req, resp); err != nil {
		return err
	}
	// What fasthttp returns may not be kept: a program that does copies it.
	into.Reset()
	into.Write(resp.Body())
	if s := resp.StatusCode(); s != fasthttp.StatusOK {
		return errors.New(fasthttp.StatusMessage(s))
	}
	return nil
}
