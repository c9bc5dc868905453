package idlewise

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// asciiHost returns the name that host is dialed by, in lower case: what host is
// known by in keys and patterns. A name that net/http cannot bring into ASCII stays
// as it is; it dials no other's address.
func asciiHost(host string) string {
	name := dialHost(host)
	if !isASCII(name) {
		return name
	}
	return strings.ToLower(name)
}

// dialHost returns the name by which net/http dials host, which is what URL.Hostname
// returns: internationalized names in their ASCII form (xn--…), others unchanged.
//
// net/http maps the former before that, as UTS #46 says: to lower case and NFC, and
// from full-width letters and ideographic full stops. In the Host header it does not,
// so that it cannot be had from there. It exports the mapping nowhere, but a
// Transport tells its dialer; asking that saves a dependency on x/net/idna.
func dialHost(host string) string {
	if isASCII(host) {
		return host
	}
	return dialedNames.of(host)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// dialedNames remembers what was asked: an Observer asks for each request, and so
// does a Transport where a host is spelled in too many ways to remember them all.
var dialedNames nameCache

const (
	maxDialedNames = 1024 // so many are remembered
	longestName    = 1024 // of those that are no longer; one of DNS has 253 bytes at most
)

type nameCache struct {
	mu    sync.Mutex
	names map[string]string // bounded by maxDialedNames; guarded by mu
}

func (c *nameCache) of(host string) string {
	c.mu.Lock()
	name, ok := c.names[host]
	c.mu.Unlock()
	if ok {
		return name
	}
	name = askForDialedName(host)
	if len(host) > longestName {
		return name
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil || len(c.names) >= maxDialedNames {
		c.names = make(map[string]string)
	}
	c.names[strings.Clone(host)] = name // a part of a longer URL
	return name
}

var errOnlyAsked = errors.New("idlewise: only the address was asked for")

// askForDialedName lets a Transport dial host in vain, which takes it some 13 µs.
func askForDialedName(host string) string {
	addr := ""
	t := http.Transport{DialContext: func(_ context.Context, _, to string) (net.Conn, error) {
		addr = to
		return nil, errOnlyAsked
	}}
	u := &url.URL{Scheme: "http", Host: host}
	if strings.ContainsAny(host, ":[]") {
		u.Host = "[" + host + "]" // an IPv6 zone
	}
	resp, err := t.RoundTrip(&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}})
	if err == nil {
		resp.Body.Close() // cannot be
	}
	name := strings.TrimSuffix(addr, ":80")
	if strings.Contains(name, ":") {
		name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]") // as net.JoinHostPort has put it
	}
	if name == "" {
		return host // it was not dialed
	}
	return name
}
