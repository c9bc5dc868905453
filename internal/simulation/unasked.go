package simulation

import (
	"slices"
	"strings"
	"time"
)

// Unasked is what a socket knows of bytes that no request had asked for. Those that
// come while a request is on its way nobody can tell from its response: then the
// client and the server are out of step, and neither is to blame.
type unasked struct {
	ear      ear
	answers  int       // responses that began, on plain HTTP/1
	at       time.Time // when bytes came although nothing was on its way
	along    bool      // together with the end of a response
	crossed  bool      // a forged response came while a request was on its way
	records  int       // over TLS: written
	idleFrom time.Time // over TLS: when a response had been read to its end; zero: something may be on its way
}

// known reports whether a client can know by now that the connection must not be
// used. What came along with a response was there when that was read; of other bytes
// of the same instant nobody can say whether they came before.
func (u *unasked) known(now time.Time) bool {
	return !u.at.IsZero() && (u.along || u.at.Before(now))
}

// meet is called when a request was written, and reports whether bytes came in that
// very instant: they may as well have crossed it, on plain HTTP/1 as its response.
func (u *unasked) meet(now time.Time) bool {
	if u.at.IsZero() || u.along || !u.at.Equal(now) {
		return false
	}
	u.at, u.crossed = time.Time{}, true
	return true
}

// hearLocked takes in what was read.
func (s *socket) hearLocked(p []byte) {
	u := &s.unasked
	switch s.server.w.plan.Protocol {
	case HTTP1:
		h := u.ear.hear(p)
		before := u.answers + h.before
		u.answers += h.answers
		if !h.forged {
			return
		}
		if s.requests > before {
			u.crossed = true
			s.server.crossed.Store(true)
			return
		}
		if u.at.IsZero() {
			u.at, u.along = s.heardAt, h.along
		}
	case TLS: // whatever the record says
		if u.at.IsZero() && !u.idleFrom.IsZero() && u.idleFrom.Before(s.heardAt) {
			u.at = s.heardAt
		}
	}
}

// writeRecord sees a TLS record that is written, which begins a request if nothing
// is on its way.
func (s *socket) writeRecord(p []byte) {
	const longestAlert = 5 + 2 + 1 + 16 + 8 // header, alert, type, tag, nonce
	if len(p) <= longestAlert {
		return
	}
	s.mu.Lock()
	now, at := time.Now(), s.unasked.at
	wrong := s.unasked.known(now) && !s.unasked.idleFrom.IsZero()
	s.unasked.idleFrom = time.Time{}
	s.unasked.records++
	s.unasked.meet(now)
	s.mu.Unlock()
	if wrong {
		s.server.w.violate("P3", "a request was written on the connection from %v %v after a record had come that nobody had asked for", s.LocalAddr(), time.Since(at))
	}
}

// records is how many TLS records were written.
func (s *socket) records() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unasked.records
}

// readToTheEnd is called when a response that came on s has been. If nothing was
// written since it began, nothing is on its way.
func (s *socket) readToTheEnd(records int) {
	s.mu.Lock()
	if s.unasked.records == records {
		s.unasked.idleFrom = time.Now()
	}
	s.mu.Unlock()
}

// mayBeTaken reports whether a forged response may have been taken for one to a
// request: if it came while that was on its way, or in the very instant.
func (s *socket) mayBeTaken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server.w.plan.Protocol == HTTP1 {
		return s.unasked.crossed || !s.unasked.known(time.Now())
	}
	return s.unasked.at.IsZero()
}

// outOfStep reports whether a response to another request may have come on sock,
// which is nil if its call does not know, since a forged one crossed a request.
func (s *server) outOfStep(sock *socket) bool {
	if s.w.plan.Protocol != HTTP1 {
		return slices.ContainsFunc(s.faults(), func(f string) bool { return strings.Contains(f, "X-Forged") && kindOf(f) == "idle-bytes" })
	}
	if sock == nil {
		return s.crossed.Load()
	}
	sock.mu.Lock()
	defer sock.mu.Unlock()
	return sock.unasked.crossed
}

// faults are all that may strike the server.
func (s *server) faults() []string {
	all := slices.Clone(s.w.plan.Servers[s.n].Faults)
	for _, a := range s.w.plan.Actions {
		if a.Do == Inject && s.w.server(a.Server) == s {
			all = append(all, a.Fault)
		}
	}
	return all
}
