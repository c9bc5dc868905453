package idlewise

import (
	"context"
	"net"
	"net/http"
)

// Fields of net/http that are deprecated but still honoured, as http.Transport
// honours them. They are touched here only.

// cancelOf returns req.Cancel. Programs set it seldom; http.Client sets it on
// every request if it has a Timeout and its transport is not net/http's own.
func cancelOf(req *http.Request) <-chan struct{} {
	return req.Cancel //lint:ignore SA1019 see above
}

func dropCancel(req *http.Request) {
	req.Cancel = nil //lint:ignore SA1019 see above
}

func plainDialer(t *http.Transport) dialFunc {
	if t.DialContext != nil {
		return t.DialContext
	}
	dial := t.Dial //lint:ignore SA1019 see above
	if dial != nil {
		return func(_ context.Context, network, addr string) (net.Conn, error) { return dial(network, addr) }
	}
	var d net.Dialer
	return d.DialContext
}

func tlsDialer(t *http.Transport) dialFunc {
	if t.DialTLSContext != nil {
		return t.DialTLSContext
	}
	dial := t.DialTLS //lint:ignore SA1019 see above
	if dial != nil {
		return func(_ context.Context, network, addr string) (net.Conn, error) { return dial(network, addr) }
	}
	return nil
}

// dropLegacyDialers makes way for DialContext and DialTLSContext.
func dropLegacyDialers(t *http.Transport) {
	t.Dial = nil    //lint:ignore SA1019 see above
	t.DialTLS = nil //lint:ignore SA1019 see above
}
