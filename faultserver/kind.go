package faultserver

// Kind says what a [Fault] does. Its name in text, in scenarios and in the
// journal is the kebab-case form that String returns.
type Kind uint8

// The kinds. They go on in kind_http2.go, kind_message.go, kind_tls.go and
// kind_network.go, each of which begins where the one before it ends. Each
// comment names the moment the fault is judged, the parameters it reads, and the
// protocols it exists on; on any other protocol it does not match, and a server
// that serves none of them refuses it.
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
	// closes. The handler runs. Of a body no longer than that the end is
	// withheld, the last chunk or END_STREAM; an HTTP/1 response without
	// chunks has none, is then complete and counts as answered.
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
	// combines with any other kind; several of them add up.
	Delay
	// Status answers with Code and, if Value is set, Retry-After: Value,
	// without running the handler. After in place of Value makes Retry-After
	// the HTTP-date that lies so far ahead.
	Status
	// KeepAliveHeader sends Value as the Keep-Alive header, whatever the
	// connection's true timeout is; several of them send as many. HTTP/1.
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
	// GoAwayError sends GOAWAY with Code and, as debug data, Value, naming as the
	// last stream the request that sets it off, or one that came meanwhile, and
	// closes at once. Executed runs the handler first.
	GoAwayError
	// CloseWithoutGoAway closes an HTTP/2 connection with a FIN as soon as the
	// request's head has arrived; Executed runs the handler first.
	CloseWithoutGoAway
	// ResetStream answers the request with RST_STREAM and Code; Executed runs
	// the handler first, which REFUSED_STREAM (7) forbids. HTTP_1_1_REQUIRED
	// (13) asks for another protocol (RFC 9113 section 8.1); Status with 421
	// asks for another connection (RFC 9110 section 15.5.20). HTTP/2.
	ResetStream
	// ResetStreamAfterHeaders sends the handler's response head, Bytes bytes of
	// its body, and RST_STREAM with Code. HTTP/2.
	ResetStreamAfterHeaders
	// PingLate acknowledges an HTTP/2 PING After later; 0: never.
	PingLate
)
