package faultserver

import "fmt"

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
// moment, or, if one has a mistake, none does.
func (s *Server) InjectAll(faults ...Fault) (remove func(), err error) {
	added, err := s.swapFaults(func(*rule) bool { return false }, faults)
	return func() { s.rules.replace(added, nil) }, err
}

// SetFaults puts these faults into force, and takes all others out, those of
// Config and of a scenario's running phase too, at the same moment. If one has a
// mistake nothing changes. Without any it clears.
func (s *Server) SetFaults(faults ...Fault) error {
	_, err := s.swapFaults(func(*rule) bool { return true }, faults)
	return err
}

// RemoveFault takes a fault out of force; it is false if there is none with
// that ID.
func (s *Server) RemoveFault(id int64) bool {
	gone, _ := s.rules.swap(func(r *rule) bool { return r.id == id }, nil)
	return len(gone) > 0
}

func (s *Server) swapFaults(goes func(*rule) bool, in []Fault) ([]*rule, error) {
	reachIdle := false
	for i, f := range in {
		if err := f.Validate(); err != nil {
			return nil, fmt.Errorf("faultserver: [%d]: %w", i, err)
		}
		reachIdle = reachIdle || f.Kind.judgedWhenIdle()
	}
	_, added := s.rules.swap(goes, in)
	if reachIdle {
		s.rearmIdle()
	}
	return added, nil
}
