package faultserver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// AssertNoneExecutedTwice fails the test if ExecutedTwice finds a key, and
// shows every attempt of the first ones.
func (j *Journal) AssertNoneExecutedTwice(t TB, methods ...string) {
	t.Helper()
	twice := j.ExecutedTwice(methods...)
	if len(twice) > 0 {
		t.Errorf("faultserver: %s executed more than once:%s", were(len(twice), "request"), j.attempts(twice))
	}
}

// AssertEachExecutedOnce fails the test unless the handler was called exactly
// once for every key, counting only requests with one of the methods if any are
// given, and shows every attempt of the first ones for which it was not. A
// journal without such requests passes.
func (j *Journal) AssertEachExecutedOnce(t TB, methods ...string) {
	t.Helper()
	j.mu.Lock()
	times := j.executionsLocked(methods)
	j.mu.Unlock()
	maps.DeleteFunc(times, func(_ string, n int) bool { return n == 1 })
	if wrong := slices.Sorted(maps.Keys(times)); len(wrong) > 0 {
		t.Errorf("faultserver: %s not executed exactly once:%s", were(len(wrong), "request"), j.attempts(wrong))
	}
}

// AssertClosedOnlyFor fails the test if a connection has ended for a reason
// other than these. Connections that are open pass.
func (j *Journal) AssertClosedOnlyFor(t TB, reasons ...CloseReason) {
	t.Helper()
	j.assertConns(t, fmt.Sprintf("ended for reasons other than %v", reasons), func(c ConnRecord) bool {
		return c.Reason == NoReason || slices.Contains(reasons, c.Reason)
	})
}

// AssertNoneOpen fails the test if a connection is open. A client's close is
// known when the server notices it, so that AssertEventually may have to come
// first.
func (j *Journal) AssertNoneOpen(t TB) {
	t.Helper()
	j.assertConns(t, "open", func(c ConnRecord) bool { return c.ClosedBy != StillOpen })
}

func (j *Journal) assertConns(t TB, what string, passes func(ConnRecord) bool) {
	t.Helper()
	var b strings.Builder
	n := 0
	for _, c := range j.Conns() {
		if passes(c) {
			continue
		}
		if n++; n <= maxShown {
			fmt.Fprintf(&b, "\n  connection %d from %s, %s: %v (%v)", c.ID, c.RemoteAddr, count(c.Requests, "request"), c.ClosedBy, c.Reason)
			if c.Fault != 0 {
				fmt.Fprintf(&b, " by %v", c.Fault)
			}
		}
	}
	if n > maxShown {
		b.WriteString("\n  ...")
	}
	if n > 0 {
		t.Errorf("faultserver: %s %s:%s", were(n, "connection"), what, b.String())
	}
}

// AssertEventually fails the test unless done, which is asked again whenever
// the journal changes, returns true within the time. What says in words what
// was waited for.
func (j *Journal) AssertEventually(t TB, within time.Duration, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if j.Wait(ctx, done) != nil {
		t.Errorf("faultserver: not within %v: %s; the journal says:\n%s", within, what, j.Summary())
	}
}

func were(n int, thing string) string {
	if n == 1 {
		return count(n, thing) + " was"
	}
	return count(n, thing) + " were"
}

// maxShown is how many offenders an assertion shows.
const maxShown = 5

// attempts shows every attempt of the first keys.
func (j *Journal) attempts(keys []string) string {
	var b strings.Builder
	requests := j.Requests()
	for i, key := range keys {
		if i == maxShown {
			b.WriteString("\n  ...")
			break
		}
		fmt.Fprintf(&b, "\n  key %q:", key)
		for _, r := range requests {
			if r.Key == key {
				fmt.Fprintf(&b, "\n    %s %s on connection %d, request %d of it: %v, faults %v",
					r.Method, r.Path, r.Conn, r.NthOnConn, r.Phase, r.Faults)
			}
		}
	}
	for _, w := range j.Warnings() {
		fmt.Fprintf(&b, "\n  note: %s", w)
	}
	return b.String()
}
