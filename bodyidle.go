package idlewise

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// errBodyIdle is what reading a response body gives when nothing of it came for
// BodyIdleTimeout.
var errBodyIdle error = bodyIdleError{}

type bodyIdleError struct{}

func (bodyIdleError) Error() string {
	return "idlewise: no byte of the response body for as long as Policy.BodyIdleTimeout allows"
}

func (bodyIdleError) Timeout() bool   { return true }
func (bodyIdleError) Temporary() bool { return true }

// roundTripWatched is roundTrip for policies with a BodyIdleTimeout. The request
// gets a context that can be ended when the body stands still.
func (u *upstream) roundTripWatched(req *http.Request, r *ruling, limit time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	body := &watchedResponse{limit: limit, cancel: cancel}
	resp, err := u.send(req.WithContext(ctx), r)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Request = req
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		// Nobody had asked for it, but the connection is the program's now, and so
		// is its time. It knows no context.
		cancel(nil)
	case resp.Body == nil || resp.Body == http.NoBody:
		cancel(nil)
	default:
		body.ReadCloser = resp.Body
		resp.Body = body
	}
	return resp, nil
}

// A watchedResponse is a response body whose reading must not stand still for
// longer than limit. The time runs only while a Read waits.
type watchedResponse struct {
	io.ReadCloser
	limit  time.Duration
	cancel context.CancelCauseFunc
	timer  *time.Timer // nil before the first Read
	fired  atomic.Bool
}

func (b *watchedResponse) expire() {
	b.fired.Store(true)
	b.cancel(errBodyIdle)
}

func (b *watchedResponse) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.timer = time.AfterFunc(b.limit, b.expire)
	} else {
		b.timer.Reset(b.limit)
	}
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil {
		if err != io.EOF && b.fired.Load() {
			err = errBodyIdle
		}
		b.cancel(nil)
	}
	return n, err
}

func (b *watchedResponse) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
