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
	life := &lifetime{cancel: cancel}
	resp, err := u.send(req.WithContext(ctx), r, life)
	if err != nil {
		life.end()
		return nil, err
	}
	resp.Request = req
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		// Nobody had asked for it, but the connection is the program's now, and so
		// is its time. It knows no context.
		life.end()
	case hasNoBody(resp):
		life.responseOver()
	default:
		resp.Body = &watchedResponse{ReadCloser: resp.Body, limit: limit, life: life}
	}
	return resp, nil
}

// A watchedResponse is a response body whose reading must not stand still for
// longer than limit. The time runs only while a Read waits.
type watchedResponse struct {
	io.ReadCloser
	limit time.Duration
	life  *lifetime
	timer *time.Timer // nil before the first Read
	fired atomic.Bool
}

func (b *watchedResponse) expire() {
	b.fired.Store(true)
	b.life.cancel(errBodyIdle)
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
		b.life.bodyEnded(err)
	}
	return n, err
}

func (b *watchedResponse) Close() error {
	err := b.ReadCloser.Close()
	b.life.end()
	return err
}
