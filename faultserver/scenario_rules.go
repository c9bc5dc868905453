package faultserver

// swap takes the rules for which goes is true out of force and puts others in,
// in one go: every event is judged by either the old or the new ones. Only
// Server.swapFaults calls it: some faults are more than rules.
func (rs *rules) swap(goes func(*rule) bool, in []*rule) (gone []*rule) {
	for _, r := range in {
		rs.count(r.fault.Kind, 1) // first, so that no event passes without looking
	}
	rs.mu.Lock()
	stay := make([]*rule, 0, len(rs.list)+len(in)) // a new slice: others may be walking the old one
	for _, r := range rs.list {
		if goes(r) {
			r.removed = true
			gone = append(gone, r)
			continue
		}
		stay = append(stay, r)
	}
	var over []*rule // before they began
	for _, r := range in {
		rs.lastID++
		r.id = rs.lastID
		if r.removed {
			over = append(over, r)
			continue
		}
		stay = append(stay, r)
	}
	rs.list = stay
	rs.mu.Unlock()
	for _, r := range append(over, gone...) {
		rs.count(r.fault.Kind, -1)
	}
	return gone
}

// reseed begins the draws of probabilities and jitter anew.
func (rs *rules) reseed(seed uint64) {
	rs.mu.Lock()
	rs.rng = newRules(seed).rng
	rs.mu.Unlock()
}
