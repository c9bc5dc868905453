// Package tcpinfo asks the kernel about a TCP socket. Where it cannot, every
// answer says so.
package tcpinfo

import "time"

// Tick is the coarsest grain of the kernel's clock in what it tells: jiffies
// at the lowest frequency in use, 100 Hz.
const Tick = 10 * time.Millisecond
