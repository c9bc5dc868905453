//go:build unix

package child

import (
	"syscall"
	"time"
)

// OpenFiles returns how many files this process may open, 0 if unknown. Go
// has raised it to what the system permits.
func OpenFiles() uint64 {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return uint64(l.Cur)
}

// CPUTime returns the processor time that this process has used, 0 if unknown.
func CPUTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
