//go:build !windows

package idlewise

import (
	"errors"
	"syscall"
)

// isTimedOut reports whether err says that the kernel has given the peer up: it
// did not acknowledge what was sent, or did not answer keep-alive probes. It is
// not about deadlines and the timeouts of programs.
func isTimedOut(err error) bool { return errors.Is(err, syscall.ETIMEDOUT) }
