//go:build !linux

package tcpinfo

import "time"

// SinceReceived is not known here.
func SinceReceived(uintptr) (time.Duration, bool) { return 0, false }

// OfSocket knows nothing here.
func OfSocket(uintptr) (Info, bool) { return Info{}, false }

// TakeSocketError takes nothing here.
func TakeSocketError(uintptr) (pending error, ok bool) { return nil, false }
