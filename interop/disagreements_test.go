package interop

import "maps"

// A disagreement is something by which a program tells idlewise's error from
// net/http's for the same failure. Each is asserted, so that mending it makes
// the test fail until its row is taken out.
type disagreement struct {
	failures []string
	way      way // "": both
	traits   []string
	why      string
}

// otherFailures are provoked by tests of their own.
var otherFailures []string

var disagreements = []disagreement{}

// expectedDifferences returns the listed ones of a failure, by trait.
func expectedDifferences(name string, w way) map[string]string {
	expected := make(map[string]string)
	for _, d := range disagreements {
		if d.way != "" && d.way != w {
			continue
		}
		for _, failure := range d.failures {
			if failure == name {
				for _, trait := range d.traits {
					maps.Copy(expected, map[string]string{trait: d.why})
				}
			}
		}
	}
	return expected
}
