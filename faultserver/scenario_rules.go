package faultserver

import "slices"

// swap takes the rules for which goes is true out of force and puts faults in,
// in one go: every event is judged by either the old or the new ones.
func (rs *rules) swap(goes func(*rule) bool, in []Fault) (gone, added []*rule) {
	added = make([]*rule, len(in))
	for i, f := range in {
		added[i] = &rule{fault: f}
		rs.count(f.Kind, 1) // first, so that no event passes without looking
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
	for _, r := range added {
		rs.lastID++
		r.id = rs.lastID
	}
	rs.list = append(stay, added...)
	rs.mu.Unlock()
	for _, r := range gone {
		rs.count(r.fault.Kind, -1)
	}
	return gone, added
}

// replace takes these rules, as far as they are in force, out.
func (rs *rules) replace(out []*rule, in []Fault) []*rule {
	_, added := rs.swap(func(r *rule) bool { return slices.Contains(out, r) }, in)
	return added
}

// reseed begins the draws of probabilities and jitter anew.
func (rs *rules) reseed(seed uint64) {
	rs.mu.Lock()
	rs.rng = newRules(seed).rng
	rs.mu.Unlock()
}
