package main

import (
	"fmt"
	"net/http"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/bench/internal/server"
)

// A side is one of the two transports that are compared.
type side string

const (
	sideNetHTTP  side = "net/http"
	sideIdlewise side = "idlewise"
)

var bothSides = [2]side{sideNetHTTP, sideIdlewise}

// newTransport makes a side's transport. Both have the settings of
// http.DefaultTransport, idlewise everything of its own on, and neither a
// limit to idle connections.
func newTransport(s side, p protocol, srv *server.Ready) (http.RoundTripper, error) {
	return dress(s, newBase(p, srv), -1)
}

// newBase makes an http.Transport that trusts the server.
func newBase(p protocol, srv *server.Ready) *http.Transport {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConns = 0
	base.MaxIdleConnsPerHost = 2 * maxIdle
	base.Protocols = new(http.Protocols)
	switch p {
	case http1, https1:
		base.Protocols.SetHTTP1(true)
	case http2:
		base.Protocols.SetHTTP2(true)
	case h2c:
		base.Protocols.SetUnencryptedHTTP2(true)
	}
	base.TLSClientConfig = srv.ClientTLS()
	return base
}

// dress makes a side's transport of base. maxIdle is Config.MaxIdleConns.
func dress(s side, base *http.Transport, maxIdle int) (http.RoundTripper, error) {
	switch s {
	case sideNetHTTP:
		return base, nil
	case sideIdlewise:
		return idlewise.New(idlewise.Config{Base: base, MaxIdleConns: maxIdle})
	}
	return nil, fmt.Errorf("%q is no transport", s)
}

// closeTransport closes its connections; none is in use.
func closeTransport(rt http.RoundTripper) {
	if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
