package faultserver

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// http1Conn serves one HTTP/1 connection, one request after the other, on the
// connection's goroutine.
type http1Conn struct {
	c   *conn
	in  *headLimiter
	br  *bufio.Reader
	bw  *bufio.Writer
	tls *tls.ConnectionState

	late bool // see leaving.lateAnnounced; of the request being served
}

func serveHTTP1(c *conn, br *bufio.Reader, in *headLimiter, state *tls.ConnectionState) {
	h := &http1Conn{c: c, in: in, br: br, bw: bufio.NewWriterSize(c.nc, 4096), tls: state}
	if !c.srv.set.http1 {
		h.refuse(http.StatusHTTPVersionNotSupported)
		return
	}
	for h.serveOne() {
	}
}

// serveOne waits for a request and serves it; it is false when the connection
// is no longer the loop's.
func (h *http1Conn) serveOne() bool {
	c := h.c
	if _, err := h.br.Peek(1); err != nil {
		c.shut(endOfRead(err))
		return false
	}
	nth, idleFor, ok := c.becomeBusy()
	if !ok {
		return false
	}
	if p := c.srv.rules.judge(event{at: atFirstByte, proto: onHTTP1, nthOnConn: nth, idle: idleFor}); len(p) > 0 {
		c.shut(finByFault(p[0].Kind))
		return false
	}
	h.in.left = maxHead
	h.in.host = hostWatch{}
	ahead, _ := h.br.Peek(h.br.Buffered())
	h.in.host.see(ahead)
	var due time.Time
	if limit := c.srv.set.character.head; limit > 0 {
		due = time.Now().Add(limit)
		c.raw.SetReadDeadline(due)
	}
	r, err := http.ReadRequest(h.br)
	if !due.IsZero() {
		c.raw.SetReadDeadline(time.Time{})
	}
	h.in.left = unlimited
	switch {
	case errors.Is(err, errHeadTooLarge):
		h.refuse(http.StatusRequestHeaderFieldsTooLarge)
		return false
	case err != nil && !due.IsZero() && !time.Now().Before(due): // the error itself may only say that the head is broken
		h.tooSlow()
		return false
	case err != nil:
		if e := endOfRead(err); e.reason != ProtocolError {
			c.shut(e)
			return false
		}
		h.refuse(http.StatusBadRequest)
		return false
	case r.ProtoMajor != 1: // HTTP/2's preface, after ALPNMismatch
		h.refuse(http.StatusHTTPVersionNotSupported)
		return false
	}
	if status := headStatus(r, h.in.host.has); status != 0 {
		h.refuse(status)
		return false
	}
	if e, away := c.turnedAway(nth); away {
		c.shut(e)
		return false
	}
	h.late = c.isLate()
	r.RemoteAddr = c.raw.RemoteAddr().String()
	r.TLS = h.tls

	x := newExchange(c, r, nth, idleFor)
	defer x.cancel()
	w := newHTTP1Wire(h, x)
	x.wire = w
	if headerHasToken(r.Header, "Expect", "100-continue") && r.ProtoAtLeast(1, 1) && r.Body != http.NoBody {
		x.body.onFirstRead(w.sayContinue)
	}
	if !x.run() {
		return false
	}
	return w.afterwards()
}

// refuse answers what cannot be served.
func (h *http1Conn) refuse(status int) {
	writeAll(h.c.nc, statusLine(status)+"Content-Length: 0\r\nConnection: close\r\n\r\n")
	h.c.shut(lingerBecause(ProtocolError))
}

// tooSlow ends a connection whose request's head took longer than the
// personality allows.
func (h *http1Conn) tooSlow() {
	if h.c.srv.set.character.says408 {
		writeAll(h.c.nc, statusLine(http.StatusRequestTimeout)+"Content-Length: 0\r\nConnection: close\r\n\r\n")
	}
	h.c.shut(finBecause(RequestTimeout))
}

// maxLeftover is how much of a request's body is read past to save the
// connection.
const maxLeftover = 256 << 10

// afterwards decides what becomes of the connection when the response has been
// written.
func (w *http1Wire) afterwards() bool {
	c := w.h.c
	if w.ending == nil && !w.x.body.complete() {
		w.settleBody()
	}
	w.clearDeadlines()
	if w.ending != nil {
		if w.closeAfter > 0 {
			w.x.pause(w.closeAfter)
		}
		if w.ending.how != closeHalf {
			c.shut(*w.ending)
			return false
		}
		c.halfClose(*w.ending)
	}
	c.becomeIdle()
	return true
}

// decideEnd settles, when the head is about to be written, whether this
// response is the connection's last, and whether it says so. Faults come first:
// they are there to contradict the rest.
func (w *http1Wire) decideEnd(h http.Header) {
	c, x := w.h.c, w.x
	if f, ok := x.plan.get(SilentClose, AnnounceClose, AnnounceStay, AnnounceCloseLate, CloseAfterRequests, CloseAfterAge,
		EarlyAnswer, CloseDelimited, HTTP09Answer, HalfClose); ok {
		e := finByFault(f.Kind)
		w.ending = &e
		w.announce = f.Announced
		switch f.Kind {
		case AnnounceStay:
			w.ending, w.announce = nil, true
		case AnnounceClose:
			w.announce = true
		case AnnounceCloseLate:
			w.announce = true
			w.closeAfter = c.srv.rules.delay(f)
		case CloseDelimited:
			w.closeAfter = f.After
		case HalfClose:
			e.how, e.linger = closeHalf, f.After
		case EarlyAnswer:
			if f.After > 0 {
				e.how, e.linger = closeLinger, f.After
			}
		}
		return
	}
	if w.ending != nil { // a body that will not be read
		w.announce = true
		return
	}
	limits := &c.srv.set.character
	var e ending
	switch {
	case x.request.Close:
		e = finBecause(RequestAskedClose)
	case headerHasToken(h, "Connection", "close"):
		e = finBecause(HandlerAskedClose)
	case c.isDraining() && limits.leaving.endsWithAnswer():
		e = lingerBecause(Draining)
		w.ending, w.announce = &e, limits.leaving.busy == busyAnnounced || w.h.late
		return
	case limits.requests > 0 && x.nth >= limits.requests, limits.age > 0 && time.Since(c.opened) >= limits.age:
		e = finBecause(RequestLimit)
	default:
		return
	}
	w.ending, w.announce = &e, true
}

// settleBody reads past what the handler left of the request's body, if that is
// little, so that the connection can be used again.
func (w *http1Wire) settleBody() {
	if w.ending != nil || w.x.body.complete() {
		return
	}
	if !w.x.body.awaited() {
		if io.CopyN(io.Discard, w.x.body, maxLeftover); w.x.body.complete() {
			return
		}
		// Exactly at the limit the end may just not have been seen.
		if w.x.body.Read(make([]byte, 1)); w.x.body.complete() {
			return
		}
	}
	e := lingerBecause(BodyLeftUnread)
	w.ending = &e
}

func (w *http1Wire) awaitClient() {
	_, err := io.Copy(io.Discard, w.h.br)
	if err == nil {
		err = io.EOF
	}
	w.h.c.shut(endOfRead(err))
}

func (w *http1Wire) withheld(f Fault) {
	switch f.Kind {
	case RstAfterRequest:
		w.h.c.shut(rstByFault(f.Kind))
		return
	case RawAnswer:
		writeAll(w.h.c.nc, f.Value)
	case RandomBytes:
		w.h.c.nc.Write(w.h.c.srv.rules.randomBytes(cmp.Or(f.Bytes, 64)))
	}
	w.h.c.shut(finByFault(f.Kind))
}

func (w *http1Wire) panicked() {
	w.h.bw.Flush() // what was flushed to the client's eyes stays cut off
	w.h.c.shut(finBecause(HandlerPanicked))
}

func (w *http1Wire) failed(err error) {
	switch {
	case errors.Is(err, errShortBody):
		w.h.c.shut(finBecause(HandlerAskedClose))
	case errors.Is(err, errCut):
		// already shut
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.h.c.shut(finBecause(HandlerAskedClose))
	default:
		w.h.c.shut(ending{by: ByClient, reason: ClientReset})
	}
}

func headerHasToken(h http.Header, name, token string) bool {
	for _, v := range h[name] {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}
