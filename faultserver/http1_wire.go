package faultserver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// http1Wire writes one exchange's response as HTTP/1.
type http1Wire struct {
	h *http1Conn
	x *exchange

	mu       sync.Mutex // guards the order of 100 Continue and the head: a body may be read in the background
	headSent bool

	chunked    bool
	length     int64 // the Content-Length that is sent, or -1
	sent       int64 // of the body
	ending     *ending
	announce   bool
	closeAfter time.Duration // before ending
	deadlines  atomic.Bool   // the handler has set one
}

// errCut stops a response that a fault has broken off; the connection is shut.
var errCut = errors.New("faultserver: the response was cut off by a fault")

func newHTTP1Wire(h *http1Conn, x *exchange) *http1Wire { return &http1Wire{h: h, x: x} }

// hijackable adds Hijack where the protocol allows it.
type hijackable struct {
	*response
	w *http1Wire
}

func (w *http1Wire) writer(r *response) http.ResponseWriter { return hijackable{r, w} }

// Hijack gives the handler the connection, as after an Upgrade. A head that
// WriteHeader has begun is sent first, as net/http's server does; what was
// written of a body is not. The connection's end is still in the journal, and
// Kill and Close still reach it.
func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if h.response.hijacked {
		return nil, nil, http.ErrHijacked
	}
	if h.w.headSent {
		return nil, nil, errors.New("faultserver: the response has begun")
	}
	if r := h.response; r.status != 0 {
		if err := h.w.lastHead(r.status, r.snapshot, r.declared); err != nil {
			return nil, nil, err
		}
	}
	h.response.hijacked = true
	h.w.clearDeadlines()
	h.w.x.body.seal()
	nc := hijackedConn{h.w.h.c.nc, h.w.h.c}
	return nc, bufio.NewReadWriter(h.w.h.br, bufio.NewWriter(nc)), nil
}

// lastHead sends a head behind which the connection is the handler's: nothing
// is said of its end.
func (w *http1Wire) lastHead(status int, h http.Header, length int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.headSent = true
	w.frame(status, h, length)
	if _, ok := h["Date"]; !ok {
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	w.h.bw.WriteString(w.x.plan.statusLine(status))
	h.Write(w.h.bw)
	w.h.bw.WriteString("\r\n")
	return w.h.bw.Flush()
}

type hijackedConn struct {
	net.Conn
	c *conn
}

func (h hijackedConn) Close() error {
	h.c.shut(finBecause(HandlerAskedClose))
	return nil
}

func statusLine(status int) string {
	text := http.StatusText(status)
	if text == "" {
		text = "status"
	}
	return fmt.Sprintf("HTTP/1.1 %03d %s\r\n", status, text)
}

func (w *http1Wire) sayContinue() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.headSent {
		w.h.bw.WriteString(statusLine(http.StatusContinue) + "\r\n")
		w.h.bw.Flush()
	}
}

func (w *http1Wire) interim(status int, h http.Header) error {
	if !w.x.request.ProtoAtLeast(1, 1) {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.h.bw.WriteString(statusLine(status))
	h.Write(w.h.bw)
	w.h.bw.WriteString("\r\n")
	return w.h.bw.Flush()
}

func (w *http1Wire) head(status int, h http.Header, length int64, end bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.decideEnd(h)
	w.frame(status, h, length)
	w.misframe(status, h, length)
	w.length = announcedLength(h)
	w.announceEnd(h)
	if _, ok := h["Date"]; !ok {
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	w.headSent = true

	line := w.x.plan.statusLine(status)
	if w.cutsHead() {
		var b bytes.Buffer
		b.WriteString(line)
		h.Write(&b)
		b.WriteString("\r\n")
		return w.cutHead(b.Bytes(), len(line), w.endsWithHead(status))
	}
	err := w.writeHead(line, h, end || length == 0)
	if f, ok := w.x.plan.get(CloseInBody); ok && f.Bytes == 0 {
		return w.cut(f.Kind, w.endsWithHead(status))
	}
	return err
}

// announcedLength is -1 if there is none. Of several the first counts: who
// gets different ones takes no response for complete, see plan.garbles.
func announcedLength(h http.Header) int64 {
	n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// endsWithHead reports whether nothing follows the head.
func (w *http1Wire) endsWithHead(status int) bool {
	return w.x.request.Method == http.MethodHead || !bodyAllowed(status) || w.length == 0 && !w.chunked
}

// frame says how the client finds the body's end (RFC 9112 section 6).
func (w *http1Wire) frame(status int, h http.Header, length int64) {
	h.Del("Transfer-Encoding")
	switch {
	case length >= 0:
		if status >= 200 && status != http.StatusNoContent {
			h.Set("Content-Length", strconv.FormatInt(length, 10))
		}
	case !bodyAllowed(status), w.x.request.Method == http.MethodHead:
	case w.x.request.ProtoAtLeast(1, 1):
		w.chunked = true
		h.Set("Transfer-Encoding", "chunked")
	default:
		if w.ending == nil {
			e := finBecause(RequestAskedClose)
			w.ending, w.announce = &e, true
		}
	}
}

// announceEnd writes the headers that say whether the connection stays.
func (w *http1Wire) announceEnd(h http.Header) {
	asked := headerHasToken(w.x.request.Header, "Connection", "keep-alive")
	if w.announce {
		h.Set("Connection", "close")
	} else if !w.x.request.ProtoAtLeast(1, 1) {
		h.Set("Connection", "keep-alive")
	}
	if lies := w.x.plan.keepAlives(); len(lies) > 0 {
		h["Keep-Alive"] = lies
		return
	}
	if w.announce {
		return
	}
	set := &w.h.c.srv.set
	value := set.keepAlive
	if value == "" {
		value = set.character.keepAlive(w.x.nth, asked)
	}
	if value != "" {
		h.Set("Keep-Alive", value)
		h.Set("Connection", "keep-alive")
	}
}

func (w *http1Wire) cutsHead() bool {
	_, ok := w.x.plan.get(CloseInStatusLine, CloseInHeaders)
	return ok
}

// cutHead writes the head as far as the fault lets it; last says that nothing
// would follow it.
func (w *http1Wire) cutHead(head []byte, line int, last bool) error {
	f, _ := w.x.plan.get(CloseInStatusLine, CloseInHeaders)
	n := int(min(f.Bytes, int64(len(head))))
	switch {
	case f.Kind == CloseInStatusLine && n == 0:
		n = len("HTTP/1.1 ")
	case f.Kind == CloseInHeaders && n == 0:
		n = line + (len(head)-line)/2
	case f.Kind == CloseInHeaders:
		n = min(line+n, len(head))
	}
	w.h.bw.Write(head[:n])
	return w.cut(f.Kind, last && n == len(head))
}

// cut ends the connection behind what has been written; whole says that this is
// a complete response all the same.
func (w *http1Wire) cut(k Kind, whole bool) error {
	if whole {
		w.x.answered()
	} else {
		w.x.c.srv.journal.answered(w.x.row, false)
	}
	w.h.bw.Flush()
	w.h.c.shut(finByFault(k))
	return errCut
}

func (w *http1Wire) body(p []byte, last bool) error {
	if f, ok := w.breaksChunk(int64(len(p))); ok {
		return w.breakChunk(f, p)
	}
	f, cuts := w.x.plan.get(CloseInBody)
	cuts = cuts && w.sent+int64(len(p)) >= f.Bytes
	part := p
	if cuts {
		part = p[:f.Bytes-w.sent]
	}
	w.sent += int64(len(part))
	if w.chunked && len(part) > 0 {
		fmt.Fprintf(w.h.bw, "%x\r\n", len(p)) // the whole chunk is promised
	}
	_, err := w.h.bw.Write(part)
	if cuts {
		known := w.length >= 0 && w.sent >= w.length
		return w.cut(f.Kind, !w.chunked && (known || last && len(part) == len(p)))
	}
	if w.chunked {
		_, err = w.h.bw.WriteString("\r\n")
	}
	return err
}

func (w *http1Wire) end(trailers http.Header) error {
	if f, ok := w.x.plan.get(CloseInBody); ok {
		return w.cut(f.Kind, !w.chunked) // the body was shorter than the cut: its end, if it has one, is withheld
	}
	if f, ok := w.x.plan.get(BrokenChunk); ok && w.chunked {
		return w.breakChunk(f, nil)
	}
	if w.chunked {
		w.h.bw.WriteString("0\r\n")
		trailers.Write(w.h.bw)
		w.h.bw.WriteString("\r\n")
	}
	if f, ok := w.x.plan.get(SurplusBytes); ok {
		w.h.bw.WriteString(f.Value)
	}
	return w.h.bw.Flush()
}

func (w *http1Wire) flush() error { return w.h.bw.Flush() }
