package faultserver

import (
	"io"
	"net/http"
	"sync"
)

// requestBody is the body as the handler reads it: it counts and hashes for the
// journal, asks for the body if the client waits to be asked (Expect:
// 100-continue), and breaks off if a fault says so.
type requestBody struct {
	x    *exchange
	read *http.Request // as it was read; the handler's is a copy
	src  io.ReadCloser
	none bool // there is no body at all

	mu      sync.Mutex // guards what follows
	ask     func()     // sends 100 Continue; nil if nobody waits for it, or after
	n       int64
	hash    uint64
	left    int64 // until the cut; negative: no cut
	stall   int64 // until the stall; negative: no stall, or no more
	ended   bool  // io.EOF was seen
	sealed  bool  // the journal knows the final count
	readErr error
}

func newRequestBody(x *exchange, read *http.Request) *requestBody {
	return &requestBody{x: x, read: read, src: read.Body, none: read.Body == http.NoBody, hash: bodyHashSeed, left: -1, stall: -1}
}

// onFirstRead makes the first Read call ask.
func (b *requestBody) onFirstRead(ask func()) { b.ask = b.x.asking(ask) }

// cutAfter makes reads fail after n more bytes.
func (b *requestBody) cutAfter(n int64) { b.left = n }

// awaited reports whether the client still waits to be asked for the body.
func (b *requestBody) awaited() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ask != nil
}

// Read does not hold the lock while it waits for the client: a handler may
// return while something it started still reads.
func (b *requestBody) Read(p []byte) (int, error) {
	if b.none {
		return 0, io.EOF
	}
	b.mu.Lock()
	b.stallLocked()
	if b.readErr == nil && b.left == 0 {
		b.readErr = io.ErrUnexpectedEOF
	}
	if err := b.readErr; err != nil {
		b.mu.Unlock()
		return 0, err
	}
	ask := b.ask
	b.ask = nil
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	if b.stall > 0 && int64(len(p)) > b.stall {
		p = p[:b.stall]
	}
	b.mu.Unlock()

	if ask != nil {
		ask()
	}
	n, err := b.src.Read(p)

	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += int64(n)
	if b.left > 0 {
		b.left -= int64(n)
	}
	if b.stall > 0 {
		b.stall -= int64(n)
	}
	if b.x.row.KeyDerived {
		b.hash = hashMore(b.hash, p[:n])
	}
	b.readErr = err
	if err == io.EOF {
		b.ended = true
		if b.x.request.Trailer == nil { // net/http sets those that were not declared now
			b.x.request.Trailer = b.read.Trailer
		}
		b.sealLocked()
	}
	return n, err
}

// Close leaves the rest unread; it is dealt with after the handler.
func (b *requestBody) Close() error { return nil }

// complete reports whether the body was read to its end.
func (b *requestBody) complete() bool {
	if b.none {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// seal tells the journal what was read.
func (b *requestBody) seal() {
	if b.none {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sealLocked()
}

func (b *requestBody) sealLocked() {
	if !b.sealed {
		b.sealed = true
		b.x.c.srv.journal.bodyRead(b.x.row, b.n, b.hash, b.ended)
	}
}
