//go:build !unix

package idlewise

import "time"

// look cannot look here: true says nothing.
func (t *tracked) look() (bool, time.Duration) { return true, 0 }
