package faultserver

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/http2"
)

// begin gives a new stream its exchange and its goroutine, unless a fault or
// the connection's end is there first.
func (h *http2Conn) begin(st *stream) error {
	c := h.c
	h.mu.Lock()
	if h.dead {
		h.mu.Unlock()
		return nil
	}
	st.sendWindow, st.recvWindow = h.initialSend, h.inForce.window
	h.running++
	alone := h.running == 1
	h.streams[st.id] = st
	h.mu.Unlock()

	var nth int
	var idleFor time.Duration
	if alone {
		var ok bool
		if nth, idleFor, ok = c.becomeBusy(); !ok {
			return nil // the connection ended while the request was on its way
		}
	} else {
		c.mu.Lock()
		c.requests++
		nth = c.requests
		c.mu.Unlock()
	}

	x := newExchange(c, st.request, nth, idleFor)
	w := &http2Wire{h: h, st: st, x: x}
	x.wire = w
	if headerHasToken(st.request.Header, "Expect", "100-continue") {
		x.body.onFirstRead(func() { w.interim(http.StatusContinue, nil) })
	}
	h.mu.Lock()
	st.cancel = x.cancel
	if st.err != nil {
		x.cancel()
	}
	h.mu.Unlock()

	if f, ok := x.plan.get(GoAway); ok {
		h.goAwayGracefully(ending{how: closeLinger, by: ServerFIN, reason: FaultStruck, fault: f.Kind}, f.After)
	} else if p := &c.srv.set.character; p.requests > 0 && nth >= p.requests || p.age > 0 && time.Since(c.opened) >= p.age {
		h.goAwayGracefully(lingerBecause(RequestLimit), 0)
	}
	h.beside(x.plan, st)
	if f, ok := x.plan.get(GoAwayBelow, GoAwayTwice); ok {
		h.disown(st.id, f)
		h.mu.Lock()
		st.abortLocked(errStreamReset)
		h.mu.Unlock()
		x.cancel()
		c.srv.wg.Go(h.finished) // it may have been the only one
		return nil
	}
	c.srv.wg.Go(func() {
		defer h.finished()
		defer x.cancel()
		defer st.stopLimits()
		if h.awaitRelease(st) && x.run() {
			w.afterwards()
		}
	})
	return nil
}

// finished ends an exchange's part in the connection's life.
func (h *http2Conn) finished() {
	h.mu.Lock()
	h.running--
	empty := h.running == 0
	end := h.onEmpty
	if empty && end == nil {
		// Under h's lock, so that the next stream, which needs it to count
		// itself, cannot come in between.
		h.c.becomeIdle()
	}
	h.mu.Unlock()
	if empty && end != nil {
		h.shutAfterWriting(*end)
	}
}

// http2Wire writes one exchange's response on its stream.
type http2Wire struct {
	h    *http2Conn
	st   *stream
	x    *exchange
	sent int64 // of the body
}

func (w *http2Wire) writer(r *response) http.ResponseWriter { return r }

// gone is the reason why nothing can be written to the stream.
func (w *http2Wire) goneLocked() error {
	switch {
	case w.st.err != nil:
		return w.st.err
	case w.h.dead:
		return errConnEnded
	}
	return nil
}

func (w *http2Wire) interim(status int, header http.Header) error {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	if err := w.goneLocked(); err != nil {
		return err
	}
	w.h.writeHeadersLocked(w.st.id, strconv.Itoa(status), header, false)
	return nil
}

func (w *http2Wire) head(status int, header http.Header, length int64, end bool) error {
	if length >= 0 && status != http.StatusNoContent {
		header.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	if _, ok := header["Date"]; !ok {
		header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	if f, ok := w.x.plan.get(headSpoilers...); ok {
		return w.spoilHead(f, status, header)
	}
	f, breaks := w.x.plan.get(CloseInBody, ResetStreamAfterHeaders)
	over := end && !breaks && !w.endsLater()
	w.h.mu.Lock()
	if err := w.goneLocked(); err != nil {
		w.h.mu.Unlock()
		return err
	}
	if flood, ok := w.x.plan.get(ContinuationFlood); ok {
		w.h.writeFloodedHeadersLocked(w.st.id, strconv.Itoa(status), header, over, flood)
	} else {
		w.h.writeHeadersLocked(w.st.id, strconv.Itoa(status), header, over)
	}
	if flood, ok := w.x.plan.get(EmptyDataFlood); ok {
		w.h.repeatLocked(flood.Count, func() { w.h.fr.WriteData(w.st.id, false, nil) })
	}
	if over {
		w.endLocalLocked()
	}
	w.h.mu.Unlock()
	if breaks && (f.Bytes == 0 || end) {
		return w.cut(f)
	}
	return nil
}

// endLocalLocked is called when END_STREAM has been queued. The stream is then
// over for the client, who may open the next in its place; if its request has
// not ended, it need not go on (RFC 9113 section 8.1).
func (w *http2Wire) endLocalLocked() {
	w.st.localEnd = true
	if f, ok := w.x.plan.get(ResetStreamAfterAnswer); ok {
		w.h.writeLocked(func() { w.h.fr.WriteRSTStream(w.st.id, http2.ErrCode(f.Code)) })
	} else if !w.st.remoteEnd {
		w.h.writeLocked(func() { w.h.fr.WriteRSTStream(w.st.id, http2.ErrCodeNo) })
	}
	if !w.st.remoteEnd || w.st.body.Len() > 0 {
		// Whoever still reads the request is told that it is over.
		w.st.err = http.ErrBodyReadAfterClose
		w.st.arrived.Broadcast()
	}
	w.h.grantLocked(nil, int64(w.st.body.Len()))
	w.st.body.Reset()
	delete(w.h.streams, w.st.id)
}

// cut breaks the response off as the fault says.
func (w *http2Wire) cut(f Fault) error {
	w.x.c.srv.journal.answered(w.x.row, false)
	if f.Kind == ResetStreamAfterHeaders {
		w.h.resetStream(w.st.id, http2.ErrCode(f.Code))
	} else {
		w.h.shutAfterWriting(finByFault(f.Kind))
	}
	return errCut
}

func (w *http2Wire) body(p []byte, last bool) error {
	if f, ok := w.x.plan.get(OversizeFrame, CloseInFrame); ok && w.spoilsData(f) {
		return w.spoilData(f, p)
	}
	f, breaks := w.x.plan.get(CloseInBody, ResetStreamAfterHeaders)
	cuts := breaks && w.sent+int64(len(p)) >= f.Bytes
	if cuts {
		p = p[:f.Bytes-w.sent]
	}
	w.sent += int64(len(p))
	if err := w.data(p, last && !breaks && !w.endsLater()); err != nil {
		return err
	}
	if cuts {
		return w.cut(f)
	}
	return nil
}

// data sends DATA frames as the client's windows allow.
func (w *http2Wire) data(p []byte, last bool) error {
	h := w.h
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(p) > 0 {
		if err := w.goneLocked(); err != nil {
			return err
		}
		room := min(h.sendWindow, w.st.sendWindow, h.maxFrame, 16384, int64(len(p)))
		if room <= 0 || h.outEnd-h.written > outLimit {
			h.changed.Wait()
			continue
		}
		part := p[:room]
		p = p[room:]
		h.sendWindow -= room
		w.st.sendWindow -= room
		end := last && len(p) == 0
		h.writeLocked(func() { h.fr.WriteData(w.st.id, end, part) })
		if end {
			w.endLocalLocked()
		}
	}
	return nil
}

func (w *http2Wire) end(trailers http.Header) error {
	if f, ok := w.x.plan.get(CloseInBody, ResetStreamAfterHeaders); ok {
		return w.cut(f) // the body was shorter than the cut: its end is withheld
	}
	if f, ok := w.x.plan.get(BadTrailers); ok {
		return w.spoilTrailers(f, trailers)
	}
	if f, ok := w.x.plan.get(OversizeFrame, CloseInFrame); ok && w.spoilsData(f) && !w.st.localEnd {
		return w.spoilData(f, make([]byte, 16)) // there was no body
	}
	w.h.mu.Lock()
	if !w.st.localEnd {
		if err := w.goneLocked(); err != nil {
			w.h.mu.Unlock()
			return err
		}
		if len(trailers) > 0 {
			w.h.writeHeadersLocked(w.st.id, "", trailers, true)
		} else {
			w.h.writeLocked(func() { w.h.fr.WriteData(w.st.id, true, nil) })
		}
		w.endLocalLocked()
	}
	w.h.mu.Unlock()
	if !w.h.awaitWritten() {
		return errConnEnded
	}
	return nil
}

func (w *http2Wire) flush() error {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	return w.goneLocked() // queued is as good as flushed
}

// settleBody has nothing to do: an unread body holds up only its own stream.
func (w *http2Wire) settleBody() {}

func (w *http2Wire) awaitClient() { <-w.x.request.Context().Done() }

func (w *http2Wire) withheld(f Fault) {
	switch f.Kind {
	case ResetStream:
		w.h.resetStream(w.st.id, http2.ErrCode(f.Code))
	case GoAwayError:
		w.h.goAwayWith(f.Code, f.Value, finByFault(f.Kind))
	case RstAfterRequest:
		w.h.c.shut(rstByFault(f.Kind))
	default:
		w.h.c.shut(finByFault(f.Kind))
	}
}

func (w *http2Wire) panicked() { w.h.resetStream(w.st.id, http2.ErrCodeInternal) }

func (w *http2Wire) failed(err error) {
	if errors.Is(err, errShortBody) {
		w.h.resetStream(w.st.id, http2.ErrCodeInternal)
	}
}

// afterwards does what faults have in store for after a complete response.
func (w *http2Wire) afterwards() {
	if w.x.plan.has(DataOnClosedStream) {
		w.h.write(func() { w.h.fr.WriteData(w.st.id, false, []byte("too late")) })
	}
	f, ok := w.x.plan.get(SilentClose, CloseAfterRequests, CloseAfterAge)
	switch {
	case !ok:
	case f.Announced:
		w.h.goAwayGracefully(ending{how: closeLinger, by: ServerFIN, reason: FaultStruck, fault: f.Kind}, 0)
	default:
		w.h.c.shut(finByFault(f.Kind))
	}
}
