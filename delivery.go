package idlewise

import (
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
)

// Evidence says what is known about the delivery of a request whose
// connection failed.
type Evidence uint8

// The kinds of evidence.
const (
	// NoEvidence: the attempt did not fail, or not because of its connection.
	NoEvidence Evidence = iota
	// Unsent: no byte of the request reached the socket.
	Unsent
	// Refused: the server said that it has not processed the request, by
	// REFUSED_STREAM or a GOAWAY below its stream (RFC 9113 §8.7).
	Refused
	// Undelivered: the server had closed the connection before a byte of the
	// request reached its kernel, as this side's kernel can show (Linux; see
	// docs/evidence.md).
	Undelivered
	// Unknown: the request was sent, at least in part, and the connection
	// was gone before a byte of the response came.
	Unknown
	// Answered: at least a part of a response came.
	Answered

	evidenceKinds
)

var evidenceNames = [evidenceKinds]string{"none", "unsent", "refused", "undelivered", "unknown", "answered"}

// String returns "none", "unsent", "refused", "undelivered", "unknown" or
// "answered".
func (e Evidence) String() string {
	if e < evidenceKinds {
		return evidenceNames[e]
	}
	return fmt.Sprintf("Evidence(%d)", uint8(e))
}

// MarshalText makes the evidence readable in JSON, also as a map's key.
func (e Evidence) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// What net/http says, where it exports no value to compare with. The tests
// provoke each of these on every supported Go version.
const (
	errTextServerClosedIdle = "http: server closed idle connection"
	errTextReadFromServer   = "net/http: Transport failed to read from server: "
	errTextPeekFailed       = "readLoopPeekFailLocked: "
	errTextReadLoopExiting  = "http: persistConn.readLoop exiting"
	errTextFromPeer         = "received from peer"
	errTextGoAway           = "http2: Transport received Server's graceful shutdown GOAWAY"
	errTextNotUsable        = "http2: client conn not usable"
	errTextNotEstablished   = "http2: client conn could not be established"
	errTextForceClosed      = "http2: client connection force closed via ClientConn.Close"
	errTextConnectionLost   = "http2: client connection lost"
	errTextClosedAfter      = "http2: server sent GOAWAY and closed the connection"
)

// Error codes of RFC 9113 §7.
const (
	codeProtocolError = 0x1
	codeRefusedStream = 0x7
)

// A streamError gets a copy of net/http's unexported HTTP/2 stream error, by
// errors.As, which goes by the names and kinds of these fields.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return fmt.Sprintf("stream error: code %d", e.Code) }

// isStreamError reports whether err concerns one HTTP/2 stream only.
func isStreamError(err error) bool {
	var se streamError
	return errors.As(err, &se)
}

// invalidTexts begin net/http's errors for requests that contradict themselves, where
// it finds that out with a connection at hand.
var invalidTexts = []string{
	"http: ContentLength=", // with Body length
	"http: invalid Host header",
	"http2: request body larger than specified content length",
	"invalid Upgrade request header", "invalid Transfer-Encoding request header", "invalid Connection request header",
	"request header list larger than peer's advertised limit",
}

// isInvalid reports whether the request itself was at fault, so that it would fare no
// better another time and says nothing about the server.
func isInvalid(err error) bool {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	text := err.Error()
	return slices.ContainsFunc(invalidTexts, func(t string) bool { return strings.HasPrefix(text, t) })
}

// plainCause returns err as http.Transport gives it to the caller: without
// the marks that ClientConn leaves on it.
func plainCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		text, innerText := err.Error(), inner.Error()
		if text != innerText && text != errTextReadFromServer+innerText {
			break
		}
		if reflect.TypeOf(err).PkgPath() != "net/http" {
			break // the program's own, or another package's
		}
		err = inner
	}
	// ClientConn's wording of an invalid request differs by its prefix.
	for _, what := range []string{"header ", "trailer ", "method "} {
		if strings.HasPrefix(err.Error(), "http: invalid "+what) {
			return errors.New("net/" + err.Error())
		}
	}
	return err
}

// isClosedConn reports whether err says that the connection is gone, and not
// that something is wrong with the request, the response or the time.
func isClosedConn(err error) bool {
	var op *net.OpError
	switch {
	case isTimedOut(err): // though it calls itself a timeout
		return true
	case errors.Is(err, io.EOF), isReset(err), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe), errors.Is(err, errUnsolicited), errors.Is(err, errLate):
		return true
	case errors.As(err, &op):
		return !op.Timeout()
	}
	text := err.Error()
	return text == errTextServerClosedIdle ||
		strings.HasPrefix(text, errTextReadFromServer) ||
		strings.HasPrefix(text, errTextPeekFailed) ||
		strings.HasSuffix(text, errTextReadLoopExiting)
}

// judgeHTTP1 says what a failed attempt on an HTTP/1 connection proves. err
// is as ClientConn returned it.
func judgeHTTP1(tcp *tracked, err error) Evidence {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Answered // broken off within the response's header
	case !isClosedConn(err):
		return NoEvidence
	case tcp == nil:
		return Unknown // nothing is known about the program's own TLS connection
	case tcp.unsent():
		return Unsent
	case tcp.plain && tcp.got.Load() > 0:
		return Answered
	}
	return Unknown
}

// judgeHTTP2 says what a failed attempt on an HTTP/2 connection proves.
// written says whether anything was written on the connection during it, and
// gone whether the connection is unusable now.
func judgeHTTP2(err error, written, gone bool) Evidence {
	var se streamError
	if errors.As(err, &se) {
		switch se.Code {
		case codeRefusedStream:
			return Refused
		case codeProtocolError:
			// Some servers answer so to streams that cross their GOAWAY, and
			// net/http resends them (golang/go #47635). It proves nothing. The
			// program's own Got1xxResponse may be behind it, too.
			if se.Cause != nil && se.Cause.Error() == errTextFromPeer {
				return Unknown
			}
		}
		return NoEvidence
	}
	text := err.Error()
	switch {
	case text == errTextGoAway:
		return Refused
	case text == errTextNotUsable, text == errTextNotEstablished:
		return Unsent
	case text == errTextConnectionLost,
		strings.HasPrefix(text, errTextClosedAfter),
		text == errTextForceClosed, // by net/http, after a write on another stream failed
		gone && (errors.Is(err, io.ErrUnexpectedEOF) || isClosedConn(err)):
		if !written {
			return Unsent
		}
		return Unknown
	}
	return NoEvidence
}
