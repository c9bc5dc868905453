package idleprom

import (
	"time"

	"github.com/idlewise/idlewise"
)

// A vector is an upstream's counters, in the order of the tables in metrics.go.
// The zero value is all zeros.
type vector struct {
	counters   []uint64
	histograms []histogram
}

type histogram struct {
	counts []uint64
	sum    float64
}

func newVector() vector {
	return vector{make([]uint64, len(counterTable)), make([]histogram, len(histogramTable))}
}

func vectorOf(c *idlewise.Counters) vector {
	v := newVector()
	for i, s := range counterTable {
		v.counters[i] = s.get(c)
	}
	for i, s := range histogramTable {
		h := s.get(c)
		v.histograms[i] = histogram{h.Counts, h.Sum}.clone()
	}
	return v
}

func (h histogram) clone() histogram {
	h.counts = append([]uint64(nil), h.counts...)
	return h
}

// grow makes room for the buckets of o.
func (h *histogram) grow(o histogram) {
	if h.counts == nil && o.counts != nil {
		h.counts = make([]uint64, len(o.counts))
	}
}

func (v *vector) add(o vector) {
	for i, n := range o.counters {
		v.counters[i] += n
	}
	for i, h := range o.histograms {
		v.histograms[i].grow(h)
		for j, n := range h.counts {
			v.histograms[i].counts[j] += n
		}
		v.histograms[i].sum += h.sum
	}
}

// sub subtracts o, and stops at zero.
func (v *vector) sub(o vector) {
	for i, n := range o.counters {
		v.counters[i] -= min(n, v.counters[i])
	}
	for i, h := range o.histograms {
		mine := &v.histograms[i]
		mine.grow(h)
		for j, n := range h.counts {
			mine.counts[j] -= min(n, mine.counts[j])
		}
		mine.sum = max(0, mine.sum-h.sum)
	}
}

// raise replaces v's elements by those of o that are greater. A difference of
// sums may be less by a rounding error than it was, and no counter goes down.
func (v *vector) raise(o vector) {
	if v.counters == nil {
		*v = newVector()
	}
	for i, n := range o.counters {
		v.counters[i] = max(v.counters[i], n)
	}
	for i, h := range o.histograms {
		mine := &v.histograms[i]
		mine.grow(h)
		for j, n := range h.counts {
			mine.counts[j] = max(mine.counts[j], n)
		}
		mine.sum = max(mine.sum, h.sum)
	}
}

func (v *vector) isZero() bool {
	for _, n := range v.counters {
		if n > 0 {
			return false
		}
	}
	return true
}

// A labeled upstream has metrics of its own. The Transport may forget it and
// meet it again, with counters that begin anew; and it may have several records
// of one name, as when a proxy is used with several passwords.
type labeled struct {
	past vector               // of records that are gone
	now  map[time.Time]vector // of those there were at the last scrape, by Since
	seen map[time.Time]vector // in this scrape
}

func newLabeled() *labeled {
	return &labeled{past: newVector(), seen: make(map[time.Time]vector)}
}

// see takes in a record.
func (l *labeled) see(u *idlewise.UpstreamStats) {
	v := vectorOf(&u.Counters)
	if same, ok := l.seen[u.Since]; ok {
		v.add(same)
	}
	l.seen[u.Since] = v
}

// value ends a scrape and returns the upstream's counters. What a record counted
// between the last scrape and its end goes to "other".
func (l *labeled) value() vector {
	for since, last := range l.now {
		if _, still := l.seen[since]; !still {
			l.past.add(last)
		}
	}
	l.now, l.seen = l.seen, make(map[time.Time]vector)
	sum := newVector()
	sum.add(l.past)
	for _, v := range l.now {
		sum.add(v)
	}
	return sum
}
