package faultserver

import (
	"net/http"

	"golang.org/x/net/http/httpguts"
)

// headStatus is what net/http's server answers to a head that it does not serve
// though http.ReadRequest takes it, else 0. A client under test is to find its
// mistakes here too.
func headStatus(r *http.Request, hasHost bool) int {
	switch {
	case !hasHost && r.ProtoAtLeast(1, 1) && r.Method != http.MethodConnect, // RFC 9112 section 3.2
		!httpguts.ValidHostHeader(r.Host):
		return http.StatusBadRequest
	case r.Header.Get("Expect") != "" && !headerHasToken(r.Header, "Expect", "100-continue"):
		return http.StatusExpectationFailed // RFC 9110 section 10.1.1
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return http.StatusBadRequest
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return http.StatusBadRequest
			}
		}
	}
	return 0
}

// hostWatch sees a head go by and tells whether it has a Host field:
// http.ReadRequest makes the same of none and of an empty one, which is right
// where the request's target has no authority. The zero value awaits the request
// line.
type hostWatch struct {
	has   bool
	over  bool // the head is
	lines int
	n     int     // bytes of the line that has begun
	begin [5]byte // of them, in lower case
}

func (w *hostWatch) see(p []byte) {
	for _, b := range p {
		switch {
		case w.over || w.has:
			return
		case b == '\n':
			w.over = w.n == 0 || w.n == 1 && w.begin[0] == '\r'
			w.lines++
			w.n = 0
			continue
		case w.n < len(w.begin):
			if 'A' <= b && b <= 'Z' {
				b += 'a' - 'A'
			}
			w.begin[w.n] = b
		}
		w.n++
		w.has = w.n == len(w.begin) && w.lines > 0 && string(w.begin[:]) == "host:"
	}
}
