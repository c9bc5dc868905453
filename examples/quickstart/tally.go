package main

import (
	"errors"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// A tally counts what the callers of a contender saw.
type tally struct {
	mu       sync.Mutex
	requests int
	failed   int
	errors   map[string]int // by method
	causes   map[string]int // errors by what they say
	statuses map[int]int    // answers by status, from 400 on
	repeated int            // requests that were sent more than once and then succeeded
	alive    int            // requests after a long gap that found the old connection open
	closed   int            // those that did not
	took     []time.Duration
}

func newTally() *tally {
	return &tally{errors: map[string]int{}, causes: map[string]int{}, statuses: map[int]int{}}
}

func (t *tally) add(call call, got outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	switch {
	case !call.long:
	case got.reused:
		t.alive++
	default:
		t.closed++
	}
	if got.err != nil {
		t.failed++
		t.errors[call.method]++
		t.causes[causeText(got.err)]++
		return
	}
	if got.attempts > 1 {
		t.repeated++
	}
	if got.status >= 400 {
		t.statuses[got.status]++
	}
	t.took = append(t.took, got.took)
}

func (t *tally) soFar() (requests, failed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.requests, t.failed
}

// causeText says what an error says, without what differs from one request to
// the next: the URL's and the connection's addresses.
func causeText(err error) string {
	if e, ok := err.(*url.Error); ok {
		err = e.Err
	}
	text := err.Error()
	if op, ok := errors.AsType[*net.OpError](err); ok {
		cause := op.Err
		if e, ok := cause.(*os.SyscallError); ok {
			cause = e.Err
		}
		text = strings.ReplaceAll(text, op.Error(), cause.Error())
	}
	return text
}

// notCounted stands for a number that only the example's own server knows.
const notCounted = -1

// A result is a row of the table, and what is said about it below.
type result struct {
	name        string
	requests    int
	errors      map[string]int // by method; one that was not sent is missing
	causes      map[string]int
	statuses    map[int]int
	repeated    int
	alive       int
	closed      int
	postTwice   int // POSTs that were executed more than once, or notCounted
	othersTwice int
	connections int
	p50, p99    time.Duration // 0 if nothing succeeded
}

// result adds up. The callers must have ended.
func (c *contender) result(methods []string) result {
	t := c.tally
	r := result{
		name: c.name, requests: t.requests, errors: map[string]int{}, causes: t.causes,
		statuses: t.statuses, repeated: t.repeated, alive: t.alive, closed: t.closed,
		postTwice: notCounted, othersTwice: notCounted, connections: int(c.dials.Load()),
	}
	for _, m := range methods {
		r.errors[m] = t.errors[m]
	}
	if c.server != nil {
		journal := c.server.Journal()
		r.postTwice = len(journal.ExecutedTwice("POST"))
		r.othersTwice = len(journal.ExecutedTwice("GET", "PUT", "DELETE"))
	}
	slices.Sort(t.took)
	r.p50, r.p99 = percentile(t.took, 50), percentile(t.took, 99)
	return r
}

// percentile returns the smallest of the sorted values that at least p percent
// of them do not exceed, 0 if there are none.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*p+99)/100-1]
}
