package faultserver

import (
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// write queues the frames that f writes to the framer.
func (h *http2Conn) write(f func()) {
	h.mu.Lock()
	h.writeLocked(f)
	h.mu.Unlock()
}

func (h *http2Conn) writeLocked(f func()) {
	if h.dead {
		return
	}
	before := h.out.Len()
	f()
	h.outEnd += int64(h.out.Len() - before)
	h.queued.Signal()
}

// maxReplies is x/net/http2's bound of what a client may draw and not read: more
// is an attempt to exhaust memory.
const maxReplies = 10_000

// reply is write for a frame that the client can draw at will.
func (h *http2Conn) reply(f func()) {
	h.mu.Lock()
	h.replyLocked(f)
	h.mu.Unlock()
}

func (h *http2Conn) replyLocked(f func()) {
	h.replies++
	h.writeLocked(f)
}

func (h *http2Conn) isFlooded() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.replies > maxReplies
}

// writeLoop carries the queue to the connection until that ends.
func (h *http2Conn) writeLoop() {
	h.c.mu.Lock()
	nc := h.c.nc
	h.c.mu.Unlock()
	var p []byte
	for {
		h.mu.Lock()
		for (h.out.Len() == 0 || h.held) && !h.dead {
			h.queued.Wait()
		}
		if h.dead {
			h.mu.Unlock()
			return
		}
		p = append(p[:0], h.out.Bytes()...)
		h.out.Reset()
		h.replies = 0
		h.writing = true
		h.mu.Unlock()

		_, err := nc.Write(p)
		h.mu.Lock()
		h.writing = false
		if err == nil {
			h.written += int64(len(p))
		}
		h.changed.Broadcast()
		h.mu.Unlock()
		if err != nil {
			h.c.shut(ending{by: ByClient, reason: ClientReset})
			return
		}
	}
}

// awaitWritten waits until everything queued so far has been written, and is
// false if the connection ended before or the writer is held. A write under way
// decides for itself: a client that has all it wants may close before the writer
// is back.
func (h *http2Conn) awaitWritten() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	upTo := h.outEnd
	for h.written < upTo && (!h.dead || h.writing) && !h.held {
		h.changed.Wait()
	}
	return h.written >= upTo
}

// shutAfterWriting ends the connection when the queue is empty, or after a
// second with a client that does not read.
func (h *http2Conn) shutAfterWriting(e ending) {
	stuck := time.AfterFunc(time.Second, func() { h.c.raw.Close() })
	h.awaitWritten()
	stuck.Stop()
	if e.wait > 0 {
		t := time.NewTimer(e.wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-h.c.ctx.Done():
		}
	}
	h.c.shut(e)
}

// writeHeadersLocked queues a header block in as many frames as it takes.
func (h *http2Conn) writeHeadersLocked(id uint32, status string, header http.Header, end bool) {
	h.writeLocked(func() { h.frameHeaders(id, status, header, end) })
}

// frameHeaders is for use within writeLocked.
func (h *http2Conn) frameHeaders(id uint32, status string, header http.Header, end bool) {
	h.block.Reset()
	if status != "" {
		h.enc.WriteField(field(":status", status))
	}
	for name, values := range header {
		if connectionSpecific[name] {
			continue
		}
		for _, v := range values {
			h.enc.WriteField(field(strings.ToLower(name), v))
		}
	}
	rest := h.block.Bytes()
	for first := true; first || len(rest) > 0; first = false {
		part := rest[:min(len(rest), int(h.maxFrame))]
		rest = rest[len(part):]
		if first {
			h.fr.WriteHeaders(http2.HeadersFrameParam{
				StreamID: id, BlockFragment: part, EndStream: end, EndHeaders: len(rest) == 0,
			})
		} else {
			h.fr.WriteContinuation(id, len(rest) == 0, part)
		}
	}
}

// connectionSpecific headers have no place in HTTP/2 (RFC 9113 section 8.2.2).
var connectionSpecific = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Transfer-Encoding": true, "Upgrade": true,
}
