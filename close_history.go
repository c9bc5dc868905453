package idlewise

import "time"

// A closeHistory says how many connections were closed in the last hour, by
// reason, in slots of five minutes.
type closeHistory struct {
	n    [historySlots][closeReasons]uint32
	slot [historySlots]int64 // whose these are, by slotOf; another's are over
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
