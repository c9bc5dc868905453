// Package interop holds no code, only tests of idlewise beside the programs
// and libraries that it meets. It is a module of its own, so that nothing they
// need reaches those who import idlewise.
package interop
