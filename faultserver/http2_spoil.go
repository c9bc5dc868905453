package faultserver

import (
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
)

// headSpoilers are the kinds that send something else than the response's head,
// and nothing after it.
var headSpoilers = []Kind{BadHPACK, BadHeaders, HeadersInterrupted, CloseInFrame}

// endsLater reports whether END_STREAM is not to be sent with the head or the
// body, so that end is the one to send it.
func (w *http2Wire) endsLater() bool {
	for _, f := range w.x.plan {
		switch f.Kind {
		case BadTrailers, EmptyDataFlood:
			return true
		case OversizeFrame, CloseInFrame:
			return w.spoilsData(f)
		}
	}
	return false
}

// spoilHead writes a head as the fault has it.
func (w *http2Wire) spoilHead(f Fault, status int, header http.Header) error {
	h, id := w.h, w.st.id
	if f.Kind == CloseInFrame && f.choice() == "data" {
		h.mu.Lock()
		defer h.mu.Unlock()
		if err := w.goneLocked(); err != nil {
			return err
		}
		h.writeHeadersLocked(id, strconv.Itoa(status), header, false)
		return nil // spoilData follows
	}
	w.x.c.srv.journal.answered(w.x.row, false)
	h.mu.Lock()
	if err := w.goneLocked(); err != nil {
		h.mu.Unlock()
		return err
	}
	switch f.Kind {
	case BadHPACK:
		h.writeLocked(func() {
			// The index 0 stands for nothing: RFC 7541 section 6.1.
			h.fr.WriteHeaders(http2.HeadersFrameParam{
				StreamID: id, BlockFragment: []byte{0x80}, EndStream: true, EndHeaders: true,
			})
		})
		w.lostLocked()
	case BadHeaders:
		h.writeBlockLocked(id, true, badHeaders(f.choice(), strconv.Itoa(status), header))
		w.lostLocked()
	case HeadersInterrupted:
		h.writeInterruptedLocked(id, f.choice(), strconv.Itoa(status))
		w.lostLocked()
	case CloseInFrame:
		h.writeCutLocked(f.Bytes, func() { h.frameHeaders(id, strconv.Itoa(status), header, true) })
		h.mu.Unlock()
		h.shutAfterWriting(finByFault(f.Kind))
		return errCut
	}
	h.mu.Unlock()
	return errCut
}

// lostLocked forgets a stream for which nothing more can be sent; what its
// client still sends is granted again and dropped.
func (w *http2Wire) lostLocked() { w.st.abortLocked(errStreamReset) }

// badHeaders is a head with the given mistake.
func badHeaders(mistake, status string, header http.Header) [][2]string {
	head := [][2]string{{":status", status}}
	header.Del("Content-Length") // the body will not come
	rest := regularFields(header)
	switch mistake {
	case "missing-status":
		head = nil
	case "double-status":
		head = append(head, [2]string{":status", status})
	case "junk-status":
		head[0][1] = "abc"
	case "late-status":
		return append(rest, head...)
	case "unknown-pseudo":
		head = append(head, [2]string{":fault", "1"})
	case "request-pseudo":
		head = append(head, [2]string{":path", "/"})
	case "uppercase-name":
		rest = append(rest, [2]string{"X-Fault", "1"})
	case "connection-header":
		rest = append(rest, [2]string{"connection", "keep-alive"}, [2]string{"transfer-encoding", "chunked"})
	}
	return append(head, rest...)
}

func regularFields(header http.Header) [][2]string {
	var fields [][2]string
	for name, values := range header {
		if connectionSpecific[name] {
			continue
		}
		for _, v := range values {
			fields = append(fields, [2]string{strings.ToLower(name), v})
		}
	}
	return fields
}

// writeBlockLocked queues a header block of fields as they are.
func (h *http2Conn) writeBlockLocked(id uint32, end bool, fields [][2]string) {
	h.writeLocked(func() {
		h.block.Reset()
		for _, f := range fields {
			h.enc.WriteField(field(f[0], f[1]))
		}
		h.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, BlockFragment: h.block.Bytes(), EndStream: end, EndHeaders: true,
		})
	})
}

func (h *http2Conn) writeInterruptedLocked(id uint32, by, status string) {
	h.writeLocked(func() {
		h.block.Reset()
		h.enc.WriteField(field(":status", status))
		h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.block.Bytes()})
		switch by {
		case "ping":
			h.fr.WritePing(false, [8]byte{})
		case "data":
			h.fr.WriteData(id, false, []byte("between"))
		case "settings":
			h.fr.WriteRawFrame(http2.FrameSettings, 0, 0, nil)
		}
	})
}

// writeFloodedHeadersLocked queues a head, and Count CONTINUATION frames before
// its last.
func (h *http2Conn) writeFloodedHeadersLocked(id uint32, status string, header http.Header, end bool, f Fault) {
	h.writeLocked(func() {
		h.block.Reset()
		h.enc.WriteField(field(":status", status))
		h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.block.Bytes(), EndStream: end})
		filler := strings.Repeat("f", int(f.Bytes))
		for range f.Count {
			h.block.Reset()
			if f.Bytes > 0 {
				// Sensitive: it must not displace what the table holds.
				flood := field("x-flood", filler)
				flood.Sensitive = true
				h.enc.WriteField(flood)
			}
			h.fr.WriteContinuation(id, false, h.block.Bytes())
		}
		h.block.Reset()
		for _, hf := range regularFields(header) {
			h.enc.WriteField(field(hf[0], hf[1]))
		}
		h.fr.WriteContinuation(id, true, h.block.Bytes())
	})
}

// writeCutLocked queues the first n bytes (0: half) of the frame that write
// writes, but never all.
func (h *http2Conn) writeCutLocked(n int64, write func()) {
	h.writeLocked(func() {
		before := h.out.Len()
		write()
		whole := int64(h.out.Len() - before)
		if n == 0 {
			n = whole / 2
		}
		h.out.Truncate(before + int(min(n, whole-1)))
	})
}

// spoilsData reports whether the fault strikes the response's first DATA frame.
func (w *http2Wire) spoilsData(f Fault) bool {
	if f.Kind == CloseInFrame {
		return f.choice() == "data"
	}
	return f.Kind == OversizeFrame && w.h.clientMaxFrame() < maxFrameSize
}

// maxFrameSize is the greatest possible, RFC 9113 section 4.2.
const maxFrameSize = 1<<24 - 1

func (h *http2Conn) clientMaxFrame() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.maxFrame
}

// spoilData sends the first DATA frame as the fault has it, whatever the
// client's windows.
func (w *http2Wire) spoilData(f Fault, p []byte) error {
	h, id := w.h, w.st.id
	w.x.c.srv.journal.answered(w.x.row, false)
	h.mu.Lock()
	if err := w.goneLocked(); err != nil {
		h.mu.Unlock()
		return err
	}
	if f.Kind == CloseInFrame {
		p = p[:min(len(p), int(h.maxFrame), 16384)]
		h.writeCutLocked(f.Bytes, func() { h.fr.WriteData(id, true, p) })
		h.mu.Unlock()
		h.shutAfterWriting(finByFault(f.Kind))
		return errCut
	}
	long := make([]byte, h.maxFrame+1)
	copy(long, p)
	h.writeLocked(func() { h.fr.WriteData(id, true, long) })
	w.lostLocked()
	h.mu.Unlock()
	return errCut
}

// spoilTrailers sends malformed trailers behind the complete body.
func (w *http2Wire) spoilTrailers(f Fault, trailers http.Header) error {
	fields := regularFields(trailers)
	end := true
	switch f.choice() {
	case "pseudo":
		fields = append([][2]string{{":status", "200"}}, fields...)
	case "no-end":
		end = false
		fields = append(fields, [2]string{"x-fault", "1"})
	case "uppercase-name":
		fields = append(fields, [2]string{"X-Fault", "1"})
	case "connection-header":
		fields = append(fields, [2]string{"connection", "keep-alive"})
	}
	w.x.c.srv.journal.answered(w.x.row, false)
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	if err := w.goneLocked(); err != nil {
		return err
	}
	w.h.writeBlockLocked(w.st.id, end, fields)
	w.lostLocked()
	return errCut
}
