package idlewise

import (
	"time"

	"github.com/idlewise/idlewise/internal/deadline"
)

// A DeadlineSource says where an idle deadline comes from.
type DeadlineSource uint8

// The sources of an idle deadline.
const (
	// DeadlineNone: a connection may be idle for ever.
	DeadlineNone DeadlineSource = iota
	// DeadlineMaxIdleTime: nothing is known of the server, or it allows more
	// than the policy's MaxIdleTime.
	DeadlineMaxIdleTime
	// DeadlineConfigured: the policy's ServerKeepAlive.
	DeadlineConfigured
	// DeadlineHint: the server's Keep-Alive: timeout=N.
	DeadlineHint
	// DeadlineLearned: the server closed connections at this age, again and
	// again.
	DeadlineLearned
	// DeadlineProvisional: the server closed a connection at this age, or an
	// earlier process learned so.
	DeadlineProvisional
)

// String returns "none", "max_idle_time", "configured", "hint", "learned" or
// "provisional".
func (s DeadlineSource) String() string {
	return [...]string{"none", "max_idle_time", "configured", "hint", "learned", "provisional"}[s]
}

// MarshalText makes the source readable in JSON.
func (s DeadlineSource) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// An idleLimit says how old an idle connection may get.
type idleLimit struct {
	age    time.Duration  // the connection is retired at this idle age; 0: never reused
	server time.Duration  // what the server allows; 0 if unknown
	margin time.Duration  // what was subtracted from it
	source DeadlineSource // DeadlineNone: there is no limit
}

func (l idleLimit) reached(age time.Duration) bool {
	return l.source != DeadlineNone && age >= l.age
}

// A lesson is a deadline that was learned, and how much more margin than usual
// proved necessary.
type lesson struct {
	deadline time.Duration
	sure     deadline.Confidence
	slack    deadline.Slack
}

// idleLimitFor answers the one question the pool asks: how old may an idle
// connection get here? hinted is what the server last announced on this
// connection, 0 if nothing, and rtt its round-trip time, 0 if unknown.
//
// A deadline that is confirmed wins over the announced one in both directions;
// one that is not can only lower it.
func idleLimitFor(p *Policy, hinted, rtt time.Duration, known lesson) idleLimit {
	var l idleLimit
	switch {
	case p.ServerKeepAlive > 0:
		l.server, l.source = p.ServerKeepAlive, DeadlineConfigured
	case known.sure == deadline.Confirmed:
		l.server, l.source = known.deadline, DeadlineLearned
	case known.sure == deadline.Provisional && (hinted <= 0 || known.deadline < hinted):
		l.server, l.source = known.deadline, DeadlineProvisional
	case hinted > 0:
		l.server, l.source = hinted, DeadlineHint
	}
	if l.source != DeadlineNone {
		switch {
		case p.IdleMargin > 0:
			l.margin = p.IdleMargin
		case p.IdleMargin == 0:
			l.margin = known.slack.Margin(l.server, rtt)
		}
		l.age = max(0, l.server-l.margin)
	}
	if p.MaxIdleTime > 0 && (l.source == DeadlineNone || p.MaxIdleTime < l.age) {
		l.age, l.source = p.MaxIdleTime, DeadlineMaxIdleTime
	}
	return l
}
