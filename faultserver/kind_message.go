package faultserver

// The kinds that spoil a message, on HTTP/1 above all, see [Kind].
const (
	// HTTP/1 and TLS: the request's way in.

	// StallRequestBody stops reading the request's body after Bytes bytes and
	// does not close: the client's writes stand still. After (plus up to
	// Jitter) later the server reads on, and the handler, which did the reading,
	// never knows. 0: it never reads on, and the connection stands until the
	// server ends it, for a server that does not read cannot see its client
	// leave; Executed then lets the handler do the reading. A body no longer
	// than Bytes is never answered then either.
	StallRequestBody Kind = iota + GoAwayStay + 1
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
)
