package faultserver

import "slices"

// JournalTotals are a journal's counts. In JSON the names are those of the
// tags.
type JournalTotals struct {
	Connections int            `json:"connections"`
	Open        int            `json:"open"`
	Closed      map[string]int `json:"closed"` // by reason, as CloseReason's String
	Requests    int            `json:"requests"`
	Running     int            `json:"running"`
	Answered    int            `json:"answered"`
	Lost        int            `json:"lost"` // ended without an answer
	Executions  int            `json:"executions"`
	Struck      int            `json:"struck"` // requests that a fault struck, and connections that one struck as a whole or ended while idle
	Faults      map[string]int `json:"faults"` // by kind
}

// Totals counts.
func (j *Journal) Totals() JournalTotals {
	j.mu.Lock()
	defer j.mu.Unlock()
	var faults [kindEnd]int
	t := JournalTotals{
		Connections: len(j.conns), Requests: len(j.requests), Closed: make(map[string]int), Faults: make(map[string]int),
	}
	for _, c := range j.conns {
		for _, k := range c.Faults {
			faults[k]++
		}
		ended := c.Fault.valid() && c.Fault.spec().at != atRequest
		if ended && !slices.Contains(c.Faults, c.Fault) {
			faults[c.Fault]++
		}
		if ended || len(c.Faults) > 0 {
			t.Struck++
		}
		if c.ClosedBy == StillOpen {
			t.Open++
			continue
		}
		t.Closed[c.Reason.String()]++
	}
	for _, r := range j.requests {
		t.Executions += r.Executed
		switch {
		case r.Ended.IsZero():
			t.Running++
		case r.Answered:
			t.Answered++
		default:
			t.Lost++
		}
		if len(r.Faults) > 0 {
			t.Struck++
		}
		for _, k := range r.Faults {
			faults[k]++
		}
	}
	for k, n := range faults {
		if n > 0 {
			t.Faults[Kind(k).String()] = n
		}
	}
	return t
}
