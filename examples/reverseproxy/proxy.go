package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// newProxy returns a reverse proxy to a backend.
func newProxy(backend *url.URL, rt http.RoundTripper) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(backend) },
		Transport: rt,
		ErrorLog:  log.New(io.Discard, "", 0), // what it would say is counted
	}
	return replayable(proxy, 64<<10)
}

// replayable keeps bodies of at most limit bytes in memory, so that the
// transport can send them again. What comes in by a server has no GetBody.
func replayable(next http.Handler, limit int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 0 && r.ContentLength <= limit {
			kept, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, "the request's body: "+err.Error(), http.StatusBadRequest)
				return
			}
			r = r.Clone(r.Context())
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(kept)), nil }
			r.Body, _ = r.GetBody()
		}
		next.ServeHTTP(w, r)
	})
}
