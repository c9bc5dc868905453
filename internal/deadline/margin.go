// Package deadline answers, as pure functions of times and events, how long
// an idle connection may be kept before its server closes it.
package deadline

import "time"

const (
	// timerSlop is what both ends' timers may be late by, together. Go's own
	// are exact to well under a millisecond; the rest is scheduling.
	timerSlop = 10 * time.Millisecond

	// leastShare and leastMargin bound the margin from below on long
	// deadlines, where neither the round trip nor timer slop matters but a
	// coarse server timer does: 1 % of 75 s is 0.75 s.
	leastMargin = 250 * time.Millisecond
)

// Margin reports how long before the server's idle deadline a connection
// must be retired, if nothing better is known. The server's clock started one
// flight before ours, and the next request needs one flight to arrive, so the
// least slack is one round trip and what timers are late by.
//
// It may be as long as the deadline itself or longer: then the connection
// cannot be reused at all.
func Margin(deadline, rtt time.Duration) time.Duration {
	least := rtt + rtt/4 + timerSlop
	usual := min(deadline/5, max(leastMargin, deadline/100))
	return max(least, usual)
}
