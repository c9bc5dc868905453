//go:build !unix

package main

import "time"

// openFiles returns 0: the limit is unknown.
func openFiles() uint64 { return 0 }

// cpuTime returns 0: the processor time is unknown.
func cpuTime() time.Duration { return 0 }
