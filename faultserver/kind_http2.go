package faultserver

// The kinds of HTTP/2 frames and GOAWAYs, see [Kind].
const (
	// HTTP/2, judged when a connection begins: only Nth, Probability and Times
	// choose, and they count connections. Sections are RFC 9113's.

	// SettingsLate holds back the server's SETTINGS, and with them all that the
	// server says, until After; 0: for ever. Requests are read meanwhile, but
	// run only then. Section 3.4.
	SettingsLate Kind = iota + PingLate + 1
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
)
