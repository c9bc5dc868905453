package idlewise

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"sync/atomic"
)

// A lifetime ends a context that was made for a request, once nothing needs it any
// more: when the response was read to its end, and the request's body was sent. Over
// HTTP/2 that can come in either order (RFC 9113 §8.1), and net/http resets a stream
// whose context ends before both.
type lifetime struct {
	cancel   context.CancelCauseFunc
	answered atomic.Bool            // the response was read
	upload   atomic.Pointer[upload] // of the last attempt; nil: it does not outlast a response
}

// end ends the context, whatever is under way.
func (l *lifetime) end() { l.cancel(nil) }

// responseOver says that the response was read to its end, or has no body.
func (l *lifetime) responseOver() {
	l.answered.Store(true)
	if u := l.upload.Load(); u == nil || u.over.Load() {
		l.end()
	}
}

// bodyEnded says that reading the response gave err.
func (l *lifetime) bodyEnded(err error) {
	if err == io.EOF {
		l.responseOver()
	} else {
		l.end()
	}
}

// hasNoBody reports whether nothing of a response is left to read, so that programs
// need not close its body. Its status and length do not tell: over HTTP/2 the
// end of the stream may come later, and trailers with it.
//
// Trap: Go 1.26's HTTP/2 has an empty body that is not http.NoBody. Its type has no
// room for a stream to read from.
func hasNoBody(resp *http.Response) bool {
	return resp.Body == nil || resp.Body == http.NoBody || reflect.TypeOf(resp.Body).Size() == 0
}

// An upload is the body of a request over HTTP/2, whose end lifetimes wait for.
type upload struct {
	io.ReadCloser
	lives lifetimes
	over  atomic.Bool
}

// lifetimes are those of a request's own contexts: of the whole, and of a try. nil:
// there is none.
type lifetimes [2]*lifetime

func (ls lifetimes) waitFor(u *upload) {
	for _, l := range ls {
		if l != nil {
			l.upload.Store(u)
		}
	}
}

// forAttemptHTTP2 is forAttempt where the body may outlast the response.
func (b *payload) forAttemptHTTP2() (io.ReadCloser, bool) {
	body, other := b.forAttempt()
	if b.lives == (lifetimes{}) || body == nil || body == http.NoBody {
		return body, other
	}
	u := &upload{ReadCloser: body, lives: b.lives}
	b.lives.waitFor(u)
	return u, true
}

// Close is net/http's word that it has done with the body: it closes it with the
// stream, or when nothing more of it is to be sent.
func (u *upload) Close() error {
	err := u.ReadCloser.Close()
	u.over.Store(true)
	for _, l := range u.lives {
		if l != nil && l.upload.Load() == u && l.answered.Load() {
			l.end()
		}
	}
	return err
}
