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
	req    *http.Request // with that context
	cancel context.CancelCauseFunc
	own    bool        // the context is its own
	timer  *time.Timer // nil if its time is not limited
}

func newTry(req *http.Request, r *Retry) *try {
	t := &try{req: req, cancel: func(error) {}, own: r.Max > 0 || r.PerTryTimeout > 0}
	if !t.own {
		return t
	}
	var ctx context.Context
	ctx, t.cancel = context.WithCancelCause(req.Context())
	t.req = req.WithContext(ctx)
	if r.PerTryTimeout > 0 {
		t.timer = time.AfterFunc(r.PerTryTimeout, func() { t.cancel(errTryTimeout) })
	}
	return t
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
	case !t.own:
	case resp.StatusCode == http.StatusSwitchingProtocols:
		t.cancel(nil) // the connection is the program's now, and knows no context
	case resp.Body == nil || resp.Body == http.NoBody:
		t.cancel(nil)
	default:
		resp.Body = &triedBody{resp.Body, t.cancel}
	}
}

// A triedBody ends its try's context when it was read or closed.
type triedBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *triedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.cancel(nil)
	}
	return n, err
}

func (b *triedBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
