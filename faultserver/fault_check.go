package faultserver

import (
	"net/http"
	"strings"
)

// What a fault may ask for: more would be the test's undoing, not the client's.
const (
	maxBytes = 64 << 20
	maxCount = 1 << 20
)

// validateContent checks the parameters of kinds that shape a response.
func (f Fault) validateContent(bad func(string, string, ...any)) {
	switch f.Kind {
	case StatusLine, ContentLengthValue, DoubleContentLength, LengthAndChunked:
		if strings.ContainsAny(f.Value, "\r\n") {
			bad("Value", "%q: %v has no line breaks; RawAnswer may have them", f.Value, f.Kind)
		}
	case HugeHeader, RandomBytes:
		if f.Bytes > maxBytes {
			bad("Bytes", "%d is above %d", f.Bytes, maxBytes)
		}
	case Status:
		if f.Value != "" && f.After != 0 {
			bad("After", "Value gives the Retry-After already")
		}
		if strings.ContainsAny(f.Value, "\r\n") {
			bad("Value", "%q: a header's value has no line breaks", f.Value)
		}
	case EarlyAnswer:
		if f.Code != 0 && (f.Code < 200 || f.Code > 999) {
			bad("Code", "%d is not a final HTTP status", f.Code)
		}
	case InterimResponses:
		if f.Code != 0 && (f.Code < 100 || f.Code > 199 || f.Code == http.StatusSwitchingProtocols) {
			bad("Code", "%d is not an interim HTTP status: 100 to 199, but not 101", f.Code)
		}
	case StallRequestBody:
		if f.Executed && f.After != 0 {
			bad("Executed", "with After the handler runs in any case")
		}
		if f.Jitter != 0 && f.After == 0 {
			bad("Jitter", "without After the body stalls for ever")
		}
	case ContinueLate, StallInBody, TLSStalled:
		if f.Jitter != 0 && f.After == 0 {
			bad("Jitter", "without After there is no time to add it to")
		}
	}
	if f.Count > maxCount {
		bad("Count", "%d is above %d", f.Count, maxCount)
	}
}

// validateWhen refuses the selectors that the kind's moment does not know.
func (f Fault) validateWhen(bad func(string, string, ...any)) {
	at := f.Kind.spec().at
	if at != atAccept && at != atOnce && at != atLookup {
		return
	}
	var moment string
	switch at {
	case atAccept:
		moment = "is judged when a connection is accepted, before it has a request; Nth counts connections"
	case atOnce:
		moment = "is in force from its injection on"
	case atLookup:
		moment = "is judged when a name is looked up"
	}
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"NthOnConn", f.NthOnConn != 0}, {"ReusedOnly", f.ReusedOnly}, {"IdleAtLeast", f.IdleAtLeast != 0},
		{"Method", f.Method != ""}, {"Path", f.Path != ""}, {"Header", f.Header != ""},
		{"Nth", at == atOnce && f.Nth != 0}, {"Times", at == atOnce && f.Times != 0},
		{"Probability", at == atOnce && f.Probability != 0},
	} {
		if field.set {
			bad(field.name, "%v %s", f.Kind, moment)
		}
	}
	if f.Kind == TLSRefused && f.Code > 255 {
		bad("Code", "%d is not a TLS alert: 1 to 255", f.Code)
	}
	if f.Kind == Loss && f.Value != "" {
		if _, ok := parseShare(f.Value); !ok {
			bad("Value", "%q is not a percentage between 0 and 100 such as 2.5%%", f.Value)
		}
	}
	if f.Kind == LookupWrong && f.Value != "" {
		if _, _, err := parseWrong(f.Value); err != nil {
			bad("Value", "%v", err)
		}
	}
}

// onlyUnderTLS reports whether the kind does not match a connection in clear.
func (k Kind) onlyUnderTLS() bool { return k >= NoCloseNotify && k <= ResumptionForgotten }
