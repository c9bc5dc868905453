package netlab

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// instant is a reading of the kernel's monotonic clock.
type instant int64

func now() instant {
	var ts unix.Timespec
	// It cannot fail with a clock that every kernel has.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return instant(ts.Nano())
}

func (i instant) add(d time.Duration) instant { return i + instant(d) }

func (i instant) since(earlier instant) time.Duration { return time.Duration(i - earlier) }

// An alarm goes off at an instant: a timerfd, which wakes the runtime's poller
// within microseconds. The runtime's own timers are late by up to a millisecond
// when the process has nothing else to do.
type alarm struct {
	file *os.File
	raw  syscall.RawConn
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "timerfd")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &alarm{file, raw}, nil
}

// set makes the alarm go off at an instant, at once if that is past, instead of
// at the one set before.
func (a *alarm) set(at instant) {
	// All zeros would mean never.
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(int64(at), 1))}
	// An error is one of a closed alarm: nobody waits for it any more.
	_ = a.raw.Control(func(fd uintptr) {
		_ = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil)
	})
}

// wait returns when the alarm has gone off, or fails once it is closed.
func (a *alarm) wait() error {
	var expirations [8]byte
	_, err := a.file.Read(expirations[:])
	return err
}

func (a *alarm) close() { a.file.Close() }
