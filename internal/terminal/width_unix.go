//go:build unix

// Package terminal knows how wide a terminal is: a line that wraps cannot be
// written over.
package terminal

import (
	"os"

	"golang.org/x/sys/unix"
)

// Width is the number of columns of the terminal that f is, now: windows are
// resized. 0: f is none, or one that does not know, as some serial lines.
func Width(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
