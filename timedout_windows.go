package idlewise

import (
	"errors"
	"syscall"
)

const wsaTimedOut syscall.Errno = 10060 // WSAETIMEDOUT

// isTimedOut reports whether err says that the kernel has given the peer up: it
// did not acknowledge what was sent, or did not answer keep-alive probes. It is
// not about deadlines and the timeouts of programs.
//
// Windows has a code of its own; syscall.ETIMEDOUT there is an invented one.
func isTimedOut(err error) bool {
	return errors.Is(err, wsaTimedOut) || errors.Is(err, syscall.ETIMEDOUT)
}
