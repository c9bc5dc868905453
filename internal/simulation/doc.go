// Package simulation runs a whole Transport against drawn servers, networks and
// callers in virtual time, and checks that idlewise keeps its promises.
package simulation
