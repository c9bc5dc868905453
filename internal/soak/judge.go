package main

import (
	"fmt"
	"slices"
)

// leastSamples are needed for medians that mean something.
const leastSamples = 20

// A measure must be flat: its median in the last quarter of the run is at most a
// tenth and a little more than in the second one. (The first quarter is for what
// has to fill up: pools, caches of bounded size.)
type measure struct {
	name string
	of   func(sample) int64
	more int64 // beyond the tenth
	unit int64
}

var measures = []measure{
	{"heap", func(s sample) int64 { return s.heap }, 1 << 20, 1 << 20},
	{"goroutines", func(s sample) int64 { return int64(s.goroutines) }, 40, 1},
	{"files", func(s sample) int64 { return int64(s.files) }, 20, 1},
	{"connections", func(s sample) int64 { return int64(s.open) }, 20, 1},
	{"upstreams", func(s sample) int64 { return int64(s.upstreams) }, 5, 1},
}

// flat compares the two quarters, says what came of it, and reports whether the
// measure is flat.
func (m measure) flat(samples []sample) (string, bool) {
	quarter := len(samples) / 4
	early, late := m.median(samples[quarter:2*quarter]), m.median(samples[len(samples)-quarter:])
	ok := late <= early+early/10+m.more
	word := "flat"
	if !ok {
		word = "GROWS"
	}
	return fmt.Sprintf("%-12s %10.2f in the second quarter, %10.2f in the last: %s", m.name,
		float64(early)/float64(m.unit), float64(late)/float64(m.unit), word), ok
}

func (m measure) median(samples []sample) int64 {
	var all []int64
	for _, s := range samples {
		all = append(all, m.of(s))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
