package deadline

import (
	"math"
	"slices"
	"time"
)

const (
	recents        = 8
	toleranceShare = 50 // 2 %
	leastTolerance = 50 * time.Millisecond
	closelyShare   = 4000 // 0.025 %
	widest         = 0.6  // a cluster's width, as a share of its lower edge

	// By how much the ages may differ at which a server closes connections
	// because of one timeout: some look at their connections once a second. Of
	// their closes two agree closely by chance soon enough, three not before
	// another has shown what kind of server it is.
	sweep      = time.Second + leastTolerance
	firmCloses = 3

	// Of a cluster whose closes do not agree closely so many count, the last.
	settled = 24

	// How far outside of the closes that were seen the next may be, in mean
	// distances between them: connections are retired so much before the lowest,
	// and a close so near is one of them. The second is the more generous: a
	// timeout that varies must not look like several.
	edgeDistances  = 2
	reachDistances = 3

	// The chance that the timeout of a coarse timer is below what is taken for it.
	unlikely = 0.02
)

// A cluster is an age, or a small range of ages, at which the server closes.
type cluster struct {
	lo, hi time.Duration
	e, s   float64
	stands bool            // it was confirmed at the last review
	before bool            // several closes agreed on it in an earlier process
	n      int             // closes, ever
	own    int             // of them, this process's
	recent [recents]uint32 // of these, the last ones, in milliseconds
}

// Tolerance is by how much ages may differ that are taken for the same.
func Tolerance(age time.Duration) time.Duration {
	return max(age/toleranceShare, leastTolerance)
}

// add notes one more close. If the last ones agree closely, all but one at
// most, the others were accidents, such as a restart shortly before the timeout,
// and the cluster shrinks to what agrees.
func (c *cluster) add(age time.Duration) {
	c.recent[c.own%recents] = milliseconds(age)
	c.n, c.own = c.n+1, c.own+1
	if c.own < recents/2 || closely(c.lo, c.hi) {
		return
	}
	last := c.recent
	known := last[:min(c.own, recents)]
	slices.Sort(known)
	for _, agree := range [][]uint32{known[1:], known[:len(known)-1]} {
		lo, hi := time.Duration(agree[0])*time.Millisecond, time.Duration(agree[len(agree)-1])*time.Millisecond
		if closely(lo, hi) {
			c.lo, c.hi = lo, hi
			return
		}
	}
}

func milliseconds(d time.Duration) uint32 { return uint32(min(d/time.Millisecond, math.MaxUint32)) }

// closely reports whether ages agree closely.
func closely(lo, hi time.Duration) bool { return hi-lo <= agreement(lo) }

func agreement(age time.Duration) time.Duration { return max(age/closelyShare, leastTolerance) }

func (c *cluster) closely() bool { return closely(c.lo, c.hi) }

// share is which part of the connections that came to the cluster ended in it.
func (c *cluster) share() float64 { return c.e / (c.e + c.s) }

// edge is the age that is safe of the cluster: its lowest close, less what the
// spread of so few lets expect below it. What a coarse timer closes last is at
// most a second late, and says as much.
func (c *cluster) edge() time.Duration {
	spread, n := c.hi-c.lo, min(c.n, settled)
	below := edgeDistances * spread / time.Duration(n)
	if !c.closely() && spread <= coarse(c.lo) {
		// Unless the latest was later than that, since the server was held up:
		// where few are known that would show in nothing else. (With n for n+1
		// it is late as often, but half a second early in 105 of 500 series of
		// three instead of 73.)
		below = max(edgeDistances*spread/time.Duration(n+1), min(time.Duration(float64(spread)*unseen(n)), sweep-spread))
	}
	return max(c.lo/2, c.lo-below)
}

// unseen is how far below the lowest of n ages the limit may be between which
// and another they are equally likely, as a share of their spread. All n are
// within a share x of the whole with a chance of about x^(n-1).
func unseen(n int) float64 { return math.Pow(unlikely, -1/float64(max(1, n-1))) - 1 }

// reach is by how much the age of a close may differ from those of the cluster
// and belong to it. As long as it may be one of a coarse timer, that is what is
// left of a second.
func (c *cluster) reach() time.Duration {
	if c.firm() {
		return Tolerance(c.hi)
	}
	return max(Tolerance(c.hi)+reachDistances*(c.hi-c.lo)/time.Duration(c.n), coarse(c.lo)-(c.hi-c.lo))
}

// firm reports whether the cluster is a timeout that is always the same, and
// not what a coarse timer makes of one.
func (c *cluster) firm() bool { return c.n >= firmCloses && c.closely() }

// coarse is by how much closes, the lowest at lo, may differ only because the
// server's timer is coarse. One that counts in seconds allows at least one.
func coarse(lo time.Duration) time.Duration {
	if lo >= time.Second {
		return sweep
	}
	return 0
}

// holds reports whether a cluster may reach from lo to hi. Ages that are
// farther apart are no jitter of one timeout.
func holds(lo, hi time.Duration) bool {
	return hi-lo <= max(time.Duration(widest*float64(lo)), coarse(lo), leastTolerance)
}
