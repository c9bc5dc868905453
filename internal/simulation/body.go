package simulation

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// slowBody is how long a Read of a slow body takes.
const slowBody = 50 * time.Millisecond

// pause is how long the call's body may keep RoundTrip, and the last Read of the
// response: net/http does not return while it reads a request's body.
func (c Call) pause() time.Duration {
	if c.Body == Slow || c.Body == SlowAgain || c.Body == SlowChunked {
		return slowBody
	}
	return 0
}

// bodies are those of all requests, since each must have been closed once in the
// end.
type bodies struct {
	mu  sync.Mutex
	all []*body
}

// A body is a request's body that knows what was done to it.
type body struct {
	id   string
	kind BodyKind
	text *strings.Reader
	half int64 // what is left when a failing body fails

	mu     sync.Mutex
	closes int
	late   bool // it was read after it was closed
}

var errBody = errors.New("the program's body failed")

// put gives req the body of its call. It returns nil for one that has no Close to
// watch.
func (all *bodies) put(req *http.Request, id string, c Call) *body {
	text := c.text(id)
	switch c.Body {
	case NoBody:
		return nil
	case InMemory, InMemoryBut:
		req.Body = io.NopCloser(bytes.NewReader([]byte(text)))
		req.ContentLength = int64(len(text))
		if len(text) == 0 {
			req.Body = http.NoBody
		}
		if c.Body == InMemory {
			req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(text))), nil }
		}
		return nil
	}
	b := all.add(id, c.Body, text)
	req.Body, req.ContentLength = b, int64(len(text))
	switch c.Body {
	case Chunked, SlowChunked:
		req.ContentLength = -1
	case Replayable, SlowAgain:
		req.GetBody = func() (io.ReadCloser, error) { return all.add(id, c.Body, text), nil }
	}
	return b
}

func (all *bodies) add(id string, kind BodyKind, text string) *body {
	b := &body{id: id, kind: kind, text: strings.NewReader(text), half: int64(len(text) / 2)}
	all.mu.Lock()
	all.all = append(all.all, b)
	all.mu.Unlock()
	return b
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.late = b.late || b.closes > 0
	b.mu.Unlock()
	switch b.kind {
	case Slow, SlowAgain, SlowChunked:
		time.Sleep(slowBody)
		p = p[:min(len(p), int(b.text.Size()/4)+1)]
	case Failing:
		if int64(b.text.Len()) <= b.half {
			return 0, errBody
		}
		p = p[:min(len(p), int(b.half)+1)]
	}
	return b.text.Read(p)
}

func (b *body) Close() error {
	b.mu.Lock()
	b.closes++
	b.mu.Unlock()
	return nil
}

// check judges b, which may be nil, once nobody has any use for it.
func (b *body) check(w *world) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closes != 1 {
		w.violate("P4", "%s: its body (%s) was closed %d times", b.id, b.kind, b.closes)
	}
	if b.late {
		w.violate("P4", "%s: its body (%s) was read after it was closed", b.id, b.kind)
	}
}
