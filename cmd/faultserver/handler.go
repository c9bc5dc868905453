package main

import (
	"fmt"
	"net/http"
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
	proxy, err := faultserver.Proxy(target, faultserver.ProxyOptions{})
	if err != nil { // not as a nil pointer in an interface
		return nil, fmt.Errorf("-handler: %w", inFlags(err))
	}
	return proxy, nil
}
