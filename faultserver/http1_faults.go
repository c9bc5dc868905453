package faultserver

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// lengthKinds lie about where the body ends.
var lengthKinds = []Kind{
	ContentLengthTooLong, ContentLengthTooShort, ContentLengthValue, DoubleContentLength, LengthAndChunked,
}

// holds reports whether the response must be complete before its head is sent.
func (p plan) holds() bool {
	_, ok := p.get(lengthKinds...)
	return ok
}

// garbles reports whether no client that keeps to RFC 9112 would take what is
// sent for a complete response.
func (p plan) garbles(method string, status int) bool {
	for _, f := range p {
		switch f.Kind {
		case HTTP09Answer:
			return true
		case StatusLine:
			if !isStatusLine(f.Value) {
				return true
			}
		}
	}
	f, ok := p.get(framingKinds...)
	if !ok || !bodyAllowed(status) {
		return false
	}
	switch f.Kind {
	case ContentLengthTooLong:
		return method != http.MethodHead
	case ContentLengthValue:
		return true
	case DoubleContentLength:
		return f.Value != ""
	}
	return false
}

func isStatusLine(s string) bool {
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(s+"\r\n\r\n")), nil)
	return err == nil && r.StatusCode >= 200
}

// statusLine is the first line of the response.
func (p plan) statusLine(status int) string {
	if f, ok := p.get(StatusLine); ok {
		return f.Value + "\r\n"
	}
	return statusLine(status)
}

// keepAlives are the Keep-Alive headers that the plan wants.
func (p plan) keepAlives() (values []string) {
	for _, f := range p {
		if f.Kind == KeepAliveHeader {
			values = append(values, f.Value)
		}
	}
	return values
}

// swell adds the headers that are there to be too much.
func (p plan) swell(h http.Header) {
	if f, ok := p.get(HugeHeader); ok {
		h.Set("X-Huge", strings.Repeat("x", int(f.Bytes)))
	}
	if f, ok := p.get(ManyHeaders); ok {
		for n := range f.Count {
			h.Set("X-Many-"+strconv.Itoa(n+1), "x")
		}
	}
}

// framingKinds decide how the client is to find the body's end; of several the
// first injected wins.
var framingKinds = append([]Kind{CloseDelimited, HTTP09Answer, BrokenChunk}, lengthKinds...)

// misframe contradicts what frame has said about the body's end.
func (w *http1Wire) misframe(status int, h http.Header, length int64) {
	f, ok := w.x.plan.get(framingKinds...)
	if !ok || !bodyAllowed(status) {
		return
	}
	length = max(length, 0) // of HEAD it may be unknown
	by := max(f.Bytes, 1)
	var lengths []string
	chunked := false
	switch f.Kind {
	case ContentLengthTooLong:
		lengths = []string{decimal(length + by)}
	case ContentLengthTooShort:
		lengths = []string{decimal(max(length-by, 0))}
	case ContentLengthValue:
		lengths = []string{f.Value}
	case DoubleContentLength:
		lengths = []string{decimal(length), cmp.Or(f.Value, decimal(length))}
	case LengthAndChunked:
		lengths = []string{cmp.Or(f.Value, decimal(length))}
		chunked = true
	case BrokenChunk:
		chunked = true
	}
	h.Del("Content-Length")
	h.Del("Transfer-Encoding")
	if len(lengths) > 0 {
		h["Content-Length"] = lengths
	}
	if chunked {
		h.Set("Transfer-Encoding", "chunked")
	}
	w.chunked = chunked && w.x.request.Method != http.MethodHead
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// writeHead writes the status line and the headers as the faults want them;
// last says that nothing follows the head.
func (w *http1Wire) writeHead(line string, h http.Header, last bool) error {
	if w.x.plan.has(HTTP09Answer) {
		return nil
	}
	slow, ok := w.x.plan.get(SlowHeaders)
	if !ok {
		w.h.bw.WriteString(line)
		h.Write(w.h.bw)
		_, err := w.h.bw.WriteString("\r\n")
		return err
	}
	var b bytes.Buffer
	b.WriteString(line)
	h.Write(&b)
	b.WriteString("\r\n")
	p := newPacer(w.x, slow)
	return p.portions(b.Bytes(), func(part []byte, end bool) error {
		if end && last {
			w.x.answered()
		}
		w.h.bw.Write(part)
		return w.h.bw.Flush()
	})
}

// breaksChunk reports whether a fault breaks the chunks off within the next n
// bytes of the body.
func (w *http1Wire) breaksChunk(n int64) (Fault, bool) {
	f, ok := w.x.plan.get(BrokenChunk)
	return f, ok && w.chunked && w.sent+n >= f.Bytes
}

// breakChunk sends what is still due of p in order, and then no chunk.
func (w *http1Wire) breakChunk(f Fault, p []byte) error {
	if len(p) > 0 {
		p = p[:f.Bytes-w.sent]
	}
	if len(p) > 0 {
		w.sent += int64(len(p))
		fmt.Fprintf(w.h.bw, "%x\r\n%s\r\n", len(p), p)
	}
	w.h.bw.WriteString(cmp.Or(f.Value, "not a size\r\n"))
	return w.cut(f.Kind, false)
}

// randomBytes draws n bytes from the server's seed.
func (rs *rules) randomBytes(n int64) []byte {
	p := make([]byte, n)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for i := range p {
		p[i] = byte(rs.rng.Uint32())
	}
	return p
}
