package idlewise

import (
	"context"
	"errors"
	"net"
	"net/http"
)

// A validator says what net/http thinks of a request before a connection is
// opened for it: a ClientConn checks it only once there is one. The rules for
// methods, header names and values are not exported, but a Transport that
// cannot dial applies them.
type validator struct{ rt *http.Transport }

var errNoDial = errors.New("idlewise: the request is valid")

func newValidator() validator {
	return validator{&http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return nil, errNoDial },
		DisableKeepAlives: true,
	}}
}

// check returns net/http's error for an invalid request. It costs a few
// microseconds and is asked only where a connection may have to be opened.
func (v validator) check(req *http.Request) error {
	bare := http.Request{
		Method: req.Method, URL: req.URL, Host: req.Host,
		Header: req.Header, Trailer: req.Trailer,
	}
	if bare.URL.Scheme == "https" {
		plain := *req.URL
		plain.Scheme = "http"
		bare.URL = &plain
	}
	resp, err := v.rt.RoundTrip(&bare)
	if err == nil {
		resp.Body.Close() // cannot be
		return nil
	}
	if errors.Is(err, errNoDial) {
		return nil
	}
	return err
}
