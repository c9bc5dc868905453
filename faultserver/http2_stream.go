package faultserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// stream is one HTTP/2 stream. Its connection's lock guards it.
type stream struct {
	h  *http2Conn
	id uint32

	sendWindow int64
	recvWindow int64 // what the client may still send
	withheld   bool  // nothing is granted
	arrived    *sync.Cond
	body       bytes.Buffer // arrived and unread
	unacked    int64        // read and not yet granted again
	length     int64        // announced, or -1
	received   int64
	remoteEnd  bool  // END_STREAM was received
	localEnd   bool  // END_STREAM was queued
	err        error // the stream or the connection ended otherwise

	readLimit, writeLimit streamLimit // the handler's
	tooLate               bool        // to read what has not arrived

	trailer http.Header // arrived; the request's own is its handler's
	request *http.Request
	cancel  context.CancelFunc // nil until the exchange begins
}

var (
	errConnEnded   = errors.New("faultserver: the connection has ended")
	errStreamReset = errors.New("faultserver: the stream was reset")
)

func field(name, value string) hpack.HeaderField { return hpack.HeaderField{Name: name, Value: value} }

// headers begins a stream, or ends one with trailers.
func (h *http2Conn) headers(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	h.mu.Lock()
	if st := h.streams[id]; st != nil {
		defer h.mu.Unlock()
		return st.trailersLocked(f)
	}
	switch {
	case id%2 == 0:
		h.mu.Unlock()
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case id <= h.maxID:
		skipped := h.skipped.has(id)
		h.mu.Unlock()
		if skipped {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil // a stream that has ended; its client may not know yet
	case h.refuseAt != 0 && id >= h.refuseAt: // disowned by GOAWAY
		h.mu.Unlock()
		return nil
	}
	h.skipped.add(h.maxID, id)
	h.maxID = id
	full := int64(len(h.streams)) >= int64(h.inForce.maxStreams)
	h.mu.Unlock()
	if full {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	r, ok := h.request(f)
	if !ok {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	st := &stream{h: h, id: id, length: r.ContentLength, remoteEnd: f.StreamEnded(), request: r}
	st.arrived = sync.NewCond(&h.mu)
	if !st.remoteEnd {
		r.Body = streamBody{st}
	}
	return h.begin(st)
}

// request makes a request of a header block; it is false if the block is
// malformed.
func (h *http2Conn) request(f *http2.MetaHeadersFrame) (*http.Request, bool) {
	method, path := f.PseudoValue("method"), f.PseudoValue("path")
	authority := f.PseudoValue("authority")
	r := &http.Request{
		Method: method, Proto: "HTTP/2.0", ProtoMajor: 2, Header: make(http.Header), Body: http.NoBody,
		Host: authority, RemoteAddr: h.c.raw.RemoteAddr().String(), RequestURI: path, TLS: h.tls, ContentLength: -1,
	}
	for _, hf := range f.RegularFields() {
		name := http.CanonicalHeaderKey(hf.Name)
		if connectionSpecific[name] {
			return nil, false
		}
		r.Header.Add(name, hf.Value)
	}
	if cookies := r.Header["Cookie"]; len(cookies) > 1 {
		r.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	if r.Host == "" {
		r.Host = r.Header.Get("Host")
	}
	r.Header.Del("Host")
	for _, names := range r.Header["Trailer"] {
		for name := range strings.SplitSeq(names, ",") {
			if r.Trailer == nil {
				r.Trailer = make(http.Header)
			}
			r.Trailer[http.CanonicalHeaderKey(strings.TrimSpace(name))] = nil
		}
	}
	r.Header.Del("Trailer")
	if cl := r.Header.Get("Content-Length"); cl != "" {
		n, err := strconv.ParseInt(cl, 10, 64)
		if err != nil || n < 0 {
			return nil, false
		}
		r.ContentLength = n
	}
	if f.StreamEnded() {
		if r.ContentLength > 0 {
			return nil, false
		}
		r.ContentLength = 0
	}
	var err error
	switch {
	case method == "" || f.Truncated:
		return nil, false
	case method == http.MethodConnect:
		r.URL, r.RequestURI = &url.URL{Host: authority}, authority
	case path == "" || f.PseudoValue("scheme") == "":
		return nil, false
	default:
		r.URL, err = url.ParseRequestURI(path)
	}
	return r, err == nil
}

func (st *stream) trailersLocked(f *http2.MetaHeadersFrame) error {
	switch {
	case st.remoteEnd:
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeStreamClosed}
	case !f.StreamEnded() || len(f.PseudoFields()) > 0:
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	st.trailer = make(http.Header)
	for _, hf := range f.RegularFields() {
		st.trailer.Add(hf.Name, hf.Value)
	}
	return st.endRemoteLocked()
}

// handOverTrailersLocked is for whoever has read the body to its end: until then the
// handler may use the map, to clone the request for example. Of what arrived
// only what was declared counts, as in net/http.
func (st *stream) handOverTrailersLocked() {
	for name, values := range st.trailer {
		if _, declared := st.request.Trailer[name]; declared {
			st.request.Trailer[name] = values
		}
	}
	st.trailer = nil
}

func (st *stream) endRemoteLocked() error {
	if st.length >= 0 && st.received != st.length {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	st.remoteEnd = true
	st.arrived.Broadcast()
	return nil
}

// data takes in a part of a request's body. Whatever is not kept is granted
// again at once, so that a stream that ended does not starve the others.
func (h *http2Conn) data(f *http2.DataFrame) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := f.Data()
	size := int64(f.Length) // padding counts for flow control
	st := h.streams[f.StreamID]
	if h.recvWindow < size {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	h.recvWindow -= size
	switch {
	case st == nil && (f.StreamID > h.maxID && h.refuseAt == 0):
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case st == nil:
		h.grantLocked(nil, size)
		return nil
	case st.remoteEnd:
		h.grantLocked(nil, size)
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeStreamClosed}
	case st.recvWindow < size:
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	case st.length >= 0 && st.received+int64(len(p)) > st.length:
		h.grantLocked(nil, size)
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	st.recvWindow -= size
	st.received += int64(len(p))
	h.grantLocked(st, size-int64(len(p)))
	st.body.Write(p)
	st.arrived.Broadcast()
	if f.StreamEnded() {
		return st.endRemoteLocked()
	}
	return nil
}

// grantLocked gives window back, for the connection and, if it is still being
// sent on, the stream; in portions, to save frames.
func (h *http2Conn) grantLocked(st *stream, n int64) {
	if n <= 0 {
		return
	}
	h.recvUnacked += n
	h.grantConnLocked(connWindow / 4)
	if st == nil || st.remoteEnd || st.err != nil {
		return
	}
	st.unacked += n
	h.grantStreamLocked(st)
}

func (h *http2Conn) grantConnLocked(least int64) {
	if h.recvUnacked < least || h.connWithheld {
		return
	}
	grant := h.recvUnacked
	h.recvUnacked = 0
	h.recvWindow += grant
	h.replyLocked(func() { h.fr.WriteWindowUpdate(0, uint32(grant)) })
}

func (h *http2Conn) grantStreamLocked(st *stream) {
	if st.unacked < max(1, h.inForce.window/4) || st.withheld {
		return
	}
	grant := st.unacked
	st.unacked = 0
	st.recvWindow += grant
	h.replyLocked(func() { h.fr.WriteWindowUpdate(st.id, uint32(grant)) })
}

// streamBody is the request's body as it arrives.
type streamBody struct{ st *stream }

func (b streamBody) Read(p []byte) (int, error) {
	st := b.st
	st.h.mu.Lock()
	defer st.h.mu.Unlock()
	for st.body.Len() == 0 && !st.remoteEnd && !st.tooLate && st.err == nil {
		st.arrived.Wait()
	}
	switch {
	case st.err != nil:
		return 0, st.err
	case st.body.Len() == 0 && !st.remoteEnd:
		return 0, os.ErrDeadlineExceeded
	case st.body.Len() == 0:
		st.handOverTrailersLocked()
		return 0, io.EOF
	}
	n, _ := st.body.Read(p)
	st.h.grantLocked(st, int64(n))
	if st.body.Len() == 0 && st.remoteEnd {
		st.handOverTrailersLocked()
		return n, io.EOF
	}
	return n, nil
}

func (streamBody) Close() error { return nil }

// abortLocked ends the stream from outside: its handler's reads and writes
// fail, its context is canceled.
func (st *stream) abortLocked(err error) {
	if st.err == nil {
		st.err = err
	}
	st.h.grantLocked(nil, int64(st.body.Len()))
	st.body.Reset()
	delete(st.h.streams, st.id)
	st.arrived.Broadcast()
	st.h.changed.Broadcast()
	if st.cancel != nil {
		st.cancel()
	}
}

// resetStream sends RST_STREAM, for a stream that exists or not.
func (h *http2Conn) resetStream(id uint32, code http2.ErrCode) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.resetStreamLocked(id, code)
}

func (h *http2Conn) resetStreamLocked(id uint32, code http2.ErrCode) {
	h.replyLocked(func() { h.fr.WriteRSTStream(id, code) })
	if st := h.streams[id]; st != nil {
		st.abortLocked(errStreamReset)
	}
}

func (h *http2Conn) clientReset(f *http2.RSTStreamFrame) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.StreamID > h.maxID && h.refuseAt == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if st := h.streams[f.StreamID]; st != nil {
		st.abortLocked(errStreamReset)
	}
	return nil
}
