package idlewise

import (
	"context"
	"io"
	"net/http"
	"time"
)

// errTryTimeout is the error of an attempt that Retry.PerTryTimeout ended.
var errTryTimeout error = tryTimeoutError{}

type tryTimeoutError struct{}

func (tryTimeoutError) Error() string {
	return "idlewise: no response header within Retry.PerTryTimeout"
}

func (tryTimeoutError) Timeout() bool   { return true }
func (tryTimeoutError) Temporary() bool { return true }

// Is makes it what contexts give where time is up.
func (tryTimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// A try is what a policy's retry consists of: attempts with a context of their own.
type try struct {
	req   *http.Request // with that context
	life  *lifetime     // of that context; nil: it is the request's
	timer *time.Timer   // nil if its time is not limited
}

func newTry(req *http.Request, r *Retry) *try {
	if r.Max <= 0 && r.PerTryTimeout <= 0 {
		return &try{req: req}
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	t := &try{req: req.WithContext(ctx), life: &lifetime{cancel: cancel}}
	if r.PerTryTimeout > 0 {
		t.timer = time.AfterFunc(r.PerTryTimeout, func() { cancel(errTryTimeout) })
	}
	return t
}

// end ends the try's context.
func (t *try) end() {
	if t.life != nil {
		t.life.end()
	}
}

// ended says that the try has brought a response's header or an error, which is
// returned as the caller is to get it.
func (t *try) ended(caller context.Context, resp *http.Response, err error) (*http.Response, error) {
	late := t.timer != nil && !t.timer.Stop()
	switch {
	case late && err == nil:
		// Both at once: the body could not be read any more.
		resp.Body.Close()
		return nil, errTryTimeout
	case late && caller.Err() == nil:
		err = errTryTimeout // HTTP/2 gives the context's error
	}
	return resp, err
}

// keep lets the response be read by the caller: the context ends with its body.
func (t *try) keep(resp *http.Response) {
	switch {
	case t.life == nil:
	case resp.StatusCode == http.StatusSwitchingProtocols:
		t.end() // the connection is the program's now, and knows no context
	case hasNoBody(resp):
		t.life.responseOver()
	default:
		resp.Body = &triedBody{resp.Body, t.life}
	}
}

// A triedBody ends its try's context when it was read or closed.
type triedBody struct {
	io.ReadCloser
	life *lifetime
}

func (b *triedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.life.bodyEnded(err)
	}
	return n, err
}

func (b *triedBody) Close() error {
	err := b.ReadCloser.Close()
	b.life.end()
	return err
}
