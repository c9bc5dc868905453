package deadline

import (
	"cmp"
	"slices"
	"time"
)

// A Memory is a cluster as it is written down for another process.
type Memory struct {
	Lower, Upper time.Duration // the ages at which the server closed
	Closes       int           // in it, ever
	Weight       float64       // of closes, as they fade
	Survived     float64       // of connections that came through it alive
}

// Recall returns what the Learner knows, the lowest age first.
func (l *Learner) Recall() []Memory {
	all := make([]Memory, l.n)
	for i, c := range l.clusters[:l.n] {
		all[i] = Memory{c.lo, c.hi, c.n, c.e, c.s}
	}
	slices.SortFunc(all, func(a, b Memory) int { return cmp.Compare(a.Lower, b.Lower) })
	return all
}

// mostCloses leaves room to count on.
const mostCloses = 1 << 30

// Remember makes a Learner of what an earlier process knew. The world may have
// changed since: what was confirmed counts as provisional, until one close
// agrees with it.
func Remember(all []Memory) Learner {
	var l Learner
	for _, m := range all {
		if l.n == maxClusters || m.Lower < shortest || m.Upper < m.Lower || !holds(m.Lower, m.Upper) ||
			!(m.Weight >= negligible) || !(m.Survived >= 0) || m.Closes < 1 {
			continue
		}
		c := cluster{lo: m.Lower, hi: m.Upper, n: min(m.Closes, mostCloses), before: m.Closes > 1, e: min(m.Weight, 1), s: m.Survived}
		if m.Weight > 1 {
			c.s *= 1 / m.Weight // the share stays
		}
		l.clusters[l.n] = c
		l.n++
	}
	slices.SortFunc(l.clusters[:l.n], func(a, b cluster) int { return cmp.Compare(a.lo, b.lo) })
	l.review()
	return l
}
