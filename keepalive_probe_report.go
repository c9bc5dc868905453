package idlewise

import (
	"encoding/json"
	"fmt"
	"time"
)

// A ProbeEnd says how a connection of a probe ended.
type ProbeEnd uint8

// The ends of a probe's connection.
const (
	// ProbeEndOpen: it was still open when the probe ended.
	ProbeEndOpen ProbeEnd = iota
	// ProbeEndFIN: the server closed it, without a TLS goodbye.
	ProbeEndFIN
	// ProbeEndRST: the server reset it.
	ProbeEndRST
	// ProbeEndCloseNotify: the server closed it with TLS's close_notify.
	ProbeEndCloseNotify
	// ProbeEnd408: the server sent 408 Request Timeout, unasked.
	ProbeEnd408
	// ProbeEndUnasked: the server sent other data that nothing had asked for.
	ProbeEndUnasked
	// ProbeEndGoAway: the server ended an HTTP/2 connection with GOAWAY.
	ProbeEndGoAway
	// ProbeEndClosed: it was closed; how could not be seen. So it is where the
	// Base's DialTLSContext dials, and within TLS to a proxy.
	ProbeEndClosed
	// ProbeEndSilent: it looked open, but a request on it got no answer. Only
	// ProbeOptions.Bisect finds this.
	ProbeEndSilent

	// ProbeEndAnnounced: the first response said that it was the last one, by
	// Connection: close, HTTP/1.0 or Keep-Alive: max=0.
	ProbeEndAnnounced
	// ProbeEndNoAnswer: it ended before its first response was complete.
	ProbeEndNoAnswer
	// ProbeEndUnfinished: its first response was not complete in time, or too
	// long, and so it was never idle.
	ProbeEndUnfinished
	// ProbeEndUnreachable: it could not be opened.
	ProbeEndUnreachable
)

var probeEndNames = [...]string{
	"open", "FIN", "RST", "close_notify", "408", "unasked data", "GOAWAY", "closed", "silence",
	"announced", "no answer", "unfinished answer", "unreachable",
}

// String returns a word or two, such as "FIN" or "GOAWAY".
func (e ProbeEnd) String() string { return nameOf(probeEndNames[:], "ProbeEnd", uint8(e)) }

// MarshalText makes the end readable in JSON.
func (e ProbeEnd) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (e *ProbeEnd) UnmarshalText(text []byte) error {
	i, err := indexOf(probeEndNames[:], "ProbeEnd", text)
	*e = ProbeEnd(i)
	return err
}

// byServer reports whether the server ended an idle connection so.
func (e ProbeEnd) byServer() bool { return e >= ProbeEndFIN && e <= ProbeEndSilent }

// A ProbeFinding is what a probe found, in a word.
type ProbeFinding uint8

// The findings of a probe.
const (
	// ProbeInconclusive: the probe ended before anything was known.
	ProbeInconclusive ProbeFinding = iota
	// ProbeTimeout: the server ends idle connections after a time between
	// ProbeReport.Lower and Upper.
	ProbeTimeout
	// ProbeOutlasted: no connection was ended; the server's timeout, if it has
	// one, is more than ProbeReport.AtLeast.
	ProbeOutlasted
	// ProbeMassClose: connections of different ages were closed at one instant,
	// as by a restart or reload. The timeout is not known, but more than
	// AtLeast.
	ProbeMassClose
	// ProbeClosesAtOnce: the server closes a connection behind the response,
	// without announcing it. Connections to it cannot be reused.
	ProbeClosesAtOnce
	// ProbeNotKept: the server announces with each response that it closes the
	// connection.
	ProbeNotKept
	// ProbeUnanswered: no complete response was received in time.
	ProbeUnanswered
	// ProbeUnreachable: no connection could be opened.
	ProbeUnreachable
)

var probeFindingNames = [...]string{
	"inconclusive", "timeout", "outlasted", "mass close", "closes at once", "not kept", "unanswered", "unreachable",
}

// String returns a word or two, such as "timeout".
func (f ProbeFinding) String() string { return nameOf(probeFindingNames[:], "ProbeFinding", uint8(f)) }

// MarshalText makes the finding readable in JSON.
func (f ProbeFinding) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (f *ProbeFinding) UnmarshalText(text []byte) error {
	i, err := indexOf(probeFindingNames[:], "ProbeFinding", text)
	*f = ProbeFinding(i)
	return err
}

func nameOf(names []string, kind string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%s(%d)", kind, i)
}

func indexOf(names []string, kind string, text []byte) (int, error) {
	for i, name := range names {
		if name == string(text) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("idlewise: %q is no %s; known are %q", shorten(string(text)), kind, names)
}

// A ProbeReport is what a probe measured. Its JSON has every duration twice,
// in nanoseconds and readable.
type ProbeReport struct {
	URL   string        `json:"url"` // without a password
	Proxy string        `json:"proxy,omitempty"`
	Began time.Time     `json:"began"`
	Took  time.Duration `json:"took_ns"`
	Cut   bool          `json:"cut_short"` // the context ended the probe

	Finding ProbeFinding `json:"finding"`

	// Announced is the least that a Keep-Alive: timeout=N of the server
	// promised; 0 if it announced nothing.
	Announced time.Duration `json:"announced_ns"`

	// Lower and Upper are the least and the greatest time after which the
	// server ended an idle connection, counted from the last byte of the
	// response; Measured is how many connections that is known of. Mass closes
	// do not count. After Bisect they bracket a silent drop: a request was
	// still answered after Lower, none after Upper.
	Lower    time.Duration `json:"lower_ns"`
	Upper    time.Duration `json:"upper_ns"`
	Measured int           `json:"measured"`
	End      ProbeEnd      `json:"end"` // how most of these ended; meaningless if there are none

	// AtLeast is the greatest time for which a connection is known to have
	// been kept open, or with Bisect usable.
	AtLeast time.Duration `json:"at_least_ns"`

	RTT time.Duration `json:"rtt_ns"` // the least measured when connecting; 0 if unknown

	Conns    []ProbeConn    `json:"conns"`              // the connections that were watched
	Requests *ProbeRequests `json:"requests,omitempty"` // with ProbeOptions.MaxRequests
	Reuse    *ProbeReuse    `json:"reuse,omitempty"`    // with ProbeOptions.Bisect
}

// A ProbeConn is a connection that was watched.
type ProbeConn struct {
	N         int           `json:"n"` // counted from 1
	Remote    string        `json:"remote,omitempty"`
	Proto     string        `json:"proto,omitempty"` // such as "HTTP/1.1", of the response
	Method    string        `json:"method,omitempty"`
	Status    int           `json:"status,omitempty"`     // of the response
	KeepAlive string        `json:"keep_alive,omitempty"` // the response's header, as it was sent
	Hint      time.Duration `json:"hint_ns"`              // the timeout in it
	RTT       time.Duration `json:"rtt_ns"`
	Start     time.Duration `json:"start_ns"` // when it was dialed, since the probe began
	Ended     time.Duration `json:"ended_ns"` // when it ended or was given up, since the probe began

	End ProbeEnd `json:"end"`
	// Age is how long it was idle when it ended, or, if it is open, for how
	// long it was watched.
	Age       time.Duration `json:"age_ns"`
	MassClose bool          `json:"mass_close,omitempty"` // others ended at the same instant, at other ages
	Suspended bool          `json:"suspended,omitempty"`  // the machine slept meanwhile, Age means nothing
	Detail    string        `json:"detail,omitempty"`     // the error, or the data that came unasked
}

// ProbeRequests says how many requests the server serves on one connection.
type ProbeRequests struct {
	// Limit is the number of the request whose response was the connection's
	// last; 0 if there was no limit up to Answered.
	Limit     int           `json:"limit"`
	Announced bool          `json:"announced"` // that response said so, or GOAWAY
	End       ProbeEnd      `json:"end"`       // how the connection ended, where there is a limit
	Answered  int           `json:"answered"`  // requests that were answered
	Took      time.Duration `json:"took_ns"`
	Detail    string        `json:"detail,omitempty"` // why it was given up before ProbeOptions.MaxRequests
}

// ProbeReuse is what Bisect found.
type ProbeReuse struct {
	// Answered is the greatest idle time, below every deadly one, after which
	// a request was still answered; Dead the least after which none was, 0 if
	// none was found.
	Answered time.Duration `json:"answered_ns"`
	Dead     time.Duration `json:"dead_ns"`

	// Inconsistent means that a connection also answered after more than Dead.
	// There may be several servers behind the name, or one was restarted.
	Inconsistent bool `json:"inconsistent,omitempty"`

	Tries []ProbeTry `json:"tries"` // by idle time

	hint, rtt time.Duration // of the connections that were tried
}

// A ProbeTry is one connection that was used again after an idle time.
type ProbeTry struct {
	Idle     time.Duration `json:"idle_ns"`
	Answered bool          `json:"answered"`
	End      ProbeEnd      `json:"end"` // how it was found dead, if it was
	Detail   string        `json:"detail,omitempty"`
}

func readable(d time.Duration) string { return roundDuration(d).String() }

// MarshalJSON adds every duration in readable form.
func (r ProbeReport) MarshalJSON() ([]byte, error) {
	type plain ProbeReport // without this method
	return json.Marshal(struct {
		plain
		Took      string `json:"took"`
		Announced string `json:"announced"`
		Lower     string `json:"lower"`
		Upper     string `json:"upper"`
		AtLeast   string `json:"at_least"`
		RTT       string `json:"rtt"`
	}{plain(r), readable(r.Took), readable(r.Announced), readable(r.Lower), readable(r.Upper), readable(r.AtLeast), readable(r.RTT)})
}

// MarshalJSON adds every duration in readable form.
func (c ProbeConn) MarshalJSON() ([]byte, error) {
	type plain ProbeConn
	return json.Marshal(struct {
		plain
		Hint  string `json:"hint"`
		RTT   string `json:"rtt"`
		Start string `json:"start"`
		Ended string `json:"ended"`
		Age   string `json:"age"`
	}{plain(c), readable(c.Hint), readable(c.RTT), readable(c.Start), readable(c.Ended), readable(c.Age)})
}

// MarshalJSON adds every duration in readable form.
func (q ProbeRequests) MarshalJSON() ([]byte, error) {
	type plain ProbeRequests
	return json.Marshal(struct {
		plain
		Took string `json:"took"`
	}{plain(q), readable(q.Took)})
}

// MarshalJSON adds every duration in readable form.
func (u ProbeReuse) MarshalJSON() ([]byte, error) {
	type plain ProbeReuse
	return json.Marshal(struct {
		plain
		Answered string `json:"answered"`
		Dead     string `json:"dead"`
	}{plain(u), readable(u.Answered), readable(u.Dead)})
}

// MarshalJSON adds every duration in readable form.
func (y ProbeTry) MarshalJSON() ([]byte, error) {
	type plain ProbeTry
	return json.Marshal(struct {
		plain
		Idle string `json:"idle"`
	}{plain(y), readable(y.Idle)})
}
