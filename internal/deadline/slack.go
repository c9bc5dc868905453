package deadline

import "time"

// A Slack is what experience adds to the automatic margin of an upstream: for
// ways to it that are slower than they were when the connection was opened, and
// for servers that close on time but are late to read. The zero value adds
// nothing. It is not safe for concurrent use.
type Slack struct{ extra time.Duration }

// Each request that is answered near the limit takes away such a part of what
// was added, some seven hundred of them half. That is slow, since a margin that
// is too narrow costs a request, and one that is too wide a few connections.
const narrowing = 1024

// Margin is the automatic margin, and what experience adds to it, which never
// makes it more than half of the deadline.
func (s *Slack) Margin(deadline, rtt time.Duration) time.Duration {
	usual := Margin(deadline, rtt)
	return max(usual, min(usual+s.extra, deadline/2))
}

// Missed tells that a request met a close, which was sent on a connection that
// had been idle for age, although the deadline less the margin permitted it. It
// doubles the margin, and reports true, unless the age is so far from the
// deadline that something else must have closed the connection.
func (s *Slack) Missed(deadline, margin, age time.Duration) bool {
	if limit := deadline - margin; age >= limit || age < limit-margin || margin >= deadline/2 {
		return false
	}
	s.extra += min(margin, deadline/2-margin)
	return true
}

// Held tells that a request was answered on a connection that had been idle for
// age. Near the limit that says that the margin suffices.
func (s *Slack) Held(deadline, margin, age time.Duration) {
	if s.extra > 0 && age >= deadline-2*margin {
		s.extra -= s.extra/narrowing + 1
	}
}
