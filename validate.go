package idlewise

import (
	"context"
	"errors"
	"net/http"
)

// A validator says what net/http thinks of a request before a connection is
// opened for it: a ClientConn checks it only once there is one. The rules for
// methods, header names and values are not exported, but a Transport applies them
// before it looks whether the request was canceled.
type validator struct {
	rt       *http.Transport
	canceled context.Context
}

var errValid = errors.New("idlewise: the request is valid")

func newValidator() validator {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errValid)
	return validator{&http.Transport{}, ctx}
}

// check returns net/http's error for an invalid request. It costs a few
// microseconds and is asked only where a connection may have to be opened.
func (v validator) check(req *http.Request) error {
	bare := &http.Request{
		Method: req.Method, URL: req.URL, Host: req.Host,
		Header: req.Header, Trailer: req.Trailer,
	}
	if bare.URL.Scheme == "https" {
		plain := *req.URL
		plain.Scheme = "http"
		bare.URL = &plain
	}
	resp, err := v.rt.RoundTrip(bare.WithContext(v.canceled))
	if err == nil {
		resp.Body.Close() // cannot be
		return nil
	}
	if errors.Is(err, errValid) {
		return nil
	}
	return err
}
