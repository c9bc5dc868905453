package faultserver

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Requests returns a copy of every request's record, in the order in which
// their heads were read.
func (j *Journal) Requests() []RequestRecord {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]RequestRecord, len(j.requests))
	for i, row := range j.requests {
		all[i] = row.RequestRecord
	}
	return all
}

// Conns returns a copy of every connection's record, in the order of
// acceptance.
func (j *Journal) Conns() []ConnRecord {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]ConnRecord, len(j.conns))
	for i, row := range j.conns {
		all[i] = row.ConnRecord
		all[i].Faults = slices.Clone(row.Faults)
	}
	return all
}

// Executions returns how often the handler was called for each key. A key whose
// requests never reached the handler is there with 0.
func (j *Journal) Executions() map[string]int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.executionsLocked(nil)
}

func (j *Journal) executionsLocked(methods []string) map[string]int {
	times := make(map[string]int)
	for _, row := range j.requests {
		if len(methods) == 0 || slices.Contains(methods, row.Method) {
			times[row.Key] += row.Executed
		}
	}
	return times
}

// ExecutedTwice returns, sorted, the keys for which the handler was called more
// than once, counting only requests with one of the methods if any are given.
// Without keys of their own two equal requests, such as two GETs of one path,
// count as one that was executed twice; see Warnings.
func (j *Journal) ExecutedTwice(methods ...string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	times := j.executionsLocked(methods)
	maps.DeleteFunc(times, func(_ string, n int) bool { return n < 2 })
	return slices.Sorted(maps.Keys(times))
}

// Warnings returns what makes the journal's counts less certain than they look,
// and the handler's panics.
func (j *Journal) Warnings() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var warnings []string
	derived := 0
	for _, row := range j.requests {
		if row.KeyDerived {
			derived++
		}
	}
	if derived > 0 {
		warnings = append(warnings, fmt.Sprintf(
			"%d of %s had neither an Idempotency-Key nor an X-Fault-Key header: their key is made of method, "+
				"target and body, so that equal requests count as one", derived, count(len(j.requests), "request")))
	}
	return append(warnings, j.panics...)
}

// Summary returns a few lines for a person: counts of connections by how and
// why they ended, of requests by how far they came and what struck them, and of
// what happened to the server as a whole.
func (j *Journal) Summary() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	ends, phases, struck := map[string]int{}, map[Phase]int{}, map[Kind]int{}
	for _, c := range j.conns {
		end := c.ClosedBy.String()
		if c.Reason != NoReason {
			end += " (" + c.Reason.String()
			if c.Fault != 0 {
				end += " " + c.Fault.String()
			}
			end += ")"
		}
		ends[end]++
		for _, k := range c.Faults {
			struck[k]++
		}
	}
	executed := 0
	for _, r := range j.requests {
		phases[r.Phase]++
		executed += r.Executed
		for _, k := range r.Faults {
			struck[k]++
		}
	}
	times := j.executionsLocked(nil)
	maps.DeleteFunc(times, func(_ string, n int) bool { return n < 2 })

	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n", count(len(j.conns), "connection"), counts(ends))
	fmt.Fprintf(&b, "%s, %s, %s executed more than once%s\n",
		count(len(j.requests), "request"), count(executed, "execution"), count(len(times), "key"), counts(phases))
	if len(struck) > 0 {
		fmt.Fprintf(&b, "faults%s\n", counts(struck))
	}
	if len(j.events) > 0 {
		events := map[string]int{}
		for _, e := range j.events {
			events[e.String()]++
		}
		fmt.Fprintf(&b, "server%s\n", counts(events))
	}
	if len(j.lookups) > 0 {
		outcomes := map[string]int{}
		for _, l := range j.lookups {
			outcomes[cmp.Or(l.Outcome, "silence")]++
		}
		fmt.Fprintf(&b, "%s%s\n", count(len(j.lookups), "lookup"), counts(outcomes))
	}
	return b.String()
}

func counts[K cmp.Ordered](m map[K]int) string {
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(m)) {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%d %v", sep, m[k], k)
	}
	return b.String()
}

// Reset forgets all requests and all connections that have ended. Requests that
// are running are forgotten too.
func (j *Journal) Reset() {
	j.change(func() {
		j.conns = slices.DeleteFunc(j.conns, func(c *connRow) bool { return c.ClosedBy != StillOpen })
		j.requests, j.panics, j.events, j.lookups = nil, nil, nil, nil
	})
}

// Wait blocks until done returns true, asking it again whenever the journal
// changes, or until the context ends, whose error it then returns. done may
// call the journal's other methods.
func (j *Journal) Wait(ctx context.Context, done func() bool) error {
	for {
		j.mu.Lock()
		if j.changed == nil {
			j.changed = make(chan struct{})
		}
		changed := j.changed
		j.mu.Unlock()
		if done() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
