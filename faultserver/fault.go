package faultserver

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault is one misbehaviour and when it happens. It is plain data: comparable,
// and without functions, so that it can be written in a file.
//
// A fault strikes a request when everything it asks for fits: all set fields of
// the groups "when" and "for whom" must agree. Idle kinds have no request of
// their own; their "for whom" fields are compared with the last request before
// the connection fell idle.
type Fault struct {
	// Kind is what happens. Required.
	Kind Kind

	// Nth strikes only the nth request, counted from 1 over the whole server
	// since the fault was injected, of those that fit everything else but
	// Probability, and that no fault injected before ends. For idle kinds it counts idle periods that lasted long
	// enough; for kinds judged when a connection is accepted or begins,
	// connections; for names, questions. 0: every one.
	Nth int
	// NthOnConn strikes only the nth request of a connection, counted from 1.
	// 0: any.
	NthOnConn int
	// ReusedOnly strikes only requests that are not their connection's first.
	ReusedOnly bool
	// IdleAtLeast strikes only requests that come on a connection after at
	// least this idle time. Idle kinds use After instead. 0: any.
	IdleAtLeast time.Duration
	// Probability strikes this share of what would otherwise be struck, drawn
	// from Config.Seed. 0: all. Else in (0, 1]. A text that says 0 is refused.
	Probability float64

	// Method strikes only requests with this method. "": any.
	Method string
	// Path strikes only requests whose URL path is this, or, if it ends in
	// "*", begins with what stands before it. "": any.
	Path string
	// Header strikes only requests that carry this header ("Name"), or carry
	// it with this value ("Name: value"). Host is :authority on HTTP/2; Trailer
	// cannot be chosen by. "": any.
	Header string

	// Times is how often the fault strikes before it is spent. 0: always.
	Times int

	// After is a time whose meaning the Kind gives. TimeScale does not apply.
	After time.Duration
	// Jitter adds a uniformly drawn time in [0, Jitter) to After: a real
	// server's timer may be late but is not early.
	Jitter time.Duration
	// Requests is a number of requests, see CloseAfterRequests.
	Requests int
	// Bytes is a number of bytes, see the Kind.
	Bytes int64
	// Rate is a number of bytes per second, see the Kind.
	Rate int64
	// Count is a number of headers, frames or the like, see the Kind.
	Count int
	// Value is a text, see the Kind.
	Value string
	// Code is an HTTP status, an HTTP/2 error code or a TLS alert, see the Kind.
	Code uint32
	// Executed runs the handler although the client never sees its response.
	// It is the difference between a request that was lost on its way to the
	// server and one whose answer was lost on its way back.
	Executed bool
	// Announced tells the client beforehand, see CloseAfterRequests and
	// CloseAfterAge.
	Announced bool
}

// refusedStream is the HTTP/2 error code that promises the request was not
// processed (RFC 9113 section 8.7).
const refusedStream = 7

// Validate reports every mistake, each with its field's name. Parameters that
// the kind does not read must be zero: they would be a misunderstanding. It
// knows no server: that a fault can never strike on one, because it has no TLS
// or does not speak the protocol, is found by Config.Validate and Server.InjectE.
func (f Fault) Validate() error {
	if f.Kind == 0 {
		return &fieldError{"Kind", "is missing", nil}
	}
	if !f.Kind.valid() {
		return &fieldError{"Kind", "%v is not a kind of fault", []any{f.Kind}}
	}
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &fieldError{field, format, args})
	}
	spec := f.Kind.spec()

	for _, n := range []struct {
		field    string
		negative bool
		value    any
	}{
		{"Nth", f.Nth < 0, f.Nth}, {"NthOnConn", f.NthOnConn < 0, f.NthOnConn}, {"IdleAtLeast", f.IdleAtLeast < 0, f.IdleAtLeast},
		{"Times", f.Times < 0, f.Times}, {"After", f.After < 0, f.After}, {"Jitter", f.Jitter < 0, f.Jitter},
		{"Requests", f.Requests < 0, f.Requests}, {"Bytes", f.Bytes < 0, f.Bytes},
		{"Rate", f.Rate < 0, f.Rate}, {"Count", f.Count < 0, f.Count},
	} {
		if n.negative {
			bad(n.field, "%v is negative", n.value)
		}
	}
	if f.Probability < 0 || f.Probability > 1 || math.IsNaN(f.Probability) {
		bad("Probability", "%v is not in (0, 1]; 0 means always", f.Probability)
	}
	for _, p := range []struct {
		bit   param
		field string
		set   bool
	}{
		{pAfter, "After", f.After != 0}, {pJitter, "Jitter", f.Jitter != 0},
		{pRequests, "Requests", f.Requests != 0}, {pBytes, "Bytes", f.Bytes != 0},
		{pValue, "Value", f.Value != ""}, {pCode, "Code", f.Code != 0},
		{pExecuted, "Executed", f.Executed}, {pAnnounced, "Announced", f.Announced},
		{pRate, "Rate", f.Rate != 0}, {pCount, "Count", f.Count != 0},
	} {
		switch {
		case p.set && spec.uses&p.bit == 0:
			bad(p.field, notUsed, f.Kind)
		case !p.set && spec.needs&p.bit != 0:
			bad(p.field, isNeeded, f.Kind)
		}
	}
	f.validateWhom(bad)
	f.validateCode(bad)
	f.validateFrames(bad)
	f.validateContent(bad)
	f.validateWhen(bad)
	f.validateTogether(bad)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("fault %v: %w", f.Kind, err)
	}
	return nil
}

func (f Fault) validateWhom(bad func(string, string, ...any)) {
	at := f.Kind.spec().at
	if at == atIdle && f.IdleAtLeast != 0 {
		bad("IdleAtLeast", "%v takes its idle time from %v", f.Kind, fieldName("After"))
	}
	if at == atPreface {
		f.validatePreface(bad)
	}
	if at == atFirstByte || at == atPing || at == atPreface {
		for _, whom := range [][2]string{{"Method", f.Method}, {"Path", f.Path}, {"Header", f.Header}} {
			if whom[1] != "" {
				bad(whom[0], "%v is judged before a request can be read", f.Kind)
			}
		}
	}
	if strings.Contains(strings.TrimSuffix(f.Path, "*"), "*") {
		bad("Path", "%q: a * may only stand at the end", f.Path)
	}
	switch name := f.headerName(); {
	case f.Header == "":
	case name == "":
		bad("Header", "%q has no name", f.Header)
	case name == "Trailer":
		bad("Header", "Trailer never fits, for net/http takes it out of a request: choose by another header, by %v or by %v",
			fieldName("Method"), fieldName("Path"))
	}
	if f.Kind == KeepAliveHeader && strings.ContainsAny(f.Value, "\r\n") {
		bad("Value", "%q: a header's value has no line breaks", f.Value)
	}
}

func (f Fault) validateCode(bad func(string, string, ...any)) {
	if f.Kind == Status && f.Code != 0 && (f.Code < 200 || f.Code > 999) {
		bad("Code", "%d is not a final HTTP status", f.Code)
	}
	if f.Code == refusedStream {
		if f.Kind == ResetStream && f.Executed {
			bad("Executed", "REFUSED_STREAM promises that the request was not executed")
		}
		if f.Kind == ResetStreamAfterHeaders {
			bad("Code", "REFUSED_STREAM promises that the request was not executed, but its handler's headers are sent")
		}
	}
}

// fitsRequest compares the "for whom" fields. r is nil if there is no request
// to compare with; then they must be empty.
func (f *Fault) fitsRequest(r *http.Request) bool {
	if f.Method == "" && f.Path == "" && f.Header == "" {
		return true
	}
	if r == nil {
		return false
	}
	if f.Method != "" && f.Method != r.Method {
		return false
	}
	if f.Path != "" {
		if prefix, ok := strings.CutSuffix(f.Path, "*"); ok {
			if !strings.HasPrefix(r.URL.Path, prefix) {
				return false
			}
		} else if f.Path != r.URL.Path {
			return false
		}
	}
	if f.Header != "" {
		_, want, withValue := strings.Cut(f.Header, ":")
		want = strings.TrimSpace(want)
		values, equal := f.headerIn(r)
		if !slices.ContainsFunc(values, func(v string) bool { return !withValue || equal(strings.TrimSpace(v), want) }) {
			return false
		}
	}
	return true
}

// headerIn returns the values of the header that Header names, and how to
// compare them. http.ReadRequest moves two headers, whose values have no case
// (RFC 9110 section 4.2.3, RFC 9112 section 7), to fields of their own.
func (f *Fault) headerIn(r *http.Request) (values []string, equal func(a, b string) bool) {
	switch name := f.headerName(); {
	case name == "Transfer-Encoding":
		return r.TransferEncoding, strings.EqualFold
	case name != "Host":
		return r.Header[name], func(a, b string) bool { return a == b }
	case r.Host == "":
		return nil, nil
	}
	return []string{r.Host}, strings.EqualFold
}

// headerName is the name in Header as net/http writes it.
func (f *Fault) headerName() string {
	name, _, _ := strings.Cut(f.Header, ":")
	return http.CanonicalHeaderKey(strings.TrimSpace(name))
}
