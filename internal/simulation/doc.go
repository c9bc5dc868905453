// Package simulation runs a whole Transport against drawn servers, networks and
// callers in virtual time, and checks that idlewise keeps its promises.
//
// [Draw] makes a seed's plan, [Run] runs one and judges it, [Shrink] cuts one down
// that fails. The command in cmd does all three. README.md says what is drawn and
// checked, how far a run repeats, and which mistakes in idlewise it was shown to
// find.
package simulation
