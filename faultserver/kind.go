package faultserver

import (
	"fmt"
	"slices"
	"strings"
)

// Kind says what a [Fault] does. Its name in text, in scenarios and in the
// journal is the kebab-case form that String returns.
type Kind uint8

// The kinds. Each comment names the moment the fault is judged, the parameters
// it reads, and the protocols it exists on; on any other protocol it does not
// match.
const (
	// IdleClose ends an idle connection with a FIN after After (plus up to
	// Jitter) of silence. On HTTP/2 no GOAWAY precedes it.
	IdleClose Kind = iota + 1
	// IdleReset is IdleClose with a RST.
	IdleReset
	// Idle408 writes an unasked-for 408 response on an idle HTTP/1 connection
	// after After, and closes it.
	Idle408
	// IdleBytes writes Value on an idle HTTP/1 connection after After, and
	// leaves the connection open.
	IdleBytes
	// IdleGoAway begins a graceful, two-step GOAWAY on an HTTP/2 connection
	// that has been idle for After.
	IdleGoAway

	// CloseOnReuse closes an HTTP/1 connection at the first byte of a request
	// that is not the connection's first. The request is never parsed, so the
	// fault cannot choose by method, path or header, and the journal has no row
	// for it.
	CloseOnReuse

	// SilentClose closes the connection after a complete response that did not
	// announce it: no Connection: close, no GOAWAY.
	SilentClose
	// AnnounceClose answers with Connection: close and closes. HTTP/1.
	AnnounceClose
	// AnnounceStay answers with Connection: close and keeps serving. HTTP/1.
	AnnounceStay
	// AnnounceCloseLate answers with Connection: close, reads nothing more, and
	// closes After later. HTTP/1.
	AnnounceCloseLate
	// FinAfterRequest reads the whole request and closes the connection without
	// an answer; Executed runs the handler first, its response is lost.
	FinAfterRequest
	// RstAfterRequest is FinAfterRequest with a RST.
	RstAfterRequest
	// CloseInRequestBody closes the connection after Bytes bytes of the
	// request's body; Executed lets the handler do that reading.
	CloseInRequestBody
	// CloseInStatusLine closes after Bytes bytes of the response (0: after
	// "HTTP/1.1 "). The handler runs. HTTP/1.
	CloseInStatusLine
	// CloseInHeaders closes after the status line and Bytes bytes of the header
	// block (0: half of it). The handler runs. HTTP/1.
	CloseInHeaders
	// CloseInBody sends the response's head and Bytes bytes of its body, and
	// closes. The handler runs.
	CloseInBody
	// CloseAfterRequests closes a connection after its Requests-th answer;
	// Announced says so in it (Connection: close, GOAWAY).
	CloseAfterRequests
	// CloseAfterAge closes a connection older than After: at once if idle,
	// else after the answer; Announced says so in it where there is one.
	CloseAfterAge
	// NeverAnswer reads the request, does not run the handler, and stays silent
	// until the client gives up.
	NeverAnswer
	// Delay waits After (plus up to Jitter) before the handler runs. It
	// combines with any other kind.
	Delay
	// Status answers with Code and, if Value is set, Retry-After: Value,
	// without running the handler.
	Status
	// KeepAliveHeader sends Value as the Keep-Alive header, whatever the
	// connection's true timeout is. HTTP/1.
	KeepAliveHeader
	// SurplusBytes writes Value right behind a complete response. HTTP/1.
	SurplusBytes

	// GoAway ends an HTTP/2 connection gracefully, as RFC 9113 section 6.8
	// has it: GOAWAY(2^31-1), then, when the client has acknowledged a PING
	// (After, if set, is a fixed time instead), GOAWAY with the last stream
	// accepted, and a close when all streams have ended. The request that sets
	// it off is served.
	GoAway
	// GoAwayBelow sends one GOAWAY whose last stream id is below the request
	// that sets it off: that request is not executed and never answered, older
	// ones are. Code is the error code (0: NO_ERROR).
	GoAwayBelow
	// GoAwayError sends GOAWAY with Code, naming the request that sets it off
	// as the last stream, and closes at once. Executed runs the handler first.
	GoAwayError
	// CloseWithoutGoAway closes an HTTP/2 connection with a FIN as soon as the
	// request's head has arrived; Executed runs the handler first.
	CloseWithoutGoAway
	// ResetStream answers the request with RST_STREAM and Code; Executed runs
	// the handler first, which REFUSED_STREAM (7) forbids. HTTP/2.
	ResetStream
	// ResetStreamAfterHeaders sends the handler's response head, Bytes bytes of
	// its body, and RST_STREAM with Code. HTTP/2.
	ResetStreamAfterHeaders
	// PingLate acknowledges an HTTP/2 PING After later; 0: never.
	PingLate

	kindEnd
)

// stage is the moment at which a kind is judged.
type stage uint8

const (
	atFirstByte stage = iota // a byte arrived, nothing is parsed yet
	atRequest                // a request's head is known
	atIdle                   // a connection has been idle for a time
	atPing                   // an HTTP/2 PING arrived
	stageCount
)

// protoSet is a set of protocols.
type protoSet uint8

const (
	onHTTP1 protoSet = 1 << iota
	onHTTP2
	onBoth = onHTTP1 | onHTTP2
)

// param is a set of a Fault's parameters.
type param uint16

const (
	pAfter param = 1 << iota
	pJitter
	pRequests
	pBytes
	pValue
	pCode
	pExecuted
	pAnnounced
)

// kindSpec is all that validation and matching know of a kind.
type kindSpec struct {
	name   string
	at     stage
	protos protoSet
	uses   param // parameters it reads; any other that is set is a mistake
	needs  param // parameters it cannot do without
}

var kindSpecs = [kindEnd]kindSpec{
	IdleClose:  {"idle-close", atIdle, onBoth, pAfter | pJitter, pAfter},
	IdleReset:  {"idle-reset", atIdle, onBoth, pAfter | pJitter, pAfter},
	Idle408:    {"idle-408", atIdle, onHTTP1, pAfter | pJitter, pAfter},
	IdleBytes:  {"idle-bytes", atIdle, onHTTP1, pAfter | pJitter | pValue, pAfter | pValue},
	IdleGoAway: {"idle-goaway", atIdle, onHTTP2, pAfter | pJitter, pAfter},

	CloseOnReuse: {"close-on-reuse", atFirstByte, onHTTP1, 0, 0},

	SilentClose:        {"silent-close", atRequest, onBoth, 0, 0},
	AnnounceClose:      {"announce-close", atRequest, onHTTP1, 0, 0},
	AnnounceStay:       {"announce-stay", atRequest, onHTTP1, 0, 0},
	AnnounceCloseLate:  {"announce-close-late", atRequest, onHTTP1, pAfter | pJitter, pAfter},
	FinAfterRequest:    {"fin-after-request", atRequest, onBoth, pExecuted, 0},
	RstAfterRequest:    {"rst-after-request", atRequest, onBoth, pExecuted, 0},
	CloseInRequestBody: {"close-in-request-body", atRequest, onBoth, pBytes | pExecuted, 0},
	CloseInStatusLine:  {"close-in-status-line", atRequest, onHTTP1, pBytes, 0},
	CloseInHeaders:     {"close-in-headers", atRequest, onHTTP1, pBytes, 0},
	CloseInBody:        {"close-in-body", atRequest, onBoth, pBytes, 0},
	CloseAfterRequests: {"close-after-requests", atRequest, onBoth, pRequests | pAnnounced, pRequests},
	CloseAfterAge:      {"close-after-age", atRequest, onBoth, pAfter | pAnnounced, pAfter},
	NeverAnswer:        {"never-answer", atRequest, onBoth, 0, 0},
	Delay:              {"delay", atRequest, onBoth, pAfter | pJitter, pAfter},
	Status:             {"status", atRequest, onBoth, pCode | pValue, pCode},
	KeepAliveHeader:    {"keep-alive-header", atRequest, onHTTP1, pValue, pValue},
	SurplusBytes:       {"surplus-bytes", atRequest, onHTTP1, pValue, pValue},

	GoAway:                  {"goaway", atRequest, onHTTP2, pAfter, 0},
	GoAwayBelow:             {"goaway-below", atRequest, onHTTP2, pCode, 0},
	GoAwayError:             {"goaway-error", atRequest, onHTTP2, pCode | pExecuted, pCode},
	CloseWithoutGoAway:      {"close-without-goaway", atRequest, onHTTP2, pExecuted, 0},
	ResetStream:             {"reset-stream", atRequest, onHTTP2, pCode | pExecuted, pCode},
	ResetStreamAfterHeaders: {"reset-stream-after-headers", atRequest, onHTTP2, pCode | pBytes, pCode},
	PingLate:                {"ping-late", atPing, onHTTP2, pAfter, 0},
}

// Kinds returns every kind, in the order of the constants.
func Kinds() []Kind {
	all := make([]Kind, 0, kindEnd-1)
	for k := IdleClose; k < kindEnd; k++ {
		all = append(all, k)
	}
	return all
}

func (k Kind) valid() bool    { return k > 0 && k < kindEnd }
func (k Kind) spec() kindSpec { return kindSpecs[k] }

// judgedWhenIdle reports whether the kind is (also) judged while a connection
// is idle: an age passes whether or not a request is running.
func (k Kind) judgedWhenIdle() bool { return k.spec().at == atIdle || k == CloseAfterAge }

// String returns the kind's kebab-case name; the zero Kind is "none".
func (k Kind) String() string {
	switch {
	case k == 0:
		return "none"
	case !k.valid():
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindSpecs[k].name
}

// ParseKind returns the kind of that name. An unknown name is an error that
// lists the known ones.
func ParseKind(name string) (Kind, error) {
	for _, k := range Kinds() {
		if kindSpecs[k].name == name {
			return k, nil
		}
	}
	names := make([]string, 0, kindEnd)
	for _, k := range Kinds() {
		names = append(names, k.String())
	}
	slices.Sort(names)
	return 0, fmt.Errorf("unknown kind of fault %q; known: %s", name, strings.Join(names, ", "))
}

// MarshalText returns the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is [ParseKind].
func (k *Kind) UnmarshalText(text []byte) error {
	parsed, err := ParseKind(string(text))
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}
