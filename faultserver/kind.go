package faultserver

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
	// GoAwayError sends GOAWAY with Code and, as debug data, Value, naming the
	// request that sets it off as the last stream, and closes at once. Executed
	// runs the handler first.
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

	// HTTP/2, judged when a connection begins: only Nth, Probability and Times
	// choose, and they count connections. Sections are RFC 9113's.

	// SettingsLate holds back the server's SETTINGS, and with them all that the
	// server says, until After; 0: for ever. Requests are read meanwhile, but
	// run only then. Section 3.4.
	SettingsLate
	// SettingsMissing sends everything but the server's SETTINGS, which must
	// come first (section 3.4).
	SettingsMissing
	// SettingsAckLate acknowledges the client's SETTINGS After later; 0: never.
	// Section 6.5.3.
	SettingsAckLate
	// StartSettings puts Value into the server's first SETTINGS, in place of
	// its own where they name the same: "initial-window-size=0, 0x8=1". Names
	// are those of the RFCs without SETTINGS_, or numbers; values may be
	// invalid (section 6.5.2). The server keeps to what it announces: with
	// initial-window-size=0 no request body can be sent.
	StartSettings
	// StartMaxStreams announces Count as MAX_CONCURRENT_STREAMS, 0 included;
	// streams above are refused once the client has acknowledged it. Section
	// 5.1.2.
	StartMaxStreams
	// ConnWindowWithheld leaves the connection's window at its initial 65,535
	// bytes until After has passed since the beginning; 0: for ever. Section 6.9.
	ConnWindowWithheld

	// HTTP/2, sent at a request's head. The request is served as ever, if the
	// client still wants it.

	// ChangeSettings sends a SETTINGS frame with Value, as StartSettings has
	// it. A smaller initial-window-size makes the windows of uploads negative
	// (section 6.9.2).
	ChangeSettings
	// ChangeMaxStreams sends a SETTINGS frame with Count as
	// MAX_CONCURRENT_STREAMS, 0 included. Streams that exist live on; ones
	// above the limit are refused once the client has acknowledged it. Section
	// 5.1.2.
	ChangeMaxStreams
	// SettingsFlood sends Count empty SETTINGS frames, each to be acknowledged
	// (CVE-2019-9515).
	SettingsFlood
	// PingFlood sends Count PINGs, each to be acknowledged (CVE-2019-9512).
	PingFlood
	// StreamWindowWithheld sends no WINDOW_UPDATE on the request's stream until
	// After has passed; 0: never. The body stops at the stream's initial
	// window, 1 MiB unless StartSettings says otherwise. Section 6.9.
	StreamWindowWithheld
	// ZeroWindowUpdate sends a WINDOW_UPDATE with an increment of 0, on the
	// request's "stream" or, by Value, on the "connection". Section 6.9.
	ZeroWindowUpdate
	// WindowOverflow sends a WINDOW_UPDATE that lifts the window of the
	// request's "stream" or, by Value, of the "connection" above 2^31-1.
	// Section 6.9.1.
	WindowOverflow
	// UnknownFrame sends Count (0: 1) frames of the unknown type Code (0: 0x2a)
	// with Bytes bytes on the request's stream; clients must ignore them
	// (section 5.5).
	UnknownFrame
	// DataOnIdleStream sends DATA on a stream that the client never opened.
	// Section 5.1.
	DataOnIdleStream
	// PushPromise promises a push, although clients have it disabled, and
	// resets the promised stream. Section 8.4.
	PushPromise
	// WrongStream sends a frame where it must not be: Value is "data",
	// "headers", "priority", "rst-stream", "push-promise" or "continuation" on
	// stream 0, or "settings", "ping" or "goaway" on the request's stream. "":
	// data. Section 6.
	WrongStream

	// HTTP/2, in the response. The handler runs. Except where said otherwise
	// the response counts as not answered, for no client may take it.

	// BadHPACK sends a header block that cannot be decoded, with which both
	// ends' tables are lost. Section 4.3.
	BadHPACK
	// BadHeaders sends a malformed head and ends the stream: Value is
	// "missing-status", "double-status", "junk-status", "late-status",
	// "unknown-pseudo", "request-pseudo", "uppercase-name" or
	// "connection-header". "": missing-status. Sections 8.1.1, 8.2, 8.3.
	BadHeaders
	// HeadersInterrupted sends HEADERS without END_HEADERS and then a frame
	// other than CONTINUATION: Value is "ping", "data" or "settings". "": ping.
	// Section 6.10.
	HeadersInterrupted
	// ContinuationFlood spreads the head over Count CONTINUATION frames more,
	// each with a header of Bytes bytes, or empty (CVE-2024-27316,
	// CVE-2023-45288). The last one ends the block: a client that took them all
	// is answered.
	ContinuationFlood
	// OversizeFrame sends DATA one byte longer than the client's
	// MAX_FRAME_SIZE. One that allows the greatest possible is answered
	// instead. Section 4.2.
	OversizeFrame
	// CloseInFrame closes the connection after Bytes bytes (0: half) of the
	// frame with the response's "headers" or, by Value, of its first "data".
	CloseInFrame
	// EmptyDataFlood sends Count empty DATA frames before the body
	// (CVE-2019-9518), and answers.
	EmptyDataFlood
	// BadTrailers sends the whole body and then trailers that are malformed:
	// Value is "pseudo" (with a :status), "no-end" (without END_STREAM),
	// "uppercase-name" or "connection-header". "": pseudo. Section 8.1.
	BadTrailers
	// DataOnClosedStream sends DATA behind a complete response, which counts as
	// answered. Section 5.1.
	DataOnClosedStream
	// ResetStreamAfterAnswer sends RST_STREAM with Code right behind a complete
	// response, which counts as answered. With NO_ERROR (0) the client must
	// keep the response, even if it was still sending the request (section
	// 8.1); the server does that by itself where a handler leaves a body
	// unread.
	ResetStreamAfterAnswer

	// PingWrong acknowledges a PING with other bytes than were sent. Section
	// 6.7.
	PingWrong
	// TooManyPings answers a connection's PING, if Count came before it, with
	// GOAWAY, ENHANCE_YOUR_CALM and the text "too_many_pings", and closes, as
	// gRPC servers do to clients whose keep-alive is too quick.
	TooManyPings

	// GoAwayTwice sends GOAWAY naming the request that sets it off as the last
	// stream, and After later another that disowns it: the request is not
	// executed and never answered, older ones are. Code and Value are the error
	// code and the debug data of both. Section 6.8.
	GoAwayTwice
	// GoAwayAhead sends one GOAWAY whose last stream id is Count (0: 1000)
	// streams above any that was opened, with Code and, as debug data, Value;
	// the streams are served, and the connection ends when all have ended.
	// Section 6.8.
	GoAwayAhead
	// GoAwayStay sends GOAWAY with Code and, as debug data, Value; the streams
	// are served, and the connection is left open until After has passed and
	// all have ended; 0: until the client closes it. Section 6.8.
	GoAwayStay
	// HTTP/1 and TLS: the request's way in.

	// StallRequestBody stops reading the request's body after Bytes bytes and
	// does not close: the client's writes stand still. After (plus up to
	// Jitter) later the server reads on, and the handler, which did the reading,
	// never knows. 0: it never reads on, and the connection stands until the
	// server ends it, for a server that does not read cannot see its client
	// leave; Executed then lets the handler do the reading. A body no longer
	// than Bytes is never answered then either.
	StallRequestBody
	// EarlyAnswer answers with Code, such as 413, after Bytes bytes of the
	// request's body, without the handler, and closes although the rest is
	// still to come: with close(2), so that what still comes draws a RST, which
	// may destroy the answer before the client has read it. After: the server
	// sends its FIN and reads on for so long, as nginx and Apache do, and the
	// answer is safe. Announced says Connection: close. HTTP/1.
	EarlyAnswer
	// ContinueLate keeps a client that sent Expect: 100-continue waiting for
	// After (plus up to Jitter) from when the body is wanted; 0: the 100 never
	// comes. A client that sends its body all the same is served.
	ContinueLate
	// InterimResponses sends Count responses with Code (a 1xx, not 101) before
	// whatever else becomes of the request, After apart.
	InterimResponses

	// HTTP/1: where the body ends. These hold a response back until the handler
	// has returned, however large, because they must know its length. Where a
	// client that follows RFC 9112 could not take what was sent for a complete
	// response, the journal does not call the request answered. Responses that
	// cannot have a body are left alone.

	// ContentLengthTooLong announces Bytes more (0: one more) than follow. The
	// connection stays open. HTTP/1.
	ContentLengthTooLong
	// ContentLengthTooShort announces Bytes fewer (0: one fewer, and never less
	// than none) than follow: the rest is surplus. HTTP/1.
	ContentLengthTooShort
	// ContentLengthValue sends Value as the Content-Length: "-1", "junk",
	// "7, 7". HTTP/1.
	ContentLengthValue
	// DoubleContentLength sends a second Content-Length line with Value ("":
	// the true length again) behind the true one. HTTP/1.
	DoubleContentLength
	// LengthAndChunked sends a chunked response with a Content-Length beside
	// it, Value or the body's own. RFC 9112 section 6.3 lets chunked win, and
	// calls it a possible attack. HTTP/1.
	LengthAndChunked
	// CloseDelimited sends the body with neither length nor chunks: it ends
	// where the connection does, After later. Announced says Connection: close.
	// With CloseInBody nobody can see that it was cut. HTTP/1.
	CloseDelimited
	// HTTP09Answer sends the body with no status line and no headers, and
	// closes. HTTP/1.
	HTTP09Answer

	// BrokenChunk sends Bytes bytes of the body in chunks, then Value ("": "not
	// a size", CR, LF) where the next chunk should begin, and closes. HTTP/1.
	BrokenChunk
	// RawAnswer sends Value in place of a response, whatever it is, and closes;
	// Executed runs the handler first. HTTP/1.
	RawAnswer
	// RandomBytes is RawAnswer with Bytes bytes (0: 64) drawn from Config.Seed.
	// HTTP/1.
	RandomBytes
	// StatusLine sends Value in place of the status line: "HTTP/1.1 abc",
	// "ICY 200 OK". The rest of the response is in order. HTTP/1.
	StatusLine

	// HugeHeader adds a header X-Huge of Bytes bytes to the response.
	HugeHeader
	// ManyHeaders adds Count headers X-Many-1, X-Many-2, … to the response.
	ManyHeaders
	// SlowHeaders lets the response's head out at Rate bytes per second, in
	// portions of Bytes (0: fifty a second, or single bytes). HTTP/1.
	SlowHeaders
	// SlowBody lets the response's body out at Rate bytes per second, in
	// portions of Bytes (0: fifty a second, or single bytes). In a chunked
	// response each is a chunk, on HTTP/2 a DATA frame.
	SlowBody
	// StallInBody sends the response's head and Bytes bytes of its body, and
	// nothing more until After (plus up to Jitter) later; 0: until the client
	// gives up. Of a body no longer than that the end is withheld, if it is not
	// known from a Content-Length already.
	StallInBody

	// HalfClose sends a FIN after a complete response and reads on: what still
	// comes is executed, and its answers go nowhere. The journal calls the
	// connection closed from then on. After ends it altogether so long after
	// the FIN (0: when the client closes). Announced says Connection: close.
	// HTTP/1.
	HalfClose
	// IdleHalfClose is HalfClose on a connection that has been idle for After
	// (plus up to Jitter), as Node's socket.end() on a timeout does it. HTTP/1.
	IdleHalfClose

	// NoCloseNotify makes whatever ends the connection after this request,
	// another fault, a timeout or a drain, omit TLS's close_notify, so that the
	// client cannot tell the end from a truncation. Only under TLS.
	NoCloseNotify

	// TLS: the handshake. These are judged when a connection is accepted, and
	// only under TLS. Nth counts connections. Where the handshake fails for
	// one, the journal names it as what ended the connection.

	// TLSRefused answers the ClientHello with the fatal alert Code (RFC 8446
	// section 6; 0: 40, handshake_failure) and closes.
	TLSRefused
	// TLSStalled lets the client wait for the ServerHello for After (plus up to
	// Jitter); 0: until it gives up.
	TLSStalled
	// TLSCut closes after Bytes bytes (0: half of the first flight) of what the
	// server has to say in the handshake.
	TLSCut
	// TLSPlaintext answers the ClientHello with Value in clear ("": a 400 in
	// HTTP/1) and closes, as a port without TLS does.
	TLSPlaintext
	// CertificateWrongName shows a certificate for Value ("":
	// wrong-name.invalid) in place of the server's. Like the other two it is
	// signed by the certificate the server makes for itself: under a TLSConfig
	// of your own the client finds an unknown authority too. And like them it
	// makes the handshake a full one, for in a resumed session no certificate
	// is shown.
	CertificateWrongName
	// CertificateExpired shows a certificate that has expired.
	CertificateExpired
	// CertificateUnknownAuthority shows a certificate that it signed itself.
	CertificateUnknownAuthority
	// ALPNRefused knows none of the protocols that the client offers, and says
	// so with the alert no_application_protocol. A client that offers none is
	// served.
	ALPNRefused
	// ALPNMissing does not answer the client's ALPN offer and speaks HTTP/1.1.
	ALPNMissing
	// ALPNMismatch agrees on HTTP/2 and speaks HTTP/1.1, or the other way
	// round.
	ALPNMismatch
	// ResumptionRefused ends the handshake with the alert handshake_failure if
	// the client offers to resume a session. Others are served.
	ResumptionRefused
	// ResumptionForgotten knows no session: every handshake is a full one.
	ResumptionForgotten
	// TCP. Those that say "Linux" are refused by Server.InjectE elsewhere, and
	// where the kernel does not let them, with an error that says what is
	// missing.

	// AcceptReset resets a connection as soon as it is accepted; the client's
	// dial succeeds or, now and then, fails with the RST. Judged when a
	// connection is accepted; Nth counts connections.
	AcceptReset
	// AcceptLate leaves a connection After (plus up to Jitter) alone before it
	// is read from, and accepts no other on that address meanwhile, as a server
	// whose only acceptor is busy; the kernel completes the handshakes. Judged
	// when a connection is accepted.
	AcceptLate
	// Latency makes everything take After (plus up to Jitter) longer, in either
	// direction: data and FIN, but neither a RST nor the kernel's handshake and
	// acknowledgements. Order is kept. Judged when a connection is accepted and,
	// for those that are open, at injection; it ends for all when it is removed.
	Latency
	// Bandwidth carries at most Rate bytes per second in either direction, on
	// each connection; of several the lowest counts. Judged as Latency is.
	Bandwidth
	// SlowClose makes every FIN of the server's come After later than decided.
	// The journal has the time of the decision. Judged as Latency is.
	SlowClose
	// Loss makes the kernel drop a share of the packets from the client, Value,
	// such as "2.5%", so that data, acknowledgements and FINs come late by
	// retransmission; packets to the client are not lost. It is not drawn from
	// Config.Seed. Judged as Latency is. Linux; recent kernels want
	// CAP_NET_ADMIN.
	Loss

	// RefuseConnections closes the listener, so that connections are refused,
	// and listens on the same address again After later (plus up to Jitter; 0:
	// when the fault is removed). Connections that are open live on; those that
	// were in the queue are reset. Value is the host of one of Config.Addresses,
	// "" all. In force at once. A Config.Listener that is not a
	// *net.TCPListener cannot be made again: set Config.Listen.
	RefuseConnections
	// FullBacklog accepts nothing and cuts the kernel's queue down to one
	// connection: further SYNs are not answered, and the client repeats them
	// after 1, 3, 7 … seconds. Parameters are RefuseConnections'. Linux.
	FullBacklog
	// SilentListener answers no SYN, as if the machine were gone; connections
	// that are open live on. Parameters are RefuseConnections'. Linux.
	SilentListener
	// PauseServer is Server.Pause for After (plus up to Jitter; 0: until the
	// fault is removed). In force at once.
	PauseServer

	// IdleVanish drops a connection silently after After (plus up to Jitter) of
	// idleness: no FIN, no RST, and nothing the client sends is acknowledged,
	// until the server is closed. Linux, or memnet.
	IdleVanish
	// IdleForget drops a connection silently after After (plus up to Jitter) of
	// idleness; the client's next packet, of whatever kind, is answered with a
	// RST. Linux, where it wants CAP_NET_ADMIN or a network device beside the
	// loopback, or memnet.
	IdleForget
	// VanishOnRequest reads the whole request and then drops the connection
	// like IdleVanish; Executed runs the handler first. Linux, or memnet.
	VanishOnRequest
	// CrashOnRequest reads the whole request and then crashes the server as
	// Server.Crash does; Executed runs the handler first. The server is back
	// After later (plus up to Jitter; 0: at Server.Resume).
	CrashOnRequest

	// Names: what the server of Server.Resolver answers. They are judged for
	// each question; Value is the host name, also with a search domain behind
	// it, "" any. Go asks two for each name (A and AAAA), and those that fail
	// more than once.

	// LookupNXDomain says that the name does not exist.
	LookupNXDomain
	// LookupServFail says that the name server failed (SERVFAIL).
	LookupServFail
	// LookupEmpty says that the name exists but has no address.
	LookupEmpty
	// LookupDelay answers After (plus up to Jitter) later. It combines with the
	// others.
	LookupDelay
	// LookupSilence never answers.
	LookupSilence
	// LookupTruncated cuts answers over UDP off, so that the resolver asks again
	// over TCP.
	LookupTruncated
	// LookupWrong answers with other addresses: Value is "host=addresses", or
	// "addresses" for any host, with commas between them.
	LookupWrong

	kindEnd
)
