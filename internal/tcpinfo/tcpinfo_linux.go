package tcpinfo

import (
	"time"

	"golang.org/x/sys/unix"
)

// SinceReceived reports how long ago the socket last received data, as the
// kernel knows it: not when a program got round to reading it.
func SinceReceived(fd uintptr) (time.Duration, bool) {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, false
	}
	return time.Duration(info.Last_data_recv) * time.Millisecond, true
}
