package idlewise

import (
	"errors"
	"syscall"
)

const wsaConnectionAborted syscall.Errno = 10053 // WSAECONNABORTED

// isReset reports whether err says that the peer reset the connection.
// Windows has codes of its own; syscall.ECONNRESET there is an invented one
// that no system call returns.
func isReset(err error) bool {
	return errors.Is(err, syscall.WSAECONNRESET) || errors.Is(err, wsaConnectionAborted)
}
