package netlab

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A namespace is a network namespace without a name. The file keeps it alive.
type namespace struct{ file *os.File }

var errNoNamespaces = errors.New("the kernel has no network namespaces")

// ownNamespace is the one that the calling thread is in.
func ownNamespace() (*os.File, error) { return os.Open("/proc/thread-self/ns/net") }

func newNamespace() (*namespace, error) {
	leave, err := move(func() error {
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == unix.EINVAL || err == unix.ENOSYS {
			return errNoNamespaces
		}
		return os.NewSyscallError("unshare(CLONE_NEWNET)", err)
	})
	if err != nil {
		return nil, err
	}
	defer leave()
	file, err := ownNamespace()
	if err != nil {
		return nil, err
	}
	return &namespace{file}, nil
}

// enter moves the calling goroutine into the namespace, until leave, which the
// same goroutine must call; further calls of it do nothing.
func (ns *namespace) enter() (leave func(), err error) {
	return move(func() error {
		raw, err := ns.file.SyscallConn()
		if err != nil {
			return err
		}
		var failed error
		if err := raw.Control(func(fd uintptr) {
			failed = unix.Setns(int(fd), unix.CLONE_NEWNET)
		}); err != nil {
			return err
		}
		return os.NewSyscallError("setns", failed)
	})
}

// move ties the goroutine to its thread and has to change the thread's
// namespace. leave undoes both.
//
// A thread in a strange namespace never gets back to the scheduler: if it could
// not return home, the goroutine would stay tied to it. Threads that the runtime
// starts meanwhile do not descend from a tied one.
func move(to func() error) (leave func(), err error) {
	runtime.LockOSThread()
	home, err := ownNamespace()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	if err := to(); err != nil {
		home.Close()
		runtime.UnlockOSThread()
		return nil, err
	}
	left := false
	return func() {
		if left {
			return
		}
		left = true
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("netlab: a thread cannot return to its namespace: %v", err))
		}
		home.Close()
		runtime.UnlockOSThread()
	}, nil
}

func (ns *namespace) close() { ns.file.Close() }
