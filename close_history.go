package idlewise

import "time"

// A closeHistory says how many connections were closed in the last hour, by
// reason, in slots of five minutes.
type closeHistory struct {
	n    [historySlots][closeReasons]uint32
	slot [historySlots]int64 // whose these are, by slotOf; another's are over

	idle  [keptIdleCloses]IdleClose // the last ones, a ring
	nIdle int                       // ever
}

// keptIdleCloses is how many closes of idle connections are remembered with
// their ages: enough to see a timeout, and where it has moved.
const keptIdleCloses = 24

// An IdleClose is the end that a server gave to an idle connection.
type IdleClose struct {
	At      time.Time     `json:"at"`
	IdleAge time.Duration `json:"idle_age_ns"`

	// Found is how it was found: a close reason such as "server_fin", or
	// "stale_on_use" where a request met the closed connection, or "canary".
	Found string `json:"found"`
}

func (c *closeHistory) addIdle(e IdleClose) {
	c.idle[c.nIdle%keptIdleCloses] = e
	c.nIdle++
}

// idleCloses are those remembered, the oldest first. c may be nil.
func (c *closeHistory) idleCloses() []IdleClose {
	if c == nil {
		return nil
	}
	var out []IdleClose
	for i := max(0, c.nIdle-keptIdleCloses); i < c.nIdle; i++ {
		out = append(out, c.idle[i%keptIdleCloses])
	}
	return out
}

const (
	historySlots = 12
	slotTime     = time.Hour / historySlots
)

func slotOf(now time.Time) int64 { return now.UnixNano() / int64(slotTime) }

func (c *closeHistory) add(why CloseReason, now time.Time) {
	s := slotOf(now)
	i := (s%historySlots + historySlots) % historySlots // clocks may be before 1970
	if c.slot[i] != s {
		c.slot[i], c.n[i] = s, [closeReasons]uint32{}
	}
	c.n[i][why]++
}

// lastHour is what the current slot and the eleven before it hold. c may be nil.
func (c *closeHistory) lastHour(now time.Time) map[CloseReason]uint64 {
	out := make(map[CloseReason]uint64)
	if c == nil {
		return out
	}
	s := slotOf(now)
	for i, slot := range c.slot {
		if s-slot >= historySlots || slot > s {
			continue
		}
		for why, n := range c.n[i] {
			if n > 0 {
				out[CloseReason(why)] += uint64(n)
			}
		}
	}
	return out
}
