// Package servers holds no code but tests: of idlewise against servers as they
// are installed, each a process of its own on loopback. See ../README.md.
package servers
