//go:build unix

package tcpinfo

import (
	"io"
	"syscall"
)

// PeekSocket is [Peek] for a descriptor. It makes one system call.
func PeekSocket(fd uintptr) (n int, pending error, ok bool) {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	switch {
	case err == syscall.EAGAIN || err == syscall.EWOULDBLOCK || err == syscall.EINTR:
		return 0, nil, true
	case err != nil:
		return 0, err, true
	case n == 0:
		return 0, io.EOF, true
	}
	return n, nil, true
}
