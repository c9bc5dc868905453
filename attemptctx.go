package idlewise

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// An attemptContext is the context of one attempt on an HTTP/1 connection. It
// has the values of the caller's context and ends with it, and with the
// attempt.
//
// Trap: HTTP/1's RoundTrip leaks a child of the request's context on every
// error, and with Request.Cancel a goroutine. What it leaks here hangs on the
// attempt's context and goes with it.
//
// A context and a copy of the request for each attempt would cost more than
// all else that idlewise does. So those of an attempt that went well are used
// again, by the same upstream, whose pool they wait in.
type attemptContext struct {
	context.Context // of its own; it ends with the attempt
	end             context.CancelCauseFunc

	caller context.Context // whose values it has; assigned for each attempt
	ended  func()          // callerEnded, made once
	stop   func() bool     // ends the watch on caller; nil if there is none
	once   bool            // it serves one attempt only

	req *http.Request // carries this context; its fields are the attempt's
}

func newAttemptContext() *attemptContext {
	a := &attemptContext{}
	a.Context, a.end = context.WithCancelCause(context.Background())
	a.ended = a.callerEnded
	a.req = new(http.Request).WithContext(a)
	return a
}

// Deadline returns the caller's.
func (a *attemptContext) Deadline() (time.Time, bool) { return a.caller.Deadline() }

// Value asks the attempt's own context first: it answers, with itself, only
// package context's question for where to register a child.
func (a *attemptContext) Value(key any) any {
	if v := a.Context.Value(key); v != nil {
		return v
	}
	return a.caller.Value(key)
}

func (a *attemptContext) callerEnded() { a.end(context.Cause(a.caller)) }

// beginAttempt returns a context whose request is a copy of req.
func (u *upstream) beginAttempt(req *http.Request) *attemptContext {
	var a *attemptContext
	if pool := u.attempts.Load(); pool != nil {
		a, _ = pool.Get().(*attemptContext)
	}
	if a == nil {
		a = newAttemptContext()
	}
	a.caller = req.Context()
	copyRequest(a.req, req)
	if cancel := cancelOf(req); cancel != nil {
		a.once = true
		dropCancel(a.req)
		go watchCancel(cancel, a.caller, a.Context, a.end)
	}
	if a.caller.Done() != nil {
		a.stop = context.AfterFunc(a.caller, a.ended)
	}
	return a
}

// over ends the context of an attempt that failed or was given up. a may be nil.
func (a *attemptContext) over() {
	if a == nil {
		return
	}
	if a.stop != nil {
		a.stop()
	}
	a.end(nil)
}

// done ends the attempt whose response was read to the end: net/http has let go
// of the request, and of its child of the context, or is about to. a may be nil.
func (a *attemptContext) done(u *upstream) {
	switch {
	case a == nil:
		return
	case a.stop != nil && !a.stop():
		return // the caller's context has ended, and this one with it
	case a.once:
		a.end(nil)
		return
	}
	// Keep nothing of the program's alive. What net/http still has to do with
	// this context, to let go of its child, asks for no value.
	a.stop, a.caller = nil, context.Background()
	copyRequest(a.req, nothing)
	pool := u.attempts.Load()
	if pool == nil {
		pool = new(sync.Pool)
		if !u.attempts.CompareAndSwap(nil, pool) {
			return // another was first
		}
	}
	pool.Put(a)
}

// forgetAttempts lets go of those that wait to be used again. They belong to
// the testing/synctest bubble that they were made in, as connections do, and a
// program that closes its idle connections may go on in another.
func (u *upstream) forgetAttempts() { u.attempts.Store(nil) }

var nothing = new(http.Request)

// copyRequest copies what a client request consists of, without its context.
func copyRequest(to, from *http.Request) {
	to.Method, to.URL, to.Host = from.Method, from.URL, from.Host
	to.Proto, to.ProtoMajor, to.ProtoMinor = from.Proto, from.ProtoMajor, from.ProtoMinor
	to.Header, to.Trailer = from.Header, from.Trailer
	to.Body, to.GetBody, to.ContentLength = from.Body, from.GetBody, from.ContentLength
	to.TransferEncoding, to.Close = from.TransferEncoding, from.Close
}
