package idlewise

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

var (
	// ErrClosed is the error of requests to a Transport after Close or
	// Shutdown, and of those that Close interrupted.
	ErrClosed = errors.New("idlewise: transport is closed")

	// ErrRetryBudget is matched by the errors of requests that would have been sent
	// again, were it not for the upstream's budget for that; see Retry.
	ErrRetryBudget = errors.New("idlewise: the retry budget is used up")

	// ErrCircuitOpen is matched by the errors of requests that were not sent, since
	// the upstream's circuit breaker is open; see Breaker and CircuitOpenError.
	ErrCircuitOpen = errors.New("idlewise: the circuit breaker is open")

	errDefaultTransport = errors.New("idlewise: DefaultTransport is shared by the whole program and cannot be closed; make a Transport of your own with New")
)

// An Error is a failure that idlewise judged: the request met a connection
// that its server had closed, and was not, or not successfully, repeated.
//
// Its text says what is known, what the caller can do, and ends in the
// cause's own words. It holds no method, URL or duration, so that it
// can be grouped by the cause; %+v and LogValue give the rest.
//
// Failures that idlewise has nothing to say about, among them those of
// contexts, and of dials and TLS handshakes of a first attempt, are as
// net/http gives them.
type Error struct {
	// Err is the cause, as http.Transport would have returned it. If a
	// resend failed too, it matches the causes of all attempts, and its text
	// is the last one's.
	Err error

	// Evidence says what is known about the delivery in the last attempt.
	Evidence Evidence

	// Attempts are those that were made, the last one last.
	Attempts []Attempt

	verdict string
	budget  bool // it was the budget that stood in the way
}

// Is reports whether target is ErrRetryBudget, and that was the reason.
func (e *Error) Is(target error) bool { return e.budget && target == ErrRetryBudget }

func (e *Error) Error() string {
	return "idlewise: " + e.verdict + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the cause was a timeout.
func (e *Error) Timeout() bool {
	t, ok := e.Err.(interface{ Timeout() bool })
	return ok && t.Timeout() || isTimedOut(e.Err) // which net/http may have wrapped
}

// Temporary reports whether the cause calls itself temporary, as net.Error
// once defined it.
func (e *Error) Temporary() bool {
	t, ok := e.Err.(interface{ Temporary() bool })
	return ok && t.Temporary()
}

// Format writes the error; with %+v also each attempt, in a line of its own.
func (e *Error) Format(s fmt.State, verb rune) {
	switch {
	case verb == 'v' && s.Flag('+'):
		io.WriteString(s, e.Error())
		for _, a := range e.Attempts {
			fmt.Fprintf(s, "\n\t%v", a)
		}
	case verb == 'q':
		fmt.Fprintf(s, "%q", e.Error())
	default:
		io.WriteString(s, e.Error())
	}
}

// LogValue returns the error with its attempts, for log/slog.
func (e *Error) LogValue() slog.Value {
	attempts := make([]string, len(e.Attempts))
	for i, a := range e.Attempts {
		attempts[i] = a.String()
	}
	return slog.GroupValue(
		slog.String("msg", e.Error()),
		slog.String("evidence", e.Evidence.String()),
		slog.Any("attempts", attempts),
	)
}

// causes are the errors of several attempts, the last one first: its words
// count, and errors.As finds what http.Transport would have returned.
type causes []error

func (c causes) Error() string   { return c[0].Error() }
func (c causes) Unwrap() []error { return c }

func (c causes) Timeout() bool {
	t, ok := c[0].(interface{ Timeout() bool })
	return ok && t.Timeout()
}

func (c causes) Temporary() bool {
	t, ok := c[0].(interface{ Temporary() bool })
	return ok && t.Temporary()
}

// What can stand in the way of a resend.
const (
	notIdempotent = "not repeated (send an Idempotency-Key or use WithIdempotent)"
	notReplayable = "not repeated (set Request.GetBody so that the body can be sent again)"
	notAllowed    = "not repeated (WithoutRetry)"
	notAgain      = "and so did the request's resend"
	notInBudget   = "not repeated again (the upstream's retry budget is used up)"
	notRewound    = "not repeated (GetBody failed)"
	notDialed     = "and no connection could be opened for the resend"
)

// judged makes the error for attempts, those before being resent and last being
// what went wrong in the end, with the given evidence.
func judged(attempts, before []Attempt, last error, ev Evidence, why string) *Error {
	e := &Error{Err: last, Evidence: ev, Attempts: attempts, budget: why == notInBudget}
	all := causes{last}
	for _, a := range before {
		if a.Err != nil {
			all = append(all, a.Err)
		}
	}
	if len(all) > 1 {
		e.Err = all
	}
	what := "connection lost"
	if len(attempts) > 0 && (attempts[0].Reused || attempts[0].IdleAge > 0) {
		what = "stale connection"
	}
	known := ""
	switch ev {
	case Unsent:
		known = "request not sent, "
	case Refused:
		known = "request refused unprocessed, "
		if isStreamError(last) {
			what = "stream refused" // its connection is well
		}
	case Undelivered:
		known = "request not delivered, "
	case Unknown:
		known = "delivery unknown, "
	}
	e.verdict = strings.TrimSuffix(what+", "+known+why, ", ")
	return e
}
