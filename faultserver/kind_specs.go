package faultserver

// stage is the moment at which a kind is judged.
type stage uint8

const (
	atFirstByte stage = iota // a byte arrived, nothing is parsed yet
	atRequest                // a request's head is known
	atIdle                   // a connection has been idle for a time
	atPing                   // an HTTP/2 PING arrived
	atPreface                // an HTTP/2 connection has begun
	atAccept                 // a connection was accepted
	atOnce                   // none: the fault is in force from its injection on
	atLookup                 // a name is looked up
	stageCount
)

// protoSet is a set of protocols.
type protoSet uint8

const (
	onHTTP1 protoSet = 1 << iota
	onHTTP2
	onBoth = onHTTP1 | onHTTP2
)

func (p protoSet) String() string {
	switch p {
	case onHTTP1:
		return "HTTP/1"
	case onHTTP2:
		return "HTTP/2"
	}
	return "HTTP/1 or HTTP/2"
}

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
	pRate
	pCount
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
	Status:             {"status", atRequest, onBoth, pCode | pValue | pAfter, pCode},
	KeepAliveHeader:    {"keep-alive-header", atRequest, onHTTP1, pValue, pValue},
	SurplusBytes:       {"surplus-bytes", atRequest, onHTTP1, pValue, pValue},

	GoAway:                  {"goaway", atRequest, onHTTP2, pAfter, 0},
	GoAwayBelow:             {"goaway-below", atRequest, onHTTP2, pCode | pValue, 0},
	GoAwayError:             {"goaway-error", atRequest, onHTTP2, pCode | pValue | pExecuted, pCode},
	CloseWithoutGoAway:      {"close-without-goaway", atRequest, onHTTP2, pExecuted, 0},
	ResetStream:             {"reset-stream", atRequest, onHTTP2, pCode | pExecuted, pCode},
	ResetStreamAfterHeaders: {"reset-stream-after-headers", atRequest, onHTTP2, pCode | pBytes, pCode},
	PingLate:                {"ping-late", atPing, onHTTP2, pAfter, 0},

	// HTTP/2 frames.
	SettingsLate:           {"settings-late", atPreface, onHTTP2, pAfter, 0},
	SettingsMissing:        {"settings-missing", atPreface, onHTTP2, 0, 0},
	SettingsAckLate:        {"settings-ack-late", atPreface, onHTTP2, pAfter, 0},
	StartSettings:          {"start-settings", atPreface, onHTTP2, pValue, pValue},
	StartMaxStreams:        {"start-max-streams", atPreface, onHTTP2, pCount, 0},
	ConnWindowWithheld:     {"conn-window-withheld", atPreface, onHTTP2, pAfter, 0},
	ChangeSettings:         {"change-settings", atRequest, onHTTP2, pValue, pValue},
	ChangeMaxStreams:       {"change-max-streams", atRequest, onHTTP2, pCount, 0},
	SettingsFlood:          {"settings-flood", atRequest, onHTTP2, pCount, pCount},
	PingFlood:              {"ping-flood", atRequest, onHTTP2, pCount, pCount},
	StreamWindowWithheld:   {"stream-window-withheld", atRequest, onHTTP2, pAfter, 0},
	ZeroWindowUpdate:       {"zero-window-update", atRequest, onHTTP2, pValue, 0},
	WindowOverflow:         {"window-overflow", atRequest, onHTTP2, pValue, 0},
	UnknownFrame:           {"unknown-frame", atRequest, onHTTP2, pCount | pCode | pBytes, 0},
	DataOnIdleStream:       {"data-on-idle-stream", atRequest, onHTTP2, 0, 0},
	PushPromise:            {"push-promise", atRequest, onHTTP2, 0, 0},
	WrongStream:            {"wrong-stream", atRequest, onHTTP2, pValue, 0},
	BadHPACK:               {"bad-hpack", atRequest, onHTTP2, 0, 0},
	BadHeaders:             {"bad-headers", atRequest, onHTTP2, pValue, 0},
	HeadersInterrupted:     {"headers-interrupted", atRequest, onHTTP2, pValue, 0},
	ContinuationFlood:      {"continuation-flood", atRequest, onHTTP2, pCount | pBytes, pCount},
	OversizeFrame:          {"oversize-frame", atRequest, onHTTP2, 0, 0},
	CloseInFrame:           {"close-in-frame", atRequest, onHTTP2, pBytes | pValue, 0},
	EmptyDataFlood:         {"empty-data-flood", atRequest, onHTTP2, pCount, pCount},
	BadTrailers:            {"bad-trailers", atRequest, onHTTP2, pValue, 0},
	DataOnClosedStream:     {"data-on-closed-stream", atRequest, onHTTP2, 0, 0},
	ResetStreamAfterAnswer: {"reset-stream-after-answer", atRequest, onHTTP2, pCode, 0},
	PingWrong:              {"ping-wrong", atPing, onHTTP2, 0, 0},
	TooManyPings:           {"too-many-pings", atPing, onHTTP2, pCount, 0},
	GoAwayTwice:            {"goaway-twice", atRequest, onHTTP2, pAfter | pCode | pValue, 0},
	GoAwayAhead:            {"goaway-ahead", atRequest, onHTTP2, pCount | pCode | pValue, 0},
	GoAwayStay:             {"goaway-stay", atRequest, onHTTP2, pAfter | pCode | pValue, 0},
	// HTTP/1 and TLS.
	StallRequestBody: {"stall-request-body", atRequest, onBoth, pBytes | pAfter | pJitter | pExecuted, 0},
	EarlyAnswer:      {"early-answer", atRequest, onHTTP1, pCode | pBytes | pAfter | pAnnounced, pCode},
	ContinueLate:     {"continue-late", atRequest, onBoth, pAfter | pJitter, 0},
	InterimResponses: {"interim-responses", atRequest, onBoth, pCount | pCode | pAfter, pCount | pCode},

	ContentLengthTooLong:  {"content-length-too-long", atRequest, onHTTP1, pBytes, 0},
	ContentLengthTooShort: {"content-length-too-short", atRequest, onHTTP1, pBytes, 0},
	ContentLengthValue:    {"content-length-value", atRequest, onHTTP1, pValue, pValue},
	DoubleContentLength:   {"double-content-length", atRequest, onHTTP1, pValue, 0},
	LengthAndChunked:      {"length-and-chunked", atRequest, onHTTP1, pValue, 0},
	CloseDelimited:        {"close-delimited", atRequest, onHTTP1, pAfter | pAnnounced, 0},
	HTTP09Answer:          {"http09-answer", atRequest, onHTTP1, 0, 0},

	BrokenChunk: {"broken-chunk", atRequest, onHTTP1, pBytes | pValue, 0},
	RawAnswer:   {"raw-answer", atRequest, onHTTP1, pValue | pExecuted, pValue},
	RandomBytes: {"random-bytes", atRequest, onHTTP1, pBytes | pExecuted, 0},
	StatusLine:  {"status-line", atRequest, onHTTP1, pValue, pValue},

	HugeHeader:  {"huge-header", atRequest, onBoth, pBytes, pBytes},
	ManyHeaders: {"many-headers", atRequest, onBoth, pCount, pCount},
	SlowHeaders: {"slow-headers", atRequest, onHTTP1, pRate | pBytes, pRate},
	SlowBody:    {"slow-body", atRequest, onBoth, pRate | pBytes, pRate},
	StallInBody: {"stall-in-body", atRequest, onBoth, pBytes | pAfter | pJitter, 0},

	HalfClose:     {"half-close", atRequest, onHTTP1, pAfter | pAnnounced, 0},
	IdleHalfClose: {"idle-half-close", atIdle, onHTTP1, pAfter | pJitter, pAfter},

	NoCloseNotify:               {"no-close-notify", atRequest, onBoth, 0, 0},
	TLSRefused:                  {"tls-refused", atAccept, onBoth, pCode, 0},
	TLSStalled:                  {"tls-stalled", atAccept, onBoth, pAfter | pJitter, 0},
	TLSCut:                      {"tls-cut", atAccept, onBoth, pBytes, 0},
	TLSPlaintext:                {"tls-plaintext", atAccept, onBoth, pValue, 0},
	CertificateWrongName:        {"certificate-wrong-name", atAccept, onBoth, pValue, 0},
	CertificateExpired:          {"certificate-expired", atAccept, onBoth, 0, 0},
	CertificateUnknownAuthority: {"certificate-unknown-authority", atAccept, onBoth, 0, 0},
	ALPNRefused:                 {"alpn-refused", atAccept, onBoth, 0, 0},
	ALPNMissing:                 {"alpn-missing", atAccept, onBoth, 0, 0},
	ALPNMismatch:                {"alpn-mismatch", atAccept, onBoth, 0, 0},
	ResumptionRefused:           {"resumption-refused", atAccept, onBoth, 0, 0},
	ResumptionForgotten:         {"resumption-forgotten", atAccept, onBoth, 0, 0},
	// TCP
	AcceptReset:       {"accept-reset", atAccept, onBoth, 0, 0},
	AcceptLate:        {"accept-late", atAccept, onBoth, pAfter | pJitter, pAfter},
	Latency:           {"latency", atAccept, onBoth, pAfter | pJitter, pAfter},
	Bandwidth:         {"bandwidth", atAccept, onBoth, pRate, pRate},
	SlowClose:         {"slow-close", atAccept, onBoth, pAfter, pAfter},
	Loss:              {"loss", atAccept, onBoth, pValue, pValue},
	RefuseConnections: {"refuse-connections", atOnce, onBoth, pAfter | pJitter | pValue, 0},
	FullBacklog:       {"full-backlog", atOnce, onBoth, pAfter | pJitter | pValue, 0},
	SilentListener:    {"silent-listener", atOnce, onBoth, pAfter | pJitter | pValue, 0},
	PauseServer:       {"pause-server", atOnce, onBoth, pAfter | pJitter, 0},
	IdleVanish:        {"idle-vanish", atIdle, onBoth, pAfter | pJitter, pAfter},
	IdleForget:        {"idle-forget", atIdle, onBoth, pAfter | pJitter, pAfter},
	VanishOnRequest:   {"vanish-on-request", atRequest, onBoth, pExecuted, 0},
	CrashOnRequest:    {"crash-on-request", atRequest, onBoth, pExecuted | pAfter | pJitter, 0},

	// names
	LookupNXDomain:  {"lookup-nxdomain", atLookup, onBoth, pValue, 0},
	LookupServFail:  {"lookup-servfail", atLookup, onBoth, pValue, 0},
	LookupEmpty:     {"lookup-empty", atLookup, onBoth, pValue, 0},
	LookupDelay:     {"lookup-delay", atLookup, onBoth, pAfter | pJitter | pValue, pAfter},
	LookupSilence:   {"lookup-silence", atLookup, onBoth, pValue, 0},
	LookupTruncated: {"lookup-truncated", atLookup, onBoth, pValue, 0},
	LookupWrong:     {"lookup-wrong", atLookup, onBoth, pValue, pValue},
}
