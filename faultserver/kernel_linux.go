package faultserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// onDescriptor runs f on the descriptor of a socket.
func onDescriptor(sc syscall.Conn, f func(fd int) error) error {
	rc, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := rc.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// deafen makes the kernel drop every packet for a TCP socket unseen: it neither
// acknowledges nor resets, and a listener answers no SYN. It asks for a time to
// live of 255 (RFC 5082), with which clients do not send. Anyone may do it; a
// socket filter would need CAP_NET_ADMIN on recent kernels.
func deafen(sc syscall.Conn, deaf bool) error {
	ttl := 0
	if deaf {
		ttl = 255
	}
	return onDescriptor(sc, func(fd int) error {
		err4 := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, ttl)
		err6 := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, ttl)
		if err4 != nil && err6 != nil {
			return os.NewSyscallError("setsockopt IP_MINTTL", err4)
		}
		return nil
	})
}

// canDeafen asks the kernel on a socket nobody uses.
func canDeafen() error {
	return onSpareSocket(func(fd int) error {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, 255); err != nil {
			return fmt.Errorf("the kernel lacks IP_MINTTL: %w", err)
		}
		return nil
	})
}

// forget closes a socket without a word: no FIN, no RST. The client's next
// packet finds no socket and is answered with a RST.
func forget(nc *net.TCPConn) error {
	repaired := onDescriptor(nc, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1)
	})
	if repaired == nil {
		return nc.Close()
	}
	// Bound to a device on which the client is not, the socket gets none of
	// its packets and its own FIN leads nowhere.
	device, err := deviceWithout(nc.RemoteAddr())
	if err != nil {
		return err
	}
	err = onDescriptor(nc, func(fd int) error { return unix.BindToDevice(fd, device) })
	if err != nil {
		return fmt.Errorf("TCP_REPAIR: %w; SO_BINDTODEVICE: %w", repaired, err)
	}
	return nc.Close()
}

// canForget asks the kernel on a socket nobody uses. Where TCP_REPAIR is not
// allowed, a second network device and Linux 5.7 do.
func canForget() error {
	return onSpareSocket(func(fd int) error {
		repaired := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1)
		if repaired == nil {
			return nil
		}
		device, err := deviceWithout(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err == nil {
			err = unix.BindToDevice(fd, device)
		}
		if err != nil {
			return fmt.Errorf("needs CAP_NET_ADMIN for TCP_REPAIR (run as root, or setcap cap_net_admin+ep on the binary), "+
				"or Linux 5.7 and a network device beside the loopback: TCP_REPAIR: %w; SO_BINDTODEVICE: %w", repaired, err)
		}
		return nil
	})
}

// deviceWithout returns a device through which packets from that address do not
// come. Those from the machine itself come through the loopback.
func deviceWithout(remote net.Addr) (string, error) {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return "", fmt.Errorf("%v is not a TCP address", remote)
	}
	local := tcp.IP.IsLoopback()
	if own, err := net.InterfaceAddrs(); err == nil && !local {
		for _, a := range own {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(tcp.IP) {
				local = true
			}
		}
	}
	devices, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	for _, d := range devices {
		if (d.Flags&net.FlagLoopback == 0) == local {
			return d.Name, nil
		}
	}
	return "", errors.New("no second network device")
}

// onSpareSocket runs f on a new TCP socket.
func onSpareSocket(f func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	return f(fd)
}

// maxBacklog is cut down to net.core.somaxconn by the kernel.
const maxBacklog = 1 << 15

// setBacklog changes the length of a listening socket's queue.
func setBacklog(sc syscall.Conn, n int) error {
	return onDescriptor(sc, func(fd int) error { return os.NewSyscallError("listen", unix.Listen(fd, n)) })
}

func canSetBacklog() error { return nil }

// reservePort binds the address without listening, so that nobody's outgoing
// connection takes the port meanwhile; connections are refused. A nil function
// is returned if it cannot be done.
func reservePort(addr net.Addr) (release func()) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return nil
	}
	family, sa := unix.AF_INET, unix.Sockaddr(nil)
	if ip4 := tcp.IP.To4(); ip4 != nil {
		sa = &unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(ip4)}
	} else {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: tcp.Port, Addr: [16]byte(tcp.IP.To16())}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) != nil || unix.Bind(fd, sa) != nil {
		unix.Close(fd)
		return nil
	}
	return func() { unix.Close(fd) }
}

// lose makes the kernel drop that share of the packets for a TCP socket, 0
// again for none.
func lose(sc syscall.Conn, share float64) error {
	return onDescriptor(sc, func(fd int) error { return loseOn(fd, share) })
}

func loseOn(fd int, share float64) error {
	if share == 0 {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		return os.NewSyscallError("setsockopt SO_DETACH_FILTER", err)
	}
	const random = 0xfffff000 + 56 // SKF_AD_OFF + SKF_AD_RANDOM
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: random},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: uint32(share * (1 << 32)), Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1},
	}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", err)
}

func canLose() error {
	err := onSpareSocket(func(fd int) error { return loseOn(fd, 0.5) })
	if errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("needs CAP_NET_ADMIN on this kernel (run as root, or setcap cap_net_admin+ep on the binary): %w", err)
	}
	return err
}
