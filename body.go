package idlewise

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
)

// A payload is a request's body through all attempts. It sees to it that the
// caller's Body is closed exactly once, and knows whether the body can be
// sent again.
//
// Bodies that net/http has special ways for are handed to it as they are:
// those in memory, which it sends in one packet with the header, and files,
// which it sends with sendfile. Of the first kind Close does nothing, and
// their length tells whether they were read; of the second, closing again
// does no harm.
type payload struct {
	first   *http.Request
	current io.ReadCloser
	memory  interface{ Len() int } // current, if it is in memory
	length  int                    // of memory before the attempt
	guard   *guard                 // around current, if it is neither memory nor file
	file    bool
	offered bool // current was handed to net/http
	spent   bool // closed, and there is no other

	lives lifetimes  // that the body may prolong
	kept  []byte     // of a body in memory, for the policy's retries; see record
	store *byteStore // where room for it is taken from
}

// begin makes b the body of req.
func (b *payload) begin(req *http.Request) {
	b.first = req
	if req.Body != nil && req.Body != http.NoBody {
		b.wrap(req.Body)
	}
}

func (b *payload) wrap(body io.ReadCloser) {
	b.current, b.memory, b.guard, b.file, b.offered = body, inMemory(body), nil, false, false
	switch {
	case b.memory != nil:
		b.length = b.memory.Len()
	case isFile(body):
		b.file = true
	default:
		b.guard = b.guarded(body)
	}
}

func (b *payload) guarded(body io.ReadCloser) *guard {
	return &guard{body: body, left: b.first.ContentLength}
}

// forAttempt returns what the attempt's request has as its Body, and whether
// that differs from the caller's.
func (b *payload) forAttempt() (io.ReadCloser, bool) {
	b.offered = true
	b.lives.waitFor(nil)
	if b.guard != nil {
		return b.guard, true
	}
	if b.current == nil {
		return b.first.Body, false
	}
	return b.current, b.current != b.first.Body
}

// untouched reports whether nothing of the body was read. The attempt must
// have ended.
func (b *payload) untouched() bool {
	switch {
	case b.current == nil, !b.offered:
		return true
	case b.memory != nil:
		return b.memory.Len() == b.length
	case b.guard != nil:
		return !b.guard.wasTouched()
	}
	return false
}

// failed reports whether it was the caller's body that failed the attempt. One that
// is shorter than ContentLength says is the server's to find over HTTP/2.
func (b *payload) failed() bool {
	if b.memory != nil {
		return b.first.ContentLength > 0 && int64(b.length) < b.first.ContentLength
	}
	return b.guard != nil && b.guard.hasFailed()
}

// misstated returns net/http's error for a body that was found not to be as long as
// ContentLength says, over HTTP/1.
func (b *payload) misstated() error {
	said, length := b.first.ContentLength, int64(-1)
	switch {
	case b.memory != nil:
		length = int64(b.length)
	case b.guard != nil:
		length = b.guard.shortLength(said)
	}
	if said <= 0 || length < 0 || length == said {
		return nil
	}
	return fmt.Errorf("http: ContentLength=%d with Body length %d", said, length)
}

// replayable reports whether another attempt could have the body. attemptOver
// is false if the request may still be being written.
func (b *payload) replayable(attemptOver bool) bool {
	return b.current == nil || b.first.GetBody != nil || b.kept != nil ||
		attemptOver && b.untouched() || b.guard != nil && b.guard.recorded()
}

// rewind prepares the body for another attempt.
func (b *payload) rewind(attemptOver bool) error {
	if b.current == nil {
		return nil
	}
	if attemptOver && b.untouched() {
		if b.guard != nil {
			b.guard, b.offered = b.guard.handOver(), false
		}
		return nil
	}
	if b.first.GetBody == nil && b.guard != nil {
		next := b.guard.replay()
		if next == nil {
			return errBodyInUse
		}
		b.guard, b.offered = next, false
		return nil
	}
	if attemptOver {
		b.close()
	} else {
		b.drop()
	}
	body, err := b.again()
	if err != nil {
		b.spent = true
		return err
	}
	b.wrap(body)
	return nil
}

// again returns the body from its beginning.
func (b *payload) again() (io.ReadCloser, error) {
	if b.kept != nil {
		return io.NopCloser(bytes.NewReader(b.kept)), nil
	}
	return b.first.GetBody()
}

// close makes sure that the current body is closed; no attempt has use for it.
func (b *payload) close() {
	switch {
	case b.spent:
	case b.guard != nil:
		b.guard.Close()
		b.guard.release()
	case b.current != nil:
		b.current.Close() // no effect, or a file's second close
	case b.first.Body != nil:
		b.first.Body.Close() // http.NoBody, or a body that is closed already
	}
}

// leave gives the body to net/http, which has got a response and may still be
// reading the body, and closes it when that is over. Over HTTP/1 it never does so
// while it reads.
func (b *payload) leave() {
	if b.guard != nil {
		b.guard.release()
	}
}

// drop is leave for an attempt that another follows. Trap: HTTP/1's RoundTrip does
// not close the body where the context had ended before it could take it up. What is
// untouched is of no use to that attempt any more.
func (b *payload) drop() {
	if b.guard != nil {
		b.guard.closeUntouched()
		b.guard.release()
	}
}

// A guard stands between net/http and a caller's body for one attempt. While
// the body is untouched it puts a Close off, since the same body can then be
// sent on another connection.
type guard struct {
	mu      sync.Mutex
	body    io.ReadCloser // nil once another guard has it
	rec     *recording    // nil if nothing is recorded
	at      int           // how much of rec was read from this guard
	left    int64         // of what ContentLength promises
	reading bool          // a Read of body is under way
	touched bool
	broken  bool // Read returned an error that was not EOF, or EOF too early
	short   bool // the latter
	held    bool // Close was called while untouched, or while it is recorded
	final   bool // Close is not put off any more
	closed  bool
}

func (g *guard) Read(p []byte) (int, error) {
	g.mu.Lock()
	body := g.body
	if body == nil || g.held || g.closed {
		g.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	g.touched = true
	if n, err, ok := g.readRecordedLocked(p); ok {
		g.left -= int64(n)
		g.mu.Unlock()
		return n, err
	}
	g.reading = true
	g.mu.Unlock()
	n, err := body.Read(p)
	g.mu.Lock()
	g.reading = false
	g.recordLocked(p[:n], err)
	g.left -= int64(n)
	g.short = err == io.EOF && g.left > 0
	if err != nil && err != io.EOF || g.short {
		g.broken = true
	}
	due := g.held && g.rec == nil && !g.closed && g.body != nil // it was put off for the recording
	g.closed = g.closed || due
	g.mu.Unlock()
	if due {
		body.Close()
	}
	return n, err
}

func (g *guard) Close() error {
	g.mu.Lock()
	if g.body == nil || g.closed {
		g.mu.Unlock()
		return nil
	}
	if (!g.touched || g.rec != nil) && !g.final {
		g.held = true
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	g.forgetLocked()
	g.mu.Unlock()
	return g.body.Close()
}

// closeUntouched closes the body when it is released, if nothing of it was read.
func (g *guard) closeUntouched() {
	g.mu.Lock()
	g.held = g.held || !g.touched
	g.mu.Unlock()
}

// release ends the putting off. What was recorded is let go, unless net/http still
// has to send some of it.
func (g *guard) release() {
	g.mu.Lock()
	g.final = true
	due := g.held && !g.closed && g.body != nil
	if due {
		g.closed = true
	}
	if g.closed || g.rec != nil && g.at == len(g.rec.bytes) && !g.rec.whole {
		g.forgetLocked()
	}
	g.mu.Unlock()
	if due {
		g.body.Close()
	}
}

// handOver returns a new guard around the same body, which this one lets go.
func (g *guard) handOver() *guard {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := &guard{body: g.body, rec: g.rec, left: g.left}
	g.body, g.rec = nil, nil
	return next
}

func (g *guard) wasTouched() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.touched
}

// shortLength is how long the body is, if it is shorter than it is said to be; else -1.
func (g *guard) shortLength(said int64) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.short {
		return -1
	}
	return said - g.left
}

func (g *guard) hasFailed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.broken
}

// The types that io.NopCloser returns.
var (
	nopCloser   = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWT = reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
)

// inMemory returns the reader in an io.NopCloser, as http.NewRequest makes
// it, if it is one of those that net/http knows to be in memory.
func inMemory(body io.ReadCloser) interface{ Len() int } {
	if t := reflect.TypeOf(body); t != nopCloser && t != nopCloserWT {
		return nil
	}
	switch r := reflect.ValueOf(body).Field(0).Interface().(type) {
	case *bytes.Reader:
		return r
	case *bytes.Buffer:
		return r
	case *strings.Reader:
		return r
	}
	return nil
}

func isFile(body io.ReadCloser) bool {
	_, ok := body.(*os.File)
	return ok
}
