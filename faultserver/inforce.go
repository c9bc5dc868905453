package faultserver

import (
	"fmt"
	"slices"
)

// FaultInForce is a fault on a server and what it has done.
type FaultInForce struct {
	ID     int64 `json:"id"` // counted from 1 in the order of injection
	Fault  Fault `json:"fault"`
	Struck int   `json:"struck"` // how often
	Spent  bool  `json:"spent"`  // it has struck as often as its Times or Nth allow
}

// Faults returns the faults on the server, in the order of injection, those of
// Config and of the scenario too.
func (s *Server) Faults() []FaultInForce {
	s.rules.mu.Lock()
	defer s.rules.mu.Unlock()
	all := make([]FaultInForce, len(s.rules.list))
	for i, r := range s.rules.list {
		f := &r.fault
		all[i] = FaultInForce{
			ID: r.id, Fault: *f, Struck: r.struck, Spent: f.Times > 0 && r.struck >= f.Times || f.Nth > 0 && r.seen >= f.Nth,
		}
	}
	return all
}

// InjectAll is InjectE for several faults: they come into force at the same
// moment, or, if one has a mistake or cannot be had here, none does.
func (s *Server) InjectAll(faults ...Fault) (remove func(), err error) {
	added, err := s.swapFaults(nil, faults)
	if err != nil {
		return func() {}, fmt.Errorf("faultserver: %w", err)
	}
	return func() { s.endFaults(added) }, nil
}

// SetFaults puts these faults into force, and takes all others out, those of
// Config and of a scenario's running phase too, at the same moment. If one has a
// mistake or cannot be had here nothing changes. Without any it clears.
func (s *Server) SetFaults(faults ...Fault) error {
	if _, err := s.swapFaults(func(*rule) bool { return true }, faults); err != nil {
		return fmt.Errorf("faultserver: %w", err)
	}
	return nil
}

// RemoveFault takes a fault out of force; it is false if there is none with
// that ID.
func (s *Server) RemoveFault(id int64) bool {
	found := false
	s.swapFaults(func(r *rule) bool { // without faults to add there is no error
		found = found || r.id == id
		return r.id == id
	}, nil)
	return found
}

// endFaults takes rules out of force, as far as they are in it.
func (s *Server) endFaults(out []*rule) { s.replaceFaults(out, nil) }

// replaceFaults takes rules, as far as they are in force, out and puts faults
// in their place.
func (s *Server) replaceFaults(out []*rule, in []Fault) ([]*rule, error) {
	return s.swapFaults(func(r *rule) bool { return slices.Contains(out, r) }, in)
}

// swapFaults takes the rules for which goes is true out of force, nil: none,
// and puts faults in, on existing connections too. Whatever way a fault comes
// or goes, it is by this function. If a fault has a mistake or cannot be had on
// this server nothing changes.
func (s *Server) swapFaults(goes func(*rule) bool, in []Fault) ([]*rule, error) {
	for i, f := range in {
		if err := f.Validate(); err != nil {
			return nil, numbered(i, in, err)
		}
		if err := s.supports(f); err != nil {
			return nil, numbered(i, in, err)
		}
	}
	added := make([]*rule, len(in))
	for i, f := range in {
		added[i] = &rule{fault: f}
		if f.Kind.spec().at != atOnce {
			continue
		}
		if err := s.beginOutage(added[i]); err != nil {
			for _, r := range added[:i] {
				r.end()
			}
			return nil, numbered(i, in, fmt.Errorf("fault %v: %w", f.Kind, err))
		}
	}
	if goes == nil {
		goes = func(*rule) bool { return false }
	}
	gone := s.swapRules(goes, added)
	for _, r := range gone {
		r.end()
	}
	for _, f := range in {
		if f.Kind.judgedWhenIdle() {
			s.rearmIdle()
			break
		}
	}
	return added, nil
}

// swapRules swaps the rules, and those that shape on open connections.
func (s *Server) swapRules(goes func(*rule) bool, added []*rule) (gone []*rule) {
	s.shaping.Lock()
	defer s.shaping.Unlock()
	gone = s.rules.swap(goes, added)
	for _, r := range added {
		if r.fault.Kind.shapes() {
			s.shapeOpen(r)
		}
	}
	for _, r := range gone {
		if r.fault.Kind.shapes() {
			s.unshape(r)
		}
	}
	return gone
}

func (r *rule) end() {
	if r.undo != nil {
		r.undo()
	}
}

func numbered(i int, of []Fault, err error) error {
	if len(of) == 1 {
		return err
	}
	return fmt.Errorf("[%d]: %w", i, err)
}
