//go:build !unix

package idlewise

import "math"

// openFiles returns how many files this process may open.
func openFiles() uint64 { return math.MaxUint64 }
