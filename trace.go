package idlewise

import (
	"context"
	"fmt"
	"net"
	"net/http/httptrace"
	"strings"
	"time"
)

// An Attempt is one try at sending a request on one connection.
type Attempt struct {
	Number  int           // 1 is the first
	ConnID  uint64        // unique within the Transport
	Local   net.Addr      // nil if unknown
	Remote  net.Addr      // nil if unknown
	Proto   string        // "HTTP/1" or "HTTP/2"
	Reused  bool          // the connection had carried a request before
	IdleAge time.Duration // how long it had been idle, by the clock that says more

	// Known once the attempt has ended.
	Status   int      // of the response, 0 if there was none
	Evidence Evidence // what is known about the delivery, if the connection failed
	Err      error    // as http.Transport would have returned it
	Resent   bool     // it is resent; of a policy's retry nothing is said here
}

// String describes the attempt in a line.
func (a Attempt) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "attempt %d on connection %d", a.Number, a.ConnID)
	if a.Local != nil && a.Remote != nil {
		fmt.Fprintf(&b, " (%s, %v to %v)", a.Proto, a.Local, a.Remote)
	}
	if a.Reused {
		fmt.Fprintf(&b, ", reused, idle for %v", a.IdleAge.Round(time.Microsecond))
	}
	if a.Err != nil {
		fmt.Fprintf(&b, ": %v, evidence %v", a.Err, a.Evidence)
	} else if a.Status != 0 {
		fmt.Fprintf(&b, ": status %d", a.Status)
	}
	if a.Resent {
		b.WriteString(", resent")
	}
	return b.String()
}

// A Trace has hooks that are called as a request's attempts happen. Any may
// be nil. Those of attempts are called by the goroutine in RoundTrip and must not
// block.
type Trace struct {
	// AttemptStart is called when a connection was got and the request is
	// about to be sent on it.
	AttemptStart func(Attempt)

	// AttemptDone is called when the attempt has brought a response's
	// header, or has failed.
	AttemptDone func(Attempt)

	// UpgradeDone is called, in a goroutine of its own, when the connection
	// that a 101 response handed to the program has ended: a load balancer
	// that ends WebSockets after 30 s shows there, with their age. It is not
	// called for connections of the program's own DialTLSContext.
	UpgradeDone func(UpgradeEnd)
}

// WithTrace lets trace's hooks be called for requests with the context. If ctx
// has a Trace already, the hooks of both are called, those of the new one
// first, as with httptrace. A nil trace changes nothing.
func WithTrace(ctx context.Context, trace *Trace) context.Context {
	if trace == nil {
		return ctx
	}
	if old := optionsOf(ctx).trace; old != nil {
		trace = &Trace{
			AttemptStart: both(trace.AttemptStart, old.AttemptStart),
			AttemptDone:  both(trace.AttemptDone, old.AttemptDone),
			UpgradeDone:  both(trace.UpgradeDone, old.UpgradeDone),
		}
	}
	return withOption(ctx, func(o *options) { o.trace = trace })
}

func both[T any](f, g func(T)) func(T) {
	switch {
	case f == nil:
		return g
	case g == nil:
		return f
	}
	return func(t T) {
		f(t)
		g(t)
	}
}

// describe returns the attempt as far as it is known before it is made.
func (l *lease) describe(number int) Attempt {
	a := Attempt{
		Number: number, ConnID: l.c.id, Local: l.c.local, Remote: l.c.remote,
		Proto: "HTTP/1", Reused: l.reused, IdleAge: l.idleAge,
	}
	if l.c.h2 {
		a.Proto = "HTTP/2"
	}
	return a
}

// Trap: GetConn and GotConn of httptrace are never called by a ClientConn.

func traceGetConn(ht *httptrace.ClientTrace, addr string) {
	if ht != nil && ht.GetConn != nil {
		ht.GetConn(addr)
	}
}

// traceGotConn gives the connection that the program's dialer returned, below
// TLS: the *tls.Conn that http.Transport gives cannot be reached here.
func traceGotConn(ht *httptrace.ClientTrace, l *lease) {
	if ht.GotConn != nil {
		ht.GotConn(httptrace.GotConnInfo{Conn: l.c.raw, Reused: l.reused, WasIdle: l.wasIdle, IdleTime: l.idleAge})
	}
}
