package deadline

import (
	"math"
	"time"
)

// Chance makes closes agree, too. Each restart ends some connection at some
// age, and of many such strays two will be close to each other, as of many
// people two have the same birthday. So what confirms a timeout is not that
// closes agree, but that more of them do than chance would have brought.

const (
	// The first two closes that agree confirm each other; where there were
	// strays, so many must that no more than this many coincidences are to be
	// expected.
	bearable   = 0.001
	fadeStrays = 1 - 1.0/128 // what a close leaves of the number of strays
	almost     = 0.645       // of the weight of the last close that is asked for is enough

	confirmedShare = 0.25
	standingShare  = 0.1 // of one among several that was confirmed before
	standingWeight = 0.9 // of one that was confirmed before

	// Where closes do not agree closely it takes three, and the surprise, in
	// nats, that chance had brought so many of the last ones there must be great:
	// the greater the more strays there were, and much greater if they are farther
	// apart than a coarse timer explains. Two in a row that agree closely may be
	// a timeout that was lowered: they are heeded before they are confirmed.
	scatteredWeight = 2.0
	inARow          = 1.6
	scatteredShare  = 0.55
	leastSurprise   = 9
	wideSurprise    = 40
	straySurprise   = 1
	unrelated       = 0.7 // the least ratio of von Neumann's
)

// confirmed reports whether the server can be taken to close at c's age on
// purpose. several says whether other clusters were confirmed.
func (l *Learner) confirmed(c *cluster, several bool) bool {
	switch {
	case !c.closely():
		return c.e >= scatteredWeight && c.share() >= scatteredShare && l.surprising(c)
	case c.stands && several:
		return c.e >= standingWeight && c.share() >= standingShare
	case c.stands:
		return c.e >= standingWeight && c.share() >= confirmedShare
	}
	return c.e >= l.demanded(c.lo) && c.share() >= confirmedShare
}

// demanded is the weight of so many closes that agree closely about an age as
// chance would not bring: of N strays N(N-1)/2 pairs may agree, and each further
// close may agree with those that are remembered.
func (l *Learner) demanded(age time.Duration) float64 {
	window := 2 * float64(agreement(age)) / float64(age)
	further := min(0.5, window*min(l.strays, maxClusters))
	expected := l.strays * (l.strays - 1) / 2 * further
	weight, next := 1.0, l.fading()
	for f := next; expected > bearable; expected *= further {
		weight += next
		next *= f
	}
	return weight + almost*next
}

// surprising reports whether the scattered closes of c are more than what
// strays come to. The surprise is that of finding k of n closes where a share q
// of them was to be expected, if strays are as likely at every age: k log (k/nq),
// and likewise for the others.
func (l *Learner) surprising(c *cluster) bool {
	n, k, ratio := l.among(c)
	others := n - k
	q := float64(c.hi-c.lo) / float64(c.hi)
	if k <= q*n {
		return false
	}
	surprise := (k - 1) * math.Log(k/n/q) // the first could have been anywhere
	if others > 0 {
		surprise += others * math.Log(others/n/(1-q))
	}
	least := float64(leastSurprise)
	if c.hi-c.lo > max(sweep, Tolerance(c.hi)) {
		least = wideSurprise
	}
	return surprise >= least+straySurprise*l.strays && ratio >= unrelated
}

// among returns of how many of the last n closes k are in c, and von Neumann's
// ratio of these: about 1 if they are independent of each other, as a server's
// own jitter is. Where both requests and restarts are regular, the age at which
// a restart meets a connection creeps, each is near the last, and the ratio is
// small.
func (l *Learner) among(c *cluster) (n, k, ratio float64) {
	lo, hi := c.lo-Tolerance(c.lo), c.hi+Tolerance(c.hi)
	var last, sum, squares, steps float64
	for i := max(0, l.nAges-lastAges); i < l.nAges; i++ {
		n++
		age := time.Duration(l.ages[i%lastAges]) * time.Millisecond
		if age < lo || age > hi {
			continue
		}
		x := (age - lo).Seconds()
		if k > 0 {
			steps += (x - last) * (x - last)
		}
		last, sum, squares = x, sum+x, squares+x*x
		k++
	}
	if k == 0 {
		return n, 0, 0
	}
	spread := squares - sum*sum/k
	if spread < k*1e-6 { // they are the same
		return n, k, 1
	}
	return n, k, steps / (2 * spread)
}
