package debugpage

import (
	"fmt"
	"time"

	"github.com/idlewise/idlewise"
)

// An Advice says what is wrong, or could be better, and what to do.
type Advice struct {
	Level string `json:"level"`          // "problem", "advice" or "note"
	Kind  string `json:"kind"`           // the same for the same advice about several upstreams, such as "learned"
	Text  string `json:"text"`           // for people
	YAML  string `json:"yaml,omitempty"` // for a policy file, "" if that is not where to mend it
}

// Closes for a reason are worth a word from so many in the last hour on, and
// where they are so large a part of all.
const (
	manyCloses = 10
	largePart  = 10 // a tenth
)

// An adviser collects what is to be said about an upstream.
type adviser struct {
	us  *idlewise.UpstreamStats
	e   *idlewise.Explanation
	out []Advice
}

func (a *adviser) say(level, kind, yaml, format string, args ...any) {
	if yaml != "" {
		yaml = upstreamHead(a.us.Name) + "    " + yaml + "\n"
	}
	a.out = append(a.out, Advice{level, kind, fmt.Sprintf(format, args...), yaml})
}

// advise says what to do about an upstream, the gravest first.
func advise(us *idlewise.UpstreamStats, e *idlewise.Explanation) []Advice {
	a := &adviser{us: us, e: e}
	a.failing()
	a.lost()
	a.deadline()
	a.closes()
	a.limits()
	var sorted []Advice
	for _, level := range []string{"problem", "advice", "note"} {
		for _, one := range a.out {
			if one.Level == level {
				sorted = append(sorted, one)
			}
		}
	}
	return sorted
}

func (a *adviser) failing() {
	switch a.us.Breaker {
	case "open":
		a.say("problem", "breaker_open", "", "The circuit breaker is open: requests fail without being sent, until the server has had time to recover. See why it fails; the breaker closes by itself.")
	case "half-open":
		a.say("note", "breaker_half_open", "", "The circuit breaker is half-open: a few requests try whether the server has recovered.")
	}
	if a.us.DialErrors > 0 && a.us.Open == a.us.Dialing {
		a.say("problem", "dials_fail", "", "%d dials have failed and no connection is open. Is the server up, and is the name right?", a.us.DialErrors)
	}
}

func (a *adviser) lost() {
	if n := a.us.Lost[idlewise.Unknown]; n > 0 && a.us.StaleOther > 0 {
		a.say("problem", "unknown_delivery", "retry: {auto_idempotency_key: on}",
			"%d requests failed with their delivery unknown and were not repeated, lest something is done twice. If the server understands idempotency keys, send them; or mark requests that are safe to repeat by WithIdempotent.", n)
	}
	if a.us.BudgetEmpty > 0 {
		a.say("problem", "budget_empty", "", "The budget for retries was used up %d times: the server fails more than a fifth of its requests. More retries would make it worse.", a.us.BudgetEmpty)
	}
}

// sameDeadline reports whether two deadlines are equal but for measurement.
func sameDeadline(a, b time.Duration) bool {
	return (a - b).Abs() <= max(min(a, b)/20, 100*time.Millisecond)
}

func (a *adviser) deadline() {
	e := a.e
	var learned time.Duration
	closes, sure := 0, false
	if k := e.Learned; k != nil {
		learned, sure, closes = k.Deadline, k.Confidence == "confirmed", closesAt(k)
	}
	set := e.Policy.ServerKeepAlive
	yaml := "server_keep_alive: " + duration(plausible(learned))
	switch {
	case set > 0 && sure && learned < set && !sameDeadline(learned, set):
		a.say("problem", "configured_too_long", yaml, "server_keep_alive says %s, but the server closes connections that were idle for %s (%s). Correct the one or the other.", short(set), short(learned), times(closes))
	case set > 0 && sure && learned > set && !sameDeadline(learned, set):
		a.say("note", "configured_too_short", yaml, "The server keeps connections for %s, longer than server_keep_alive says (%s): they are closed sooner than need be.", short(learned), short(set))
	case set > 0:
	case e.Source == idlewise.DeadlineLearned:
		a.say("advice", "learned", yaml, "The server closes connections that were idle for %s (seen %s). Raise its keep-alive timeout above %s, so that connections last; or write it down, so that a new process need not learn it.",
			short(learned), times(closes), short(longest(&e.Policy)))
	case e.Source == idlewise.DeadlineProvisional:
		a.say("note", "provisional", "", "The server has closed a connection that was idle for %s. One more close at that age confirms it; until then connections are retired before it to be safe.", short(e.ServerKeepAlive))
	case e.Learned != nil && e.Learned.Confidence == "none" && a.us.IdleAtServerClose.Count() >= manyCloses:
		a.say("note", "no_common_age", "", "The server closes idle connections, but at no age again and again: restarts, drains or a maximum age rather than an idle timeout.")
	}
	if e.Source != idlewise.DeadlineNone && e.Source != idlewise.DeadlineMaxIdleTime && e.IdleLimit <= 0 {
		a.say("advice", "no_time_left", "", "The server's timeout of %s leaves no time after the margin of %s: no connection is used twice. Raise the server's keep-alive timeout.", short(e.ServerKeepAlive), short(e.Margin))
	}
}

// longest is how long connections are kept whose server allows any time.
func longest(p *idlewise.Policy) time.Duration {
	if p.MaxIdleTime > 0 {
		return p.MaxIdleTime
	}
	return 90 * time.Second
}

// plausible is what was probably configured where connections end at age d: a
// whole number of seconds, if that is near. It is above d by no more than a small
// part of the margin.
func plausible(d time.Duration) time.Duration {
	whole := d.Truncate(time.Second)
	if whole > 0 && d-whole <= max(whole/50, 100*time.Millisecond) {
		return whole
	}
	if whole += time.Second; whole-d <= min(whole/100, 100*time.Millisecond) {
		return whole
	}
	if d > time.Second {
		return d.Truncate(10 * time.Millisecond)
	}
	return max(d.Truncate(time.Millisecond), time.Millisecond)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// closes looks at the reasons of the last hour.
func (a *adviser) closes() {
	hour := a.e.ClosedLastHour
	total := sum(hour)
	many := func(r idlewise.CloseReason) bool {
		return hour[r] >= manyCloses && hour[r]*largePart >= total
	}
	if n := hour[idlewise.ClosedVanished] + hour[idlewise.ClosedPingTimeout]; n > 0 {
		a.say("problem", "vanished", "", "%d connections were lost without a word in the last hour: the server, or a firewall or load balancer on the way, dropped them silently. If it happens after idling, set max_idle_time below what that keeps.", n)
	}
	if n := hour[idlewise.ClosedUnexpectedData]; n > 0 {
		a.say("problem", "unexpected_data", "", "On %d connections the server sent bytes that no request had asked for. They were closed, lest one request gets another's response. A server or proxy counts its bytes wrongly.", n)
	}
	if many(idlewise.ClosedBodyUnread) {
		a.say("advice", "body_unread", "", "The program closed %d response bodies before their end in the last hour, which costs the connection. Read bodies to the end before closing them.", hour[idlewise.ClosedBodyUnread])
	}
	if many(idlewise.ClosedPoolFull) && a.e.Policy.MaxIdleConns > 0 {
		a.say("advice", "pool_full", fmt.Sprintf("max_idle_conns: %d", 2*a.e.Policy.MaxIdleConns), "%d connections were closed in the last hour since more than %d were idle. Keep more, if they are needed again soon.", hour[idlewise.ClosedPoolFull], a.e.Policy.MaxIdleConns)
	}
	if n := hour[idlewise.ClosedConnectionClose]; n >= manyCloses && 2*n >= total {
		a.say("advice", "not_kept", "", "Most connections end with their response (Connection: close, or HTTP/1.0): the server does not keep them. See its keep-alive setting, and that requests do not ask for it.")
	}
}

func (a *adviser) limits() {
	if most := a.e.Policy.MaxConns; a.us.Waiting > 0 && most > 0 && a.us.Open-a.us.Draining >= most {
		a.say("advice", "max_conns", fmt.Sprintf("max_conns: %d", 2*most), "%d requests wait for one of the %d connections that max_conns allows. Allow more, if the server can take them.", a.us.Waiting, most)
	}
}
