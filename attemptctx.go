package idlewise

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// An attemptContext is the context of one attempt on an HTTP/1 connection, as
// net/http gets it: it has the values of the caller's context, and never ends.
// When the caller's does, the connection is cut instead, which is all that
// net/http would do about it.
//
// Trap: HTTP/1's RoundTrip leaks a child of the request's context on every
// error, and with Request.Cancel a goroutine. Of a context that never ends
// package context enters no child anywhere, so that there is nothing to leak,
// and the caller's has as many entries as with http.Transport: one.
//
// A copy of the request for each attempt would cost more than all else that
// idlewise does. So those of an attempt that went well are used again.
type attemptContext struct {
	caller context.Context // whose values it has; this and the next two are assigned for each attempt
	conn   *conn
	round  uint32 // of conn

	ended func()        // callerEnded, made once
	stop  func() bool   // ends the watch on caller; nil if there is none
	done  chan struct{} // ends the watch on Request.Cancel; nil if there is none

	req *http.Request // carries this context; its fields are the attempt's
}

// attempts holds *attemptContexts that wait to be used again.
var attempts = sync.Pool{New: func() any {
	a := &attemptContext{}
	a.ended = a.callerEnded
	a.req = new(http.Request).WithContext(a)
	return a
}}

// Deadline returns the caller's.
func (a *attemptContext) Deadline() (time.Time, bool) { return a.caller.Deadline() }

// Done returns nil: it never ends.
func (a *attemptContext) Done() <-chan struct{} { return nil }

// Err returns nil.
func (a *attemptContext) Err() error { return nil }

// Value returns the caller's.
func (a *attemptContext) Value(key any) any { return a.caller.Value(key) }

// beginAttempt returns a context whose request is a copy of req, which is about to
// be sent on c. It is given to finish or to giveUp.
func (c *conn) beginAttempt(req *http.Request) *attemptContext {
	a := attempts.Get().(*attemptContext)
	a.caller, a.conn, a.round = req.Context(), c, c.round.Load()>>2
	c.cuttable.Store(a.round)
	copyRequest(a.req, req)
	if cancel := cancelOf(req); cancel != nil {
		dropCancel(a.req)
		a.done = make(chan struct{})
		go a.watchCancel(cancel)
	}
	if a.caller.Done() != nil {
		a.stop = context.AfterFunc(a.caller, a.ended)
	}
	return a
}

func (a *attemptContext) callerEnded() { a.cut(context.Cause(a.caller)) }

// cut ends the attempt with its connection, unless it has ended.
func (a *attemptContext) cut(why error) {
	if a.conn.cuttable.CompareAndSwap(a.round, cutOff) {
		a.conn.cutOff(a.round, why)
	}
}

// cancelable reports whether anything can cut the attempt. a may be nil.
func (a *attemptContext) cancelable() bool { return a != nil && (a.stop != nil || a.done != nil) }

// settle keeps the attempt from being cut any more, and reports false if it is.
// a may be nil.
func (a *attemptContext) settle() bool { return a == nil || a.conn.keep(a.round) }

// giveUp ends an attempt that failed, or whose connection is no use any more. a may
// be nil.
func (a *attemptContext) giveUp() {
	if a != nil {
		a.settle()
		a.unwatch()
	}
}

// unwatch reports whether nothing is left that may still ask whether the attempt is
// over.
func (a *attemptContext) unwatch() bool {
	alone := a.stop == nil || a.stop()
	if a.done != nil {
		close(a.done)
		alone = false
	}
	return alone
}

// finish lets go of an attempt that is settled, and whose response was read to the
// end: net/http has let go of the request. a may be nil.
func (a *attemptContext) finish() {
	if a == nil || !a.unwatch() {
		return
	}
	// Keep nothing of the program's alive. What net/http still has to do with
	// this context, to let go of its child, asks for no value.
	a.stop, a.caller, a.conn = nil, context.Background(), nil
	copyRequest(a.req, nothing)
	attempts.Put(a)
}

var nothing = new(http.Request)

// copyRequest copies what a client request consists of, without its context.
func copyRequest(to, from *http.Request) {
	to.Method, to.URL, to.Host = from.Method, from.URL, from.Host
	to.Proto, to.ProtoMajor, to.ProtoMinor = from.Proto, from.ProtoMajor, from.ProtoMinor
	to.Header, to.Trailer = from.Header, from.Trailer
	to.Body, to.GetBody, to.ContentLength = from.Body, from.GetBody, from.ContentLength
	to.TransferEncoding, to.Close = from.TransferEncoding, from.Close
}

// cutOff is what conn.cuttable is once the connection is cut.
const cutOff = ^uint32(0)

// A cut says why a connection was closed, when its request was canceled.
type cut struct {
	round uint32
	why   error
}

// keep keeps the connection from being cut in the given round, and reports false if
// it is. Whoever changes cuttable decides, lest a cancellation that comes late cuts a
// connection that is somebody else's by then.
func (c *conn) keep(round uint32) bool {
	return c.cuttable.CompareAndSwap(round, 0) || c.cuttable.Load() != cutOff
}

// cutOff closes an HTTP/1 connection whose request was canceled.
func (c *conn) cutOff(round uint32, why error) {
	c.wasCut.Store(&cut{round, why})
	c.cc.Close()
}

// A cutBody is the body of a response to a request that can be canceled. If it is,
// the first error of Read is the reason, as it is with http.Transport, for which
// what follows is the connection's own error as well.
type cutBody struct {
	io.ReadCloser
	c     *conn
	round uint32
	told  atomic.Bool // net/http's own body takes a lock, and bears two readers
}

func (b *cutBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && !b.told.Swap(true) {
		if cut := b.c.wasCut.Load(); cut != nil && cut.round == b.round {
			err = cut.why
		}
	}
	return n, err
}

// Close ends the request. A cancellation that follows, as a deferred one does, is
// without effect: from Go 1.27 on what is left of the response may be being read, so
// that the connection can be used again.
func (b *cutBody) Close() error {
	err := b.ReadCloser.Close()
	b.c.keep(b.round)
	return err
}
