package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/idlewise/idlewise"
)

// newTransport returns a transport for a reverse proxy to a backend. What comes in
// by a server has no GetBody, so that bodies must be kept for a second attempt:
// small ones are.
func newTransport(backend *url.URL, base *http.Transport) (*idlewise.Transport, error) {
	return idlewise.New(idlewise.Config{
		Base: base,
		Policies: idlewise.Policies{Upstreams: map[string]idlewise.Policy{
			backend.Host: {
				ServerKeepAlive: idle,
				Retry:           idlewise.Retry{MaxReplayBody: 64 << 10},
			},
		}},
	})
}

func newProxy(backend *url.URL, rt http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(backend) },
		Transport: rt,
		ErrorLog:  log.New(io.Discard, "", 0), // what it would say is counted
	}
}
