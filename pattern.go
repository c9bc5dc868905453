package idlewise

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// A pattern selects upstreams. See Policies for what it may look like.
type pattern struct {
	text   string // as the operator wrote it
	scheme string // "http", "https", or empty for both
	host   string // lower-case ASCII; for a wildcard the suffix with its dot, ".example.com", or empty for "*"
	port   string // empty for any
	wild   bool
}

// A hostPort is the part of a URL that patterns look at.
type hostPort struct {
	scheme, host, port string // host in lower-case ASCII; port never empty for http and https
}

func (p *pattern) matches(h hostPort) bool {
	if p.scheme != "" && p.scheme != h.scheme || p.port != "" && p.port != h.port {
		return false
	}
	if p.wild {
		return len(h.host) > len(p.host) && strings.HasSuffix(h.host, p.host)
	}
	return p.host == h.host
}

// key is equal for patterns that match the same upstreams.
func (p *pattern) key() string {
	return fmt.Sprint(p.scheme, "|", p.wild, "|", p.host, "|", p.port)
}

// specificity orders patterns: the host first, then the port, then the
// scheme. A DNS name is at most 253 bytes long.
func (p *pattern) specificity() int {
	n := len(p.host)
	if !p.wild {
		n = 1 << 16
	}
	n <<= 2
	if p.port != "" {
		n |= 2
	}
	if p.scheme != "" {
		n |= 1
	}
	return n
}

func parsePattern(text string) (pattern, error) {
	p := pattern{text: text}
	rest := text
	if scheme, after, ok := strings.Cut(rest, "://"); ok {
		p.scheme = strings.ToLower(scheme)
		if p.scheme != "http" && p.scheme != "https" {
			return p, fmt.Errorf("scheme %q is not http or https", scheme)
		}
		rest = after
	}
	if i := strings.IndexAny(rest, "/?#@ \t"); i >= 0 {
		return p, fmt.Errorf("%q does not belong in a pattern; give host, *.domain or host:port only, with http:// or https:// before it if needed", rest[i:])
	}
	host, port, err := splitPattern(rest)
	if err != nil {
		return p, err
	}
	p.port = port
	switch {
	case host == "":
		return p, errors.New("the host is missing; give host, *.domain, or * for every host")
	case host == "*":
		p.wild = true
		return p, nil
	case strings.HasPrefix(host, "*."):
		p.wild = true
		host = host[2:]
	}
	if strings.Contains(host, "*") {
		return p, errors.New("a * stands only at the beginning, as in *.example.com")
	}
	p.host = asciiHost(host)
	if p.host == "" || strings.HasPrefix(p.host, ".") {
		return p, errors.New("a label of the host is empty; write *.example.com for every name below a domain")
	}
	if p.wild {
		p.host = "." + p.host
	}
	return p, nil
}

func splitPattern(s string) (host, port string, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "", errors.New("a ] is missing after the IPv6 address")
		}
		host = s[1:end]
		if net.ParseIP(strings.SplitN(host, "%", 2)[0]) == nil {
			return "", "", fmt.Errorf("%q is not an IP address", host)
		}
		s = s[end+1:]
		if s == "" {
			return host, "", nil
		}
		if s[0] != ':' {
			return "", "", fmt.Errorf("%q after the IPv6 address is not :port", s)
		}
	} else {
		if strings.Count(s, ":") > 1 {
			return "", "", errors.New("an IPv6 address needs brackets, as in [::1]:8080")
		}
		i := strings.IndexByte(s, ':')
		if i < 0 {
			return s, "", nil
		}
		host, s = s[:i], s[i:]
	}
	port = s[1:]
	if n, perr := strconv.ParseUint(port, 10, 16); perr != nil || n == 0 {
		return "", "", fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	return host, strings.TrimLeft(port, "0"), nil
}

// hostOf returns the part of u that patterns look at.
func hostOf(u *url.URL) hostPort {
	h := hostPort{scheme: strings.ToLower(u.Scheme), host: asciiHost(u.Hostname()), port: u.Port()}
	if h.port == "" {
		h.port = defaultPort(h.scheme)
	}
	return h
}

// addrOf returns where u's host is dialed, which is also what TLS takes the server's
// name from. Unlike in patterns and keys the case of an ASCII name is kept: the
// program's dialer may look at it.
func addrOf(u *url.URL) string {
	host, port := dialHost(u.Hostname()), u.Port()
	if port == "" {
		port = defaultPort(strings.ToLower(u.Scheme))
	}
	return net.JoinHostPort(host, port)
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	case "socks5", "socks5h":
		return "1080"
	}
	return ""
}

func (h hostPort) addr() string { return net.JoinHostPort(h.host, h.port) }
