package idlewise

import (
	"log/slog"
	"net"
	"strings"
	"time"
)

// An Event is something that happened to a Transport's connections and
// requests: one of ConnectionOpened, ConnectionClosed, DialFailed,
// AttemptFailed, RequestLost, DeadlineChanged, CanaryEnded, ProbeEnded,
// UpgradeEnded and BreakerChanged. More may be added. None holds a path, a header or a body, and
// none must be changed.
type Event interface {
	// Kind is the event's name, such as "connection_closed".
	Kind() string
	// When is the time of the event.
	When() time.Time
	// String describes the event in a line.
	String() string
	// LogValue is for log/slog.
	LogValue() slog.Value

	level() slog.Level
	attrs() []slog.Attr
}

// EventInfo is what every event has.
type EventInfo struct {
	Time     time.Time
	Upstream string // as in Stats
}

// When returns the time of the event.
func (i EventInfo) When() time.Time { return i.Time }

// A Conn identifies a connection, so that it can be found in a server's logs.
type Conn struct {
	ID     uint64   // unique within the Transport
	Local  net.Addr // nil if unknown
	Remote net.Addr // nil if unknown
	Proto  string   // "HTTP/1" or "HTTP/2"
}

// ConnectionOpened says that a connection joined the pool.
type ConnectionOpened struct {
	EventInfo
	Conn
	Took time.Duration // name look-up, TCP, proxy and TLS
	RTT  time.Duration // 0 if unknown
}

// DialFailed says that a connection could not be opened, or that the dial was
// canceled since nobody waited for it any more.
type DialFailed struct {
	EventInfo
	Took time.Duration
	Err  error
}

// ConnectionClosed says that a connection left the pool. Except for canaries and
// those that were handed to the program, it is closed with that.
type ConnectionClosed struct {
	EventInfo
	Conn
	Reason   CloseReason
	Age      time.Duration // since its dial began
	Requests int
	Idle     bool          // no request was on it
	IdleAge  time.Duration // if so, for how long
}

// AttemptFailed says that the connection failed under a request. Attempt.Resent
// says whether it was sent again.
type AttemptFailed struct {
	EventInfo
	Attempt
	Method     string
	Idempotent bool
	Stale      bool // the server had closed a connection that was kept for reuse
}

// RequestLost says that a request failed for good since its connection did, and
// its context has not ended. What fails for other reasons, such as a timeout or a
// first attempt's dial, is not reported.
type RequestLost struct {
	EventInfo
	Method     string
	Idempotent bool
	Attempts   []Attempt
	Err        error  // as RoundTrip returned it; nil if it returned the server's 408
	Reason     string // why it was not sent again, and what to do; "" if there is nothing to say
}

// A Deadline says how long an upstream's connections may be idle.
type Deadline struct {
	ServerKeepAlive time.Duration  // what the server allows, 0 if unknown
	IdleLimit       time.Duration  // when a connection is retired
	Source          DeadlineSource // where that comes from
}

// DeadlineChanged says that an idle deadline was learned, announced or configured,
// or taken back, and differs from the one before by more than chance. What is
// learned of single addresses is not reported.
type DeadlineChanged struct {
	EventInfo
	From, To Deadline
}

// A CanaryOutcome says what became of a canary; see Policy.Canary.
type CanaryOutcome string

// What can become of it.
const (
	CanaryClosed    CanaryOutcome = "closed"    // the server closed it
	CanaryOutlasted CanaryOutcome = "outlasted" // the server kept it for as long as it was watched
	CanaryGivenUp   CanaryOutcome = "given_up"  // its place was needed, or idle connections were closed
)

// CanaryEnded says that a connection that was kept past its deadline is closed.
type CanaryEnded struct {
	EventInfo
	Conn
	Outcome CanaryOutcome
	IdleAge time.Duration
}

// ProbeEnded says that a background probe has ended (Policy.Probe).
type ProbeEnded struct {
	EventInfo
	Took    time.Duration
	Problem string // why it measured nothing, "" if it did; Explain has its report
}

// UpgradeEnded says that a connection has ended that a 101 response had handed to
// the program.
type UpgradeEnded struct {
	EventInfo
	UpgradeEnd
}

// BreakerChanged says that a circuit breaker has changed its state. Upstream is
// the group's name where it is one's (Policy.Group).
type BreakerChanged struct {
	EventInfo
	From, To string // "closed", "half-open" or "open"
}

func (ConnectionOpened) Kind() string { return "connection_opened" }
func (DialFailed) Kind() string       { return "dial_failed" }
func (ConnectionClosed) Kind() string { return "connection_closed" }
func (AttemptFailed) Kind() string    { return "attempt_failed" }
func (RequestLost) Kind() string      { return "request_lost" }
func (DeadlineChanged) Kind() string  { return "deadline_changed" }
func (CanaryEnded) Kind() string      { return "canary_ended" }
func (ProbeEnded) Kind() string       { return "probe_ended" }
func (UpgradeEnded) Kind() string     { return "upgrade_ended" }
func (BreakerChanged) Kind() string   { return "breaker_changed" }

func (e ConnectionOpened) String() string { return eventText(e) }
func (e DialFailed) String() string       { return eventText(e) }
func (e ConnectionClosed) String() string { return eventText(e) }
func (e AttemptFailed) String() string    { return eventText(e) }
func (e RequestLost) String() string      { return eventText(e) }
func (e DeadlineChanged) String() string  { return eventText(e) }
func (e CanaryEnded) String() string      { return eventText(e) }
func (e ProbeEnded) String() string       { return eventText(e) }
func (e UpgradeEnded) String() string     { return eventText(e) }
func (e BreakerChanged) String() string   { return eventText(e) }

// eventText is the event's kind and, as in a log, its attributes.
func eventText(e Event) string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(e.Kind(), "_", " "))
	sep := ": "
	for _, a := range e.attrs() {
		b.WriteString(sep)
		b.WriteString(a.String())
		sep = " "
	}
	return b.String()
}
