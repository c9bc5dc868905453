package faultserver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// exchange is one request and its answer, on either protocol, on its way
// through the faults that strike it.
type exchange struct {
	c       *conn
	request *http.Request
	row     *requestRow
	plan    plan
	nth     int // on the connection
	body    *requestBody
	wire    wire
	w       *response
	cancel  context.CancelFunc

	badHeader error       // a FaultHeader that cannot be read
	running   atomic.Bool // run has been called
}

// newExchange enters a request in the journal, once its head has been read, and
// decides which faults strike it. The caller sets wire.
func newExchange(c *conn, r *http.Request, nth int, idleFor time.Duration) *exchange {
	now := time.Now()
	x := &exchange{c: c, nth: nth}
	ended := c.srv.play.request(c.srv)
	e := event{
		at: atRequest, proto: c.proto, request: r, nthOnConn: nth, idle: idleFor, age: now.Sub(c.opened),
		tls: r.TLS != nil,
	}
	if x.plan, x.badHeader = c.takeHeaderFaults(e); x.badHeader == nil {
		x.plan = c.srv.rules.judgeBehind(x.plan, e)
	}
	rec := RequestRecord{
		Method: r.Method, Path: r.URL.Path, Conn: c.id, NthOnConn: nth, Proto: r.Proto, Time: now, IdleBefore: idleFor,
	}
	for _, f := range x.plan {
		rec.Faults = append(rec.Faults, f.Kind)
	}
	x.row = c.srv.journal.head(c.row, rec, r)

	ctx, cancel := context.WithCancel(c.ctx)
	x.cancel = func() {
		cancel()
		if !x.running.Load() { // it never will be, or says itself when it ends
			c.srv.journal.ended(x.row)
		}
		if ended != nil {
			ended()
		}
	}
	x.request = r.WithContext(ctx)
	x.body = newRequestBody(x, r)
	x.request.Body = x.body

	c.mu.Lock()
	c.last = r
	c.abrupt = c.abrupt || x.plan.has(NoCloseNotify)
	c.mu.Unlock()
	return x
}

// run takes the request to its answer, or to the fault that withholds it. It is
// false if the exchange has ended the connection or the stream: nothing more is
// to be written then.
func (x *exchange) run() bool {
	x.running.Store(true)
	defer x.c.srv.journal.ended(x.row)
	if x.badHeader != nil {
		return x.refuseHeader()
	}
	for _, f := range x.plan {
		if f.Kind == Delay && !x.pause(x.c.srv.rules.delay(f)) {
			return false
		}
	}
	if !x.sendInterims() {
		return false
	}
	// Of the faults that follow, the plan has one: see plan.precludes.
	forever := x.armStall()
	if x.plan.has(NeverAnswer) {
		x.readBody()
		x.wire.awaitClient()
		return false
	}
	if f, ok := x.plan.get(VanishOnRequest, CrashOnRequest); ok {
		x.strikeOutage(f)
		return false
	}
	if f, ok := x.plan.get(FinAfterRequest, RstAfterRequest, CloseInRequestBody, CloseWithoutGoAway, GoAwayError, ResetStream,
		RawAnswer, RandomBytes); ok {
		x.withhold(f)
		return false
	}
	if forever {
		x.readBody()
		x.wire.awaitClient()
		return false
	}
	if x.c.isUnheard() {
		return x.runUnheard()
	}
	x.w = newResponse(x)
	if f, ok := x.plan.get(Status, EarlyAnswer); ok {
		x.answerStatus(f)
		return x.finish()
	}
	if !x.executeOrEnd(x.wire.writer(x.w)) {
		return false
	}
	if x.w.hijacked {
		return false
	}
	return x.finish()
}

// withhold ends the connection or the stream in place of an answer.
func (x *exchange) withhold(f Fault) {
	if f.Kind == CloseInRequestBody {
		x.body.cutAfter(f.Bytes)
	}
	defer func() { // a handler may end by runtime.Goexit
		switch f.Kind {
		case FinAfterRequest, RstAfterRequest, CloseInRequestBody, RawAnswer, RandomBytes:
			x.readBody()
		default:
			x.body.seal()
		}
		x.wire.withheld(f)
	}()
	if f.Executed {
		x.w = newResponse(x)
		x.w.wire = lostWire{}
		x.execute(x.w)
	}
}

func (x *exchange) answerStatus(f Fault) {
	switch {
	case f.Kind == EarlyAnswer:
		x.body.cutAfter(f.Bytes)
		io.Copy(io.Discard, x.body)
	case f.After > 0:
		x.w.Header().Set("Retry-After", time.Now().Add(f.After).UTC().Format(http.TimeFormat))
	case f.Value != "":
		x.w.Header().Set("Retry-After", f.Value)
	}
	http.Error(x.w, http.StatusText(int(f.Code)), int(f.Code))
}

// execute runs the handler and reports whether it returned.
func (x *exchange) execute(w http.ResponseWriter) (returned bool) {
	x.c.srv.journal.executed(x.row)
	defer x.removeFiles()
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			x.c.srv.journal.panicked(x.row, v)
		}
	}()
	x.c.srv.set.handler.ServeHTTP(w, x.request)
	return true
}

// removeFiles removes what the handler's parsing of a form has left on disk.
func (x *exchange) removeFiles() {
	if form := x.request.MultipartForm; form != nil && (x.w == nil || !x.w.hijacked) {
		form.RemoveAll()
	}
}

// executeOrEnd is execute, and ends the exchange if the handler did not return.
// After a runtime.Goexit, as by t.FailNow, only deferred calls still run.
func (x *exchange) executeOrEnd(w http.ResponseWriter) (returned bool) {
	defer func() {
		if !returned {
			x.body.seal()
			x.wire.panicked()
		}
	}()
	return x.execute(w)
}

// finish completes the answer. The journal counts it as answered before the
// last bytes leave, for the client may look the moment it has them.
func (x *exchange) finish() bool {
	if !x.w.sentHead {
		x.wire.settleBody()
	}
	x.body.seal()
	if x.w.err != nil { // nothing will be written that could complete it
		x.wire.failed(x.w.err)
		return false
	}
	x.w.WriteHeader(http.StatusOK) // unless the handler has
	if !x.plan.paces() {           // else it is too early to say so
		x.answered()
	}
	if err := x.w.finish(); err != nil {
		if !errors.Is(err, errCut) { // whoever cuts knows what the client has
			x.c.srv.journal.answered(x.row, false)
		}
		x.wire.failed(err)
		return false
	}
	return true
}

// readBody reads what is left of the request's body.
func (x *exchange) readBody() {
	io.Copy(io.Discard, x.body)
	x.body.seal()
}

// pause waits, and is false if the request's context ended first.
func (x *exchange) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-x.request.Context().Done():
		return false
	}
}
