package idlewise

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// What bpf(2) takes, as far as it is needed here (include/uapi/linux/bpf.h):
// the kernel takes what is left out for zero.

type bpfMapCreate struct{ kind, keySize, valueSize, maxEntries, flags uint32 }

type bpfProgLoad struct {
	kind, count    uint32
	insns, license uint64
}

type bpfAttach struct{ target, prog, kind, flags uint32 }

type bpfMapUpdate struct {
	fd, _      uint32
	key, value uint64
}

func bpf[T any](cmd uintptr, attr *T) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	if errno != 0 {
		return 0, fmt.Errorf("bpf(%d): %w", cmd, errno)
	}
	return int(fd), nil
}

// shortcut hands what is written to one socket to the other one's reader, past
// TCP, as service meshes do between sockets of one machine (BPF sockmap).
func shortcut(t *testing.T, from, to *net.TCPConn) error {
	closeLater := func(fd int) { t.Cleanup(func() { unix.Close(fd) }) }
	newMap := func() (int, error) {
		fd, err := bpf(unix.BPF_MAP_CREATE, &bpfMapCreate{unix.BPF_MAP_TYPE_SOCKMAP, 4, 4, 1, 0})
		if err == nil {
			closeLater(fd)
		}
		return fd, err
	}
	put := func(m int, c *net.TCPConn) error {
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		var updated error
		err = raw.Control(func(fd uintptr) {
			key, value := uint32(0), uint32(fd)
			_, updated = bpf(unix.BPF_MAP_UPDATE_ELEM, &bpfMapUpdate{
				fd: uint32(m), key: uint64(uintptr(unsafe.Pointer(&key))), value: uint64(uintptr(unsafe.Pointer(&value))),
			})
		})
		if err != nil {
			return err
		}
		return updated
	}
	source, err := newMap()
	if err != nil {
		return err
	}
	target, err := newMap()
	if err != nil {
		return err
	}
	insn := func(op, regs byte, imm int32) []byte {
		b := []byte{op, regs, 0, 0, 0, 0, 0, 0}
		binary.NativeEndian.PutUint32(b[4:], uint32(imm))
		return b
	}
	var program []byte
	for _, i := range [][]byte{
		insn(unix.BPF_LD|unix.BPF_DW|unix.BPF_IMM, 1<<4|2, int32(target)), // r2 = the map
		insn(0, 0, 0),
		insn(0xb7, 3, 0),  // r3 = 0, the key
		insn(0xb7, 4, 1),  // r4 = BPF_F_INGRESS
		insn(0x85, 0, 60), // call bpf_msg_redirect_map
		insn(0x95, 0, 0),  // return r0
	} {
		program = append(program, i...)
	}
	license := []byte("Apache-2.0\x00")
	prog, err := bpf(unix.BPF_PROG_LOAD, &bpfProgLoad{
		kind: unix.BPF_PROG_TYPE_SK_MSG, count: uint32(len(program) / 8),
		insns: uint64(uintptr(unsafe.Pointer(&program[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
	})
	if err != nil {
		return err
	}
	closeLater(prog)
	if _, err := bpf(unix.BPF_PROG_ATTACH, &bpfAttach{uint32(source), uint32(prog), unix.BPF_SK_MSG_VERDICT, 0}); err != nil {
		return err
	}
	if err := put(target, to); err != nil {
		return err
	}
	return put(source, from)
}

// The first five conditions hold: the FIN came, a RST behind it, and nothing was
// ever acknowledged. Only the books show that bytes went another way.
func TestARequestThatWentPastTCPIsNotTakenForUndelivered(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	accepted := make(chan net.Conn, 10)
	var dialer net.Dialer
	dialer.SetMultipathTCP(false)
	var client atomic.Pointer[net.TCPConn] // the first
	var missing error
	n := closingNet{
		listen: func() (net.Listener, error) { return handingOn{ln, accepted}, nil },
		dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			peer := (<-accepted).(*net.TCPConn)
			if client.CompareAndSwap(nil, c.(*net.TCPConn)) {
				if err := shortcut(t, c.(*net.TCPConn), peer); err != nil {
					missing = err
				}
			}
			return c, nil
		},
		patience: 50 * time.Millisecond,
	}
	p := n.perform(t, closing{end: func(v *visit) {
		v.execute()
		v.halfClose()
		info, ok := tcpinfo.Of(client.Load())
		if missing == nil && (!ok || info.Acked > 2) {
			v.at.Errorf("the request did go over TCP: %+v", info)
		}
		v.until(func() bool { // the client has seen the FIN
			info, ok := v.client()
			return !ok || info.State == tcpinfo.CloseWait
		})
		v.abort()
	}}, "POST", Policy{})
	if missing != nil {
		t.Skipf("no BPF sockmap here: %v", missing)
	}
	require.Equal(t, 1, p.executed)
	require.Equal(t, Unknown, p.attempts[0].Evidence)
	require.Len(t, p.attempts, 1)
}

// handingOn also tells of what it accepts.
type handingOn struct {
	net.Listener
	accepted chan<- net.Conn
}

func (l handingOn) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted <- c
	}
	return c, err
}
