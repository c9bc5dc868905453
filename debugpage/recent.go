package debugpage

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/idlewise/idlewise"
)

// A Recent is an event that matters, the Transport's last ones of which the page
// lists.
type Recent struct {
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`   // as idlewise.Event's
	Weight   string    `json:"weight"` // "lost", "resent" or "info"
	Upstream string    `json:"upstream"`
	What     string    `json:"what"` // in words

	// Of a request.
	Method   string         `json:"method,omitempty"`
	Evidence string         `json:"evidence,omitempty"` // what is known about its delivery
	Reused   bool           `json:"reused,omitempty"`
	IdleAge  *time.Duration `json:"idle_age_ns,omitempty"` // of its connection
	Conn     uint64         `json:"conn,omitempty"`
	Local    string         `json:"local,omitempty"`
	Remote   string         `json:"remote,omitempty"`
	Error    string         `json:"error,omitempty"`
}

// maxErrorText bounds an error's text; a server may have had a say in it.
const maxErrorText = 300

func recentOf(events []idlewise.Event) []Recent {
	out := make([]Recent, 0, len(events))
	lost := make(map[attemptKey]int) // lost requests' last attempts, which need no line of their own
	for _, event := range slices.Backward(events) {
		r := Recent{At: event.When().Round(0), Kind: event.Kind(), Weight: "info"}
		switch e := event.(type) {
		case idlewise.AttemptFailed:
			key := attemptKey{e.ConnID, e.Number}
			if !e.Resent && lost[key] > 0 {
				lost[key]--
				continue
			}
			r.Upstream, r.Method = e.Upstream, e.Method
			r.attempt(e.Attempt)
			r.What = "connection failed, request not sent again"
			if e.Resent {
				r.Weight, r.What = "resent", "connection failed, request sent again"
			}
			if e.Stale {
				r.What = "met a connection that the server had closed; " + map[bool]string{true: "sent again", false: "not sent again"}[e.Resent]
			}
		case idlewise.RequestLost:
			r.Upstream, r.Method, r.Weight = e.Upstream, e.Method, "lost"
			if n := len(e.Attempts); n > 0 {
				last := e.Attempts[n-1]
				r.attempt(last)
				lost[attemptKey{last.ConnID, last.Number}]++
			}
			r.What = "request lost"
			if e.Reason != "" {
				r.What += ": " + e.Reason
			}
			if r.Error == "" {
				r.Error = errorText(e.Err)
			}
		case idlewise.DeadlineChanged:
			r.Upstream, r.What = e.Upstream, "idle limit: "+deadlineText(e.From)+" → "+deadlineText(e.To)
		case idlewise.CanaryEnded:
			r.Upstream, r.What = e.Upstream, canaryText(e)
			r.Conn, r.Local, r.Remote = e.ID, addrText(e.Local), addrText(e.Remote)
		case idlewise.BreakerChanged:
			r.Upstream, r.What = e.Upstream, "breaker: "+e.From+" → "+e.To
		default:
			r.What = event.String()
		}
		out = append(out, r)
	}
	return out
}

type attemptKey struct {
	conn   uint64
	number int
}

func (r *Recent) attempt(a idlewise.Attempt) {
	r.Evidence, r.Reused, r.Conn = a.Evidence.String(), a.Reused, a.ConnID
	r.Local, r.Remote, r.Error = addrText(a.Local), addrText(a.Remote), errorText(a.Err)
	if a.Reused {
		r.IdleAge = &a.IdleAge
	}
}

func deadlineText(d idlewise.Deadline) string {
	if d.Source == idlewise.DeadlineNone {
		return "none"
	}
	return fmt.Sprintf("%s (%s)", short(d.IdleLimit), d.Source)
}

func canaryText(e idlewise.CanaryEnded) string {
	switch e.Outcome {
	case idlewise.CanaryClosed:
		return "canary: the server closed it after " + short(e.IdleAge)
	case idlewise.CanaryOutlasted:
		return "canary: the server still kept it after " + short(e.IdleAge)
	}
	return "canary: given up after " + short(e.IdleAge)
}

func addrText(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	text := []rune(err.Error())
	if len(text) > maxErrorText {
		return string(text[:maxErrorText]) + "…"
	}
	return string(text)
}

// short leaves three digits or so, which is what people read.
func short(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return trimZeros(d.Round(time.Second).String())
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
