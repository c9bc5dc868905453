package main

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/idlewise/idlewise/faultserver"
)

// parseHandler reads what answers the requests that faults let through.
func parseHandler(text string) (http.Handler, error) {
	if text == "echo" {
		return faultserver.Echo, nil
	}
	target, ok := strings.CutPrefix(text, "proxy:")
	if !ok {
		return nil, fmt.Errorf("-handler: %q is neither echo nor proxy:URL", text)
	}
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return nil, fmt.Errorf("-handler: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("-handler: %q is not a URL such as http://127.0.0.1:9000", target)
	}
	return proxy(u), nil
}

// proxy hands requests on to a server. Answers are passed on as they arrive.
func proxy(target *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		FlushInterval: -1,
	}
}
