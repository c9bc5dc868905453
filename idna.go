package idlewise

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"strings"
)

// asciiHost returns host in lower case and, if it is an internationalized
// name, in its ASCII form (xn--…).
//
// net/http knows that form but does not export it; it does write it into the
// Host header of a request, which saves a dependency on x/net/idna. This
// happens once per upstream and pattern, never per request.
func asciiHost(host string) string {
	if isASCII(host) {
		return strings.ToLower(host)
	}
	var wire bytes.Buffer
	req := http.Request{Method: "GET", URL: &url.URL{Scheme: "http", Host: host, Path: "/"}, Header: http.Header{}}
	if err := req.Write(&wire); err != nil {
		return strings.ToLower(host)
	}
	written, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil || written.Host == "" {
		return strings.ToLower(host)
	}
	return strings.ToLower(written.Host)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
