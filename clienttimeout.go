package idlewise

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// An http.Client with a Timeout gives a transport that is not net/http's own
// two signals: the context's deadline, and Request.Cancel. Both come at the
// same moment, and which is seen first is chance. It puts "(Client.Timeout
// exceeded …)" into the error if it has sent the second by the time it gets
// the error.
//
// With net/http's own there is only the deadline. To be like it, the deadline
// is taken for the reason where it has passed, and an error waits for the
// other signal.

// bothSignals is for how long one signal waits for the other. Programs that use
// a deadline and Request.Cancel for different things get an error that much later.
const bothSignals = 250 * time.Millisecond

var (
	errCanceledWaiting = errors.New("net/http: request canceled while waiting for connection")
	errRequestCanceled = errors.New("net/http: request canceled")
)

// canceled reports why no attempt at req must be begun, or nil.
func canceled(req *http.Request) error {
	ctx := req.Context()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !requestCanceled(req) {
		return nil
	}
	if timesOut(ctx) {
		return context.Cause(ctx)
	}
	return errCanceledWaiting
}

// canceledOnConn is canceled for a request that has its connection.
func canceledOnConn(req *http.Request) error {
	err := canceled(req)
	if err == errCanceledWaiting {
		return errRequestCanceled
	}
	return err
}

func requestCanceled(req *http.Request) bool {
	select {
	case <-cancelOf(req):
		return true
	default:
		return false
	}
}

// timesOut reports whether ctx has ended or its deadline has passed; then it
// waits for its end, which should be a matter of scheduling. It is not if the
// clock was set forward, or with contexts that show a parent's deadline and do
// not end by it.
func timesOut(ctx context.Context) bool {
	if ctx.Err() != nil {
		return true
	}
	deadline, ok := ctx.Deadline()
	if !ok || time.Now().Before(deadline) {
		return false
	}
	timer := time.NewTimer(bothSignals)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-timer.C:
		return false
	}
}

// watchCancel cuts an HTTP/1 attempt when cancel is closed, and returns when it is
// over.
func (a *attemptContext) watchCancel(cancel <-chan struct{}) {
	select {
	case <-cancel:
		if timesOut(a.caller) {
			a.cut(context.Cause(a.caller))
		} else {
			a.cut(errRequestCanceled)
		}
	case <-a.done:
	}
}

// awaitCancel waits, if req's deadline has passed, for the other signal.
func awaitCancel(req *http.Request) {
	cancel := cancelOf(req)
	if cancel == nil || req.Context().Err() != context.DeadlineExceeded {
		return
	}
	timer := time.NewTimer(bothSignals)
	defer timer.Stop()
	select {
	case <-cancel:
	case <-timer.C:
	}
}

// legacyCause returns err, or what ended req if that was its deadline and
// HTTP/2, which looks at Request.Cancel itself, saw the other signal first.
func legacyCause(req *http.Request, err error) error {
	if err != errRequestCanceled && err.Error() == errRequestCanceled.Error() && requestCanceled(req) && timesOut(req.Context()) {
		return req.Context().Err() // as HTTP/2 does; HTTP/1 gives the cause
	}
	return err
}

// A timedBody is the body of a response to a request with Request.Cancel.
type timedBody struct {
	io.ReadCloser
	req *http.Request
}

func (b timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		awaitCancel(b.req)
		err = legacyCause(b.req, err)
	}
	return n, err
}

// timed wraps the response's body if that matters.
func timed(resp *http.Response, req *http.Request) *http.Response {
	if cancelOf(req) != nil && resp.StatusCode != http.StatusSwitchingProtocols && !hasNoBody(resp) {
		resp.Body = timedBody{resp.Body, req}
	}
	return resp
}
