//go:build !linux

package faultserver

import (
	"errors"
	"net"
	"runtime"
	"syscall"
)

// errNeedsLinux says why a fault is refused: what it asks of the kernel is
// known to work on Linux only.
var errNeedsLinux = errors.New("needs Linux; this is " + runtime.GOOS)

func deafen(syscall.Conn, bool) error    { return errNeedsLinux }
func canDeafen() error                   { return errNeedsLinux }
func forget(*net.TCPConn) error          { return errNeedsLinux }
func canForget() error                   { return errNeedsLinux }
func setBacklog(syscall.Conn, int) error { return errNeedsLinux }
func canSetBacklog() error               { return errNeedsLinux }
func lose(syscall.Conn, float64) error   { return errNeedsLinux }
func canLose() error                     { return errNeedsLinux }

func reservePort(net.Addr) (release func()) { return nil }

const maxBacklog = 0
