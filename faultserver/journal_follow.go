package faultserver

import (
	"cmp"
	"context"
	"slices"
)

// follower hands out rows when they are final: requests that have been answered
// or lost, connections that have ended; what happened to the server and what it
// was asked for names at once. It survives Journal.Reset.
type follower struct {
	lastConn, lastRequest int64
	conns                 []*connRow // seen and not final
	requests              []*requestRow
	lastEvent, lastLookup int
}

// follow calls f with every row, as a value for JSON, when it is final, those
// that are already first, until the context ends or f fails.
func (j *Journal) follow(ctx context.Context, f func(line any) error) error {
	var fl follower
	for {
		var lines []any
		if err := j.Wait(ctx, func() bool {
			lines = fl.next(j)
			return len(lines) > 0
		}); err != nil {
			return err
		}
		for _, line := range lines {
			if err := f(line); err != nil {
				return err
			}
		}
	}
}

func (fl *follower) next(j *Journal) (lines []any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	from, _ := slices.BinarySearchFunc(j.conns, fl.lastConn+1, func(c *connRow, id int64) int { return cmp.Compare(c.ID, id) })
	fl.conns = append(fl.conns, j.conns[from:]...)
	if n := len(j.conns); n > 0 {
		fl.lastConn = max(fl.lastConn, j.conns[n-1].ID)
	}
	from, _ = slices.BinarySearchFunc(j.requests, fl.lastRequest+1, func(r *requestRow, id int64) int { return cmp.Compare(r.ID, id) })
	fl.requests = append(fl.requests, j.requests[from:]...)
	if n := len(j.requests); n > 0 {
		fl.lastRequest = max(fl.lastRequest, j.requests[n-1].ID)
	}
	fl.requests = slices.DeleteFunc(fl.requests, func(r *requestRow) bool {
		final := !r.Ended.IsZero()
		if final {
			lines = append(lines, lineOfRequest(r.RequestRecord))
		}
		return final
	})
	fl.conns = slices.DeleteFunc(fl.conns, func(c *connRow) bool {
		final := c.ClosedBy != StillOpen
		if final {
			lines = append(lines, lineOfConn(c.ConnRecord))
		}
		return final
	})
	for _, e := range j.events[max(0, len(j.events)-(j.lastEvent-fl.lastEvent)):] {
		lines = append(lines, lineOfEvent(e))
	}
	for _, l := range j.lookups[max(0, len(j.lookups)-(j.lastLookup-fl.lastLookup)):] {
		lines = append(lines, lineOfLookup(l))
	}
	fl.lastEvent, fl.lastLookup = j.lastEvent, j.lastLookup
	return lines
}
