// Package clockjump makes times whose wall clock has moved away from their
// monotonic one, for tests of what a suspended laptop, a frozen function or a
// clock that was set does to a program.
//
// Package time offers nothing that moves one of the two: Add moves both, Round
// drops one, and in a testing/synctest bubble times have no monotonic reading at
// all. So a program that wants to be tested reads its clock through a variable,
// and the test puts
//
//	func() time.Time { return clockjump.By(time.Now(), skew) }
//
// there. Timers, which follow the monotonic clock, then stand still while the
// wall clock jumps, as they do on a machine that slept. No network, real or in
// memory, can do this for a program: the client's clock is the client's own.
// (What the network sees of a suspended client is silence: memnet's Cut.)
package clockjump

import (
	"time"
	"unsafe"
)

// fields are the first ones of time.Time. With a monotonic reading wall holds a 1, 33
// bits of seconds since 1885, and 30 bits of nanoseconds; ext is the reading.
type fields struct {
	wall uint64
	ext  int64
}

const (
	hasMonotonic = 1 << 63
	secondsShift = 30
)

var year1885 = time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix()

// By returns t with its wall clock set on by skew (or back, if it is negative),
// and its monotonic clock as it was: as if the machine had slept for so long
// before t was read. Of a time without a monotonic reading, as in a synctest
// bubble, the reading is what the wall clock said before it jumped; such times
// can be compared with each other.
//
// It writes fields of time.Time that are not exported. It panics if what came
// out is not what is promised here, because package time has changed.
func By(t time.Time, skew time.Duration) time.Time {
	f := (*fields)(unsafe.Pointer(&t))
	reading := f.ext
	if f.wall&hasMonotonic == 0 {
		reading = t.UnixNano()
	}
	wall := t.Round(0).Add(skew)
	jumped, twin := with(t, wall, reading), with(t, t, reading)
	if jumped.Sub(twin) != 0 || !jumped.Round(0).Equal(wall) {
		panic("clockjump: package time keeps times in another way than this was written for")
	}
	return jumped
}

func with(t, wall time.Time, reading int64) time.Time {
	f := (*fields)(unsafe.Pointer(&t))
	f.wall = hasMonotonic | uint64(wall.Unix()-year1885)<<secondsShift | uint64(wall.Nanosecond())
	f.ext = reading
	return t
}
