//go:build !unix

package child

import "time"

// OpenFiles returns 0: the limit is unknown.
func OpenFiles() uint64 { return 0 }

// CPUTime returns 0: the processor time is unknown.
func CPUTime() time.Duration { return 0 }
