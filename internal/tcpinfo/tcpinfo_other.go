//go:build !linux

package tcpinfo

import "time"

// SinceReceived is not known here.
func SinceReceived(uintptr) (time.Duration, bool) { return 0, false }
