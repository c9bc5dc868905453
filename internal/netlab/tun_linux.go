package netlab

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// queueLength is how many packets a TUN device keeps for the relay. The default
// of 500 is less than a window full, and would lose packets behind the test's
// back whenever the relay is not scheduled for a while.
const queueLength = 20_000

// openTUN makes the TUN device of the thread's namespace, and brings up loopback.
// What is sent to remote comes out of the file, a packet a read, and what is
// written to it arrives. Without IFF_VNET_HDR the kernel leaves nothing to be
// done: packets are not larger than the MTU, and have their checksums.
func openTUN(local, remote netip.Addr, mtu int) (_ *os.File, err error) {
	const path = "/dev/net/tun"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	const device = "link"
	request, err := unix.NewIfreq(device)
	if err != nil {
		return nil, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return nil, os.NewSyscallError("ioctl(TUNSETIFF)", err)
	}
	if err := configure(device, local, remote, mtu); err != nil {
		return nil, err
	}
	// Only now: before it had its device, the poller would have taken the
	// descriptor for a broken one.
	return os.NewFile(uintptr(fd), path), nil
}

func configure(device string, local, remote netip.Addr, mtu int) error {
	control, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(control)

	for _, step := range []struct {
		name   string
		number uint
		set    func(*unix.Ifreq) error
	}{
		{"SIOCSIFMTU", unix.SIOCSIFMTU, number(uint32(mtu))},
		{"SIOCSIFTXQLEN", unix.SIOCSIFTXQLEN, number(queueLength)},
		{"SIOCSIFADDR", unix.SIOCSIFADDR, address(local)},
		{"SIOCSIFDSTADDR", unix.SIOCSIFDSTADDR, address(remote)},
	} {
		request, err := unix.NewIfreq(device)
		if err != nil {
			return err
		}
		if err := step.set(request); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(control, step.number, request); err != nil {
			return os.NewSyscallError("ioctl("+step.name+")", err)
		}
	}
	for _, device := range []string{"lo", device} {
		if err := up(control, device); err != nil {
			return fmt.Errorf("%s: %w", device, err)
		}
	}
	return nil
}

func number(n uint32) func(*unix.Ifreq) error {
	return func(r *unix.Ifreq) error {
		r.SetUint32(n)
		return nil
	}
}

func address(a netip.Addr) func(*unix.Ifreq) error {
	return func(r *unix.Ifreq) error { return r.SetInet4Addr(a.AsSlice()) }
}

func up(control int, device string) error {
	request, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(control, unix.SIOCGIFFLAGS, request); err != nil {
		return os.NewSyscallError("ioctl(SIOCGIFFLAGS)", err)
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	return os.NewSyscallError("ioctl(SIOCSIFFLAGS)", unix.IoctlIfreq(control, unix.SIOCSIFFLAGS, request))
}
