package faultserver

import (
	"slices"
	"time"
)

// LookupRecord is one question to the server of Server.Resolver.
type LookupRecord struct {
	Time      time.Time // it was asked
	Name      string    // in lower case, without a dot at the end
	Type      string    // "A", "AAAA"
	Network   string    // "udp" or "tcp", as the resolver dialed
	Outcome   string    // "answered", "empty", "nxdomain", "servfail", "truncated"; "" for silence
	Addresses []string  // the answer's
	Faults    []Kind    // that struck it
}

// lookedUp enters a question before it is answered.
func (j *Journal) lookedUp(rec LookupRecord) {
	rec.Time = time.Now()
	j.change(func() { j.lookups, j.lastLookup = append(j.lookups, rec), j.lastLookup+1 })
}

// Lookups returns a copy of every question's record, in the order in which they
// were asked. Reset forgets them.
func (j *Journal) Lookups() []LookupRecord {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lookups)
}
