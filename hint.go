package idlewise

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxHint bounds what a server's Keep-Alive: timeout=N is believed.
const maxHint = time.Hour

// A hint is what a Keep-Alive response header says.
type hint struct {
	timeout time.Duration // 0: nothing
	last    bool          // max=0: no further request is allowed
}

// parseHint reads Keep-Alive: timeout=5, max=100, as httpd, Tomcat and Node
// send it (RFC 2068 §19.7.1; later RFCs leave the header alone). A parameter
// that is no plain number, is negative, or comes twice with different values
// is ignored, and so is every other parameter: a hint is a courtesy, junk in
// it is no reason to treat the connection worse than one without it.
func parseHint(values []string) hint {
	var h hint
	var timeout, limit parameter
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
			if !ok {
				continue
			}
			switch name = strings.TrimSpace(name); {
			case strings.EqualFold(name, "timeout"):
				timeout.set(value)
			case strings.EqualFold(name, "max"):
				limit.set(value)
			}
		}
	}
	// timeout=0 announces that the connection is closed at once, or is how
	// some servers write "no timeout": it says nothing to rely on, and a
	// server that closes sends Connection: close as well.
	if timeout.valid && timeout.n > 0 {
		h.timeout = maxHint
		if timeout.n < int64(maxHint/time.Second) {
			h.timeout = time.Duration(timeout.n) * time.Second
		}
	}
	h.last = limit.valid && limit.n == 0
	return h
}

type parameter struct {
	n           int64
	seen, valid bool
}

func (p *parameter) set(value string) {
	value = strings.TrimSpace(value)
	n, ok := plainNumber(value)
	switch {
	case !p.seen:
		p.n, p.valid = n, ok
	case !ok || n != p.n:
		p.valid = false
	}
	p.seen = true
}

// plainNumber parses digits only; more than fit mean very many.
func plainNumber(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

// hintOf reads the hint of an HTTP/1 response.
func hintOf(resp *http.Response) hint {
	values := resp.Header["Keep-Alive"]
	if values == nil {
		return hint{}
	}
	return parseHint(values)
}
