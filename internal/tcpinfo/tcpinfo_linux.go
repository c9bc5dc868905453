package tcpinfo

import (
	"syscall"
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
	return milliseconds(info.Last_data_recv), true
}

// OfSocket is [Of] for a descriptor. It makes three system calls.
func OfSocket(fd uintptr) (Info, bool) {
	protocol, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || protocol != unix.IPPROTO_TCP {
		return Info{}, false
	}
	kernel, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return Info{}, false
	}
	// After TCP_INFO: what is acknowledged between the two is then missing
	// from both, and books that do not balance prove nothing. The other way
	// round it would stand in both.
	queued, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil || queued < 0 {
		return Info{}, false
	}
	return fromKernel(kernel, uint64(queued))
}

// fromKernel translates, if the kernel filled in what matters. Older ones fill
// in less, and x/sys hides how much: bytes_acked came with Linux 4.1, segs_in,
// which lies behind it, with 4.2. A connection has received a segment at least,
// the one that opened it, so a zero there is a field that was not filled in.
func fromKernel(k *unix.TCPInfo, queued uint64) (Info, bool) {
	if k.Segs_in == 0 {
		return Info{}, false
	}
	return Info{
		State:         State(k.State),
		Acked:         k.Bytes_acked,
		Queued:        queued,
		NotSent:       uint64(k.Notsent_bytes),
		Received:      k.Bytes_received,
		Unacked:       k.Unacked,
		Retransmits:   uint32(k.Retransmits),
		Probes:        uint32(k.Probes),
		SinceReceived: milliseconds(k.Last_data_recv),
		SinceAck:      milliseconds(k.Last_ack_recv),
		RTT:           time.Duration(k.Rtt) * time.Microsecond,
	}, true
}

func milliseconds(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }

// TakeSocketError is [TakeError] for a descriptor.
func TakeSocketError(fd uintptr) (pending error, ok bool) {
	number, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return nil, false
	}
	if number == 0 {
		return nil, true
	}
	return syscall.Errno(number), true
}
