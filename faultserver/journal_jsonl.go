package faultserver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// The journal's rows as JSON lines. The names and forms here are a promise:
// fields are added, never renamed.
type (
	connLine struct {
		Type       string     `json:"type"` // "connection"
		ID         int64      `json:"id"`
		Generation int        `json:"generation"`
		RemoteAddr string     `json:"remote_addr"`
		LocalAddr  string     `json:"local_addr,omitempty"`
		Proto      string     `json:"proto,omitempty"`
		Opened     time.Time  `json:"opened"`
		Closed     *time.Time `json:"closed,omitempty"`
		ClosedBy   string     `json:"closed_by"`
		Reason     string     `json:"reason"`
		Fault      string     `json:"fault,omitempty"`
		Requests   int        `json:"requests"`
		IdleAge    int64      `json:"idle_age_ns"`
		Faults     []Kind     `json:"faults,omitempty"`
	}
	requestLine struct {
		Type         string     `json:"type"` // "request"
		ID           int64      `json:"id"`
		Key          string     `json:"key"`
		KeyDerived   bool       `json:"key_derived"`
		Method       string     `json:"method"`
		Path         string     `json:"path"`
		Conn         int64      `json:"connection"`
		NthOnConn    int        `json:"nth_on_connection"`
		Proto        string     `json:"proto"`
		Time         time.Time  `json:"time"`
		Ended        *time.Time `json:"ended,omitempty"`
		IdleBefore   int64      `json:"idle_before_ns"`
		BodyBytes    int64      `json:"body_bytes"`
		BodyComplete bool       `json:"body_complete"`
		Phase        string     `json:"phase"`
		Executed     int        `json:"executed"`
		Answered     bool       `json:"answered"`
		Status       int        `json:"status"`
		Faults       []Kind     `json:"faults,omitempty"`
	}
	panicLine struct {
		Type    string `json:"type"` // "panic"
		Message string `json:"message"`
	}
)

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func lineOfConn(c ConnRecord) connLine {
	line := connLine{
		Type: "connection", ID: c.ID, Generation: c.Generation, RemoteAddr: c.RemoteAddr, LocalAddr: c.LocalAddr, Proto: c.Proto,
		Opened: c.Opened.UTC(), Closed: optionalTime(c.Closed), ClosedBy: c.ClosedBy.String(), Reason: c.Reason.String(),
		Requests: c.Requests, IdleAge: int64(c.IdleAge), Faults: c.Faults,
	}
	if c.Fault != 0 {
		line.Fault = c.Fault.String()
	}
	return line
}

func lineOfRequest(r RequestRecord) requestLine {
	return requestLine{
		Type: "request", ID: r.ID, Key: r.Key, KeyDerived: r.KeyDerived, Method: r.Method, Path: r.Path, Conn: r.Conn,
		NthOnConn: r.NthOnConn, Proto: r.Proto, Time: r.Time.UTC(), Ended: optionalTime(r.Ended),
		IdleBefore: int64(r.IdleBefore), BodyBytes: r.BodyBytes, BodyComplete: r.BodyComplete, Phase: r.Phase.String(),
		Executed: r.Executed, Answered: r.Answered, Status: r.Status, Faults: r.Faults,
	}
}

// WriteJSONL writes every connection, every request, every panic, every event of
// the server as a whole and every lookup as one line of JSON each, connections
// and requests in the order of their beginnings, the others behind them.
// Times are RFC 3339 with nanoseconds, in UTC; durations are nanoseconds.
// [ReadJSONL] reads it back.
func (j *Journal) WriteJSONL(w io.Writer) error {
	j.mu.Lock()
	conns, requests := make([]ConnRecord, len(j.conns)), make([]RequestRecord, len(j.requests))
	for i, row := range j.conns {
		conns[i] = row.ConnRecord
		conns[i].Faults = slices.Clone(row.Faults)
	}
	for i, row := range j.requests {
		requests[i] = row.RequestRecord
	}
	panics, events, lookups := slices.Clone(j.panics), slices.Clone(j.events), slices.Clone(j.lookups)
	j.mu.Unlock()

	bw := bufio.NewWriter(w)
	enc := json.NewEncoder(bw)
	enc.SetEscapeHTML(false)
	var errs []error
	for len(conns)+len(requests) > 0 {
		if len(requests) == 0 || len(conns) > 0 && !requests[0].Time.Before(conns[0].Opened) {
			errs = append(errs, enc.Encode(lineOfConn(conns[0])))
			conns = conns[1:]
			continue
		}
		errs = append(errs, enc.Encode(lineOfRequest(requests[0])))
		requests = requests[1:]
	}
	for _, message := range panics {
		errs = append(errs, enc.Encode(panicLine{"panic", message}))
	}
	for _, e := range events {
		errs = append(errs, enc.Encode(lineOfEvent(e)))
	}
	for _, l := range lookups {
		errs = append(errs, enc.Encode(lineOfLookup(l)))
	}
	if err := errors.Join(append(errs, bw.Flush())...); err != nil {
		return fmt.Errorf("faultserver: write the journal: %w", err)
	}
	return nil
}

// ReadJSONL reads what WriteJSONL wrote into a journal that answers the same
// questions. Unknown fields are left to newer versions; a line it does not
// understand is an error that names its number.
func ReadJSONL(r io.Reader) (*Journal, error) {
	j := &Journal{}
	br := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := br.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if err := j.readLine(line); err != nil {
				return nil, fmt.Errorf("faultserver: journal, line %d: %w", n, err)
			}
		}
		switch {
		case err == io.EOF:
			return j, nil
		case err != nil:
			return nil, fmt.Errorf("faultserver: journal, line %d: %w", n, err)
		}
	}
}

func (j *Journal) readLine(text []byte) error {
	var kind struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(text, &kind); err != nil {
		return err
	}
	switch kind.Type {
	case "connection":
		return j.readConn(text)
	case "request":
		return j.readRequest(text)
	case "panic":
		var l panicLine
		if err := json.Unmarshal(text, &l); err != nil {
			return err
		}
		j.panics = append(j.panics, l.Message)
		return nil
	case "server":
		return j.readEvent(text)
	case "lookup":
		return j.readLookup(text)
	}
	return unknownName("type", kind.Type, []string{"connection", "request", "panic", "server", "lookup"})
}

func (j *Journal) readConn(text []byte) error {
	var l connLine
	err := json.Unmarshal(text, &l)
	if err != nil {
		return err
	}
	c := ConnRecord{
		ID: l.ID, Generation: l.Generation, RemoteAddr: l.RemoteAddr, LocalAddr: l.LocalAddr, Proto: l.Proto,
		Opened: l.Opened, Closed: timeOf(l.Closed), Requests: l.Requests, IdleAge: time.Duration(l.IdleAge), Faults: l.Faults,
	}
	if c.ClosedBy, err = parseEnum[ClosedBy]("closed_by", l.ClosedBy); err != nil {
		return err
	}
	if c.Reason, err = parseEnum[CloseReason]("reason", l.Reason); err != nil {
		return err
	}
	if l.Fault != "" {
		if c.Fault, err = ParseKind(l.Fault); err != nil {
			return err
		}
	}
	j.conns = append(j.conns, &connRow{c})
	return nil
}

func (j *Journal) readRequest(text []byte) error {
	var l requestLine
	err := json.Unmarshal(text, &l)
	if err != nil {
		return err
	}
	r := RequestRecord{
		ID: l.ID, Key: l.Key, KeyDerived: l.KeyDerived, Method: l.Method, Path: l.Path, Conn: l.Conn, NthOnConn: l.NthOnConn,
		Proto: l.Proto, Time: l.Time, Ended: timeOf(l.Ended), IdleBefore: time.Duration(l.IdleBefore), BodyBytes: l.BodyBytes,
		BodyComplete: l.BodyComplete, Executed: l.Executed, Answered: l.Answered, Status: l.Status, Faults: l.Faults,
	}
	if r.Phase, err = parseEnum[Phase]("phase", l.Phase); err != nil {
		return err
	}
	j.requests = append(j.requests, &requestRow{RequestRecord: r})
	return nil
}

// parseEnum is the reverse of String.
func parseEnum[T interface {
	~uint8
	String() string
}](what, name string) (T, error) {
	var names []string
	for n := range 256 {
		text := T(n).String()
		if text == name {
			return T(n), nil
		}
		if text == fmt.Sprintf("%T(%d)", T(n), n)[len("faultserver."):] {
			break // beyond the last one
		}
		names = append(names, text)
	}
	return 0, unknownName(what, name, names)
}
