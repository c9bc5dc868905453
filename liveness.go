package idlewise

import (
	"time"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// look reports whether the socket is silent and open: no FIN, no error and no
// byte has arrived. Of connections that cannot be asked, true says nothing. It
// makes one system call and does not wait.
func (t *tracked) look() bool {
	n, pending, ok := tcpinfo.Peek(t.Conn)
	return !ok || n == 0 && pending == nil
}

// lookLonger is look that also reports for how long the socket has been silent,
// 0 if the kernel does not tell, by one system call more.
func (t *tracked) lookLonger() (silent bool, since time.Duration) {
	silent, since, ok := tcpinfo.Silent(t.Conn)
	return !ok || silent, since
}
