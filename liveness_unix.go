//go:build unix

package idlewise

import (
	"syscall"
	"time"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// look reports whether the socket is silent and open: no FIN, no error and no
// byte has arrived. It also reports for how long it has been silent, if the
// kernel tells (on Linux), else 0. It makes two system calls at most, and does
// not wait.
//
// RawConn.Read would wait for net/http's own pending read to end; Control
// does not. Only real TCP sockets are looked at; of others true says nothing.
func (t *tracked) look() (silent bool, since time.Duration) {
	tcp, ok := t.Conn.(syscall.Conn)
	if !t.isTCP || !ok {
		return true, 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true, 0
	}
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, rerr := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		silent = rerr == syscall.EAGAIN || rerr == syscall.EWOULDBLOCK || rerr == syscall.EINTR
		if silent {
			since, _ = tcpinfo.SinceReceived(fd)
		}
	})
	return err == nil && silent, since
}
