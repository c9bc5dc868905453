//go:build unix

package idlewise

import "syscall"

// look reports whether the socket is silent and open: no FIN, no error and no
// byte has arrived. It is one system call, and does not wait.
//
// RawConn.Read would wait for net/http's own pending read to end; Control
// does not. Only real TCP sockets are looked at; of others true says nothing.
func (t *tracked) look() bool {
	tcp, ok := t.Conn.(syscall.Conn)
	if !t.isTCP || !ok {
		return true
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true
	}
	silent := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, rerr := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		silent = rerr == syscall.EAGAIN || rerr == syscall.EWOULDBLOCK || rerr == syscall.EINTR
	})
	return err == nil && silent
}
