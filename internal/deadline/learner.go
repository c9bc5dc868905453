package deadline

import (
	"math"
	"time"
)

// A Learner finds out, from how connections end, after how long a server
// closes idle ones. It is a pure function of what it is told; the zero value
// knows nothing. It is not safe for concurrent use.
//
// A timeout shows as a cluster of closes at one age. Each cluster has a weight
// E of closes in it and a weight S of connections that came through it alive;
// both fade as new outcomes come, so that what a server does now counts and
// what it did before its configuration changed does not. Nothing fades with
// time alone: a quiet weekend teaches nothing.
//
// Restarts, reloads and drains close connections at ages that mean nothing. So
// closes at one instant count once if their ages agree to a second and not at all
// if they do not, and a single close never outweighs a timeout that is confirmed.
type Learner struct {
	clusters [maxClusters]cluster
	n        int // clusters in use, sorted by lo

	// How many closes agreed with no other, fading as closes come.
	strays float64

	// The last closes, wherever they belong, in milliseconds.
	ages  [lastAges]uint32
	nAges int // ever

	deadline   time.Duration
	confidence Confidence
	heed       time.Duration // survivals up to this age say nothing
	watch      time.Duration // until when a canary's survival says something of the deadline

	// The closes of the current instant.
	at       time.Time // of the last of them; zero: there was none
	together uint64    // how many
	lo, hi   time.Duration
	mass     bool // their ages disagree
	before   snapshot

	total Tally
}

// A Tally counts what a Learner was told.
type Tally struct {
	Closes   uint64 // by the server, while idle, of which it learned
	Survived uint64 // outcomes of which it learned that were no closes
	Mass     uint64 // closes set apart, since others at the same instant had other ages
}

// Confidence says how sure a Learner is of its deadline.
type Confidence uint8

// The degrees of confidence.
const (
	Nothing     Confidence = iota // no deadline is known
	Provisional                   // one close, or knowledge of an earlier process
	Confirmed                     // closes at one age, again and again
)

// String returns "none", "provisional" or "confirmed".
func (c Confidence) String() string { return [...]string{"none", "provisional", "confirmed"}[c] }

const (
	maxClusters = 8

	// No server closes connections that have been idle for less on purpose:
	// they were closed by a restart, or for something else. Ages as small as
	// the tolerance would all seem to agree.
	shortest = 5 * leastTolerance

	// Closes within this time of each other are one instant.
	instant = 100 * time.Millisecond

	// fade is what an outcome leaves of the weights before it. Two closes in a
	// row confirm a cluster; two survivals in a row, at the least, are needed
	// to give it up. Where several clusters stand, several servers answer, each
	// is met only now and then, and more must be remembered.
	fade        = 0.62
	fadeSeveral = 0.9

	// A cluster of which no more is known is provisional while as many
	// connections ended in it as came through. The half of a scattered one that
	// is known does not end all; three survivals in a row still end it. And of
	// one that an earlier process knew well it takes two.
	provisionalShare     = 0.5
	provisionalScattered = 0.3
	negligible           = 0.05 // the weight at which a cluster is forgotten

	lastAges = 64
)

type snapshot struct {
	clusters [maxClusters]cluster
	n        int
	strays   float64
	nAges    int
	oldest   uint32 // of ages: the one whose place in ages is taken by the next
}

// Deadline returns the age at which the server closes idle connections, as far
// as is known, and how sure that is. It is the lowest there is evidence for.
func (l *Learner) Deadline() (time.Duration, Confidence) { return l.deadline, l.confidence }

// Watch returns the age until which a connection must be watched whose end, or
// survival, is to say whether the deadline still holds. 0 if there is none.
func (l *Learner) Watch() time.Duration { return l.watch }

// Heeds reports whether Survived would learn anything from the age: a cheap
// question for those who ask on every request.
func (l *Learner) Heeds(age time.Duration) bool { return l.n > 0 && age > l.heed }

// Tally returns what was learned from.
func (l *Learner) Tally() Tally { return l.total }

// Closed tells that the server closed a connection that had been idle for age.
func (l *Learner) Closed(now time.Time, age time.Duration) {
	if age < shortest {
		return
	}
	if l.at.IsZero() || now.Sub(l.at) > instant || now.Before(l.at) {
		l.at, l.together, l.lo, l.hi, l.mass = now, 1, age, age, false
		l.before = snapshot{l.clusters, l.n, l.strays, l.nAges, l.ages[l.nAges%lastAges]}
		l.total.Closes++
		l.event(age)
		l.review()
		return
	}
	// More of the same instant: they say no more than the first did, and less
	// if their ages differ. The lowest speaks for a server that looks at all its
	// connections once a second.
	l.at = now
	l.together++
	l.lo, l.hi = min(l.lo, age), max(l.hi, age)
	switch {
	case l.mass:
		l.total.Mass++
	case l.hi-l.lo <= Tolerance(l.hi):
		if c := l.find(age); c != nil {
			c.lo, c.hi = min(c.lo, age), max(c.hi, age)
			l.review()
		}
	case l.hi-l.lo <= sweep && holds(l.lo, l.hi):
		l.restore(&l.before)
		l.event(l.lo)
		if c := l.find(l.lo); c != nil && c.n > 1 && holds(c.lo, l.hi) {
			c.hi = max(c.hi, l.hi) // by itself it could be a restart
		}
		l.review()
	default:
		l.mass = true
		l.total.Mass += l.together
		l.total.Closes--
		l.restore(&l.before)
		l.review()
	}
}

// restore undoes what was learned since.
func (l *Learner) restore(before *snapshot) {
	l.clusters, l.n, l.strays, l.nAges = before.clusters, before.n, before.strays, before.nAges
	l.ages[l.nAges%lastAges] = before.oldest
}

// event learns from one close.
func (l *Learner) event(age time.Duration) {
	f := l.fading()
	l.strays *= fadeStrays
	c := l.find(age)
	if c == nil {
		c = l.insert(age)
		l.strays++
	} else {
		if c.n == 1 {
			l.strays = max(0, l.strays-1) // the first was none
		}
		c.e, c.s = c.e*f, c.s*f
		c.lo, c.hi = min(c.lo, age), max(c.hi, age)
	}
	c.e++
	c.add(age)
	l.ages[l.nAges%lastAges] = milliseconds(age)
	l.nAges++
	l.settle(c)
	at := c.lo
	for i := range l.n {
		if o := &l.clusters[i]; o.hi < at {
			// It came through that one alive.
			o.e, o.s = o.e*f, o.s*f+1
		}
	}
	l.forget()
}

// Survived tells that a connection was alive after it had been idle for age.
func (l *Learner) Survived(age time.Duration) {
	if !l.Heeds(age) {
		return
	}
	f := l.fading()
	for i := range l.n {
		if c := &l.clusters[i]; c.hi+c.reach() < age {
			c.e, c.s = c.e*f, c.s*f+1
		}
	}
	l.total.Survived++
	l.forget()
	l.review()
}

// settle lets the lower edge of a cluster whose closes do not agree follow the
// last ones, so that a restart shortly before the timeout does not lower it for
// ever.
func (l *Learner) settle(c *cluster) {
	if c.n <= settled || c.closely() {
		return
	}
	lo, known := c.hi, 0
	for i := l.nAges - 1; i >= max(0, l.nAges-lastAges) && known < settled; i-- {
		age := time.Duration(l.ages[i%lastAges]) * time.Millisecond
		if age >= c.lo.Truncate(time.Millisecond) && age <= c.hi {
			lo, known = min(lo, age), known+1
		}
	}
	if known == settled {
		c.lo = lo
	}
}

// several reports whether timeouts of several servers are confirmed.
func (l *Learner) several() bool {
	standing := 0
	for i := range l.n {
		if l.clusters[i].stands {
			standing++
		}
	}
	return standing > 1
}

func (l *Learner) fading() float64 {
	if l.several() {
		return fadeSeveral
	}
	return fade
}

// find returns the cluster that age belongs to, the nearest if there are
// several, or nil.
func (l *Learner) find(age time.Duration) (nearest *cluster) {
	least := time.Duration(math.MaxInt64)
	for i := range l.n {
		c := &l.clusters[i]
		off := max(0, c.lo-age, age-c.hi)
		if off < least && off <= c.reach() && holds(min(c.lo, age), max(c.hi, age)) {
			nearest, least = c, off
		}
	}
	return nearest
}

// insert makes a cluster for age, in place of the least of them if there are
// too many.
func (l *Learner) insert(age time.Duration) *cluster {
	if l.n == maxClusters {
		least := 0
		for i := range l.n {
			if l.clusters[i].e < l.clusters[least].e {
				least = i
			}
		}
		l.remove(least)
	}
	i := 0
	for i < l.n && l.clusters[i].lo < age {
		i++
	}
	copy(l.clusters[i+1:l.n+1], l.clusters[i:l.n])
	l.clusters[i] = cluster{lo: age, hi: age}
	l.n++
	return &l.clusters[i]
}

func (l *Learner) remove(i int) {
	copy(l.clusters[i:l.n], l.clusters[i+1:l.n])
	l.n--
	l.clusters[l.n] = cluster{}
}

// forget drops clusters that nothing supports any more, and joins those that
// have grown together.
func (l *Learner) forget() {
	for i := l.n - 1; i >= 0; i-- {
		if l.clusters[i].e < negligible {
			l.remove(i)
		}
	}
	for i := l.n - 1; i > 0; i-- {
		a, b := &l.clusters[i-1], l.clusters[i]
		reach := max(a.reach(), b.reach())
		if a.firm() || b.firm() {
			reach = Tolerance(a.hi)
		}
		if b.lo-a.hi <= reach && holds(a.lo, max(a.hi, b.hi)) {
			a.hi = max(a.hi, b.hi)
			a.e, a.s = a.e+b.e, a.s+b.s
			a.before = a.before || b.before
			if b.n > a.n {
				a.n, a.own, a.recent = b.n, b.own, b.recent
			}
			l.remove(i)
		}
	}
}

// review draws the conclusion. Of the confirmed clusters the lowest counts,
// unless most connections end at a lower age that is not confirmed.
func (l *Learner) review() {
	l.deadline, l.confidence, l.heed, l.watch = 0, Nothing, 0, 0
	several := l.several()
	for i := range l.n {
		c := &l.clusters[i]
		if past := c.hi + c.reach(); i == 0 || past < l.heed {
			l.heed = past
		}
		c.stands = l.confirmed(c, several)
		switch {
		case l.confidence != Nothing:
		case c.stands:
			l.conclude(c, Confirmed)
		case (c.e >= scatteredWeight || c.closely() && c.e >= inARow) && c.share() >= scatteredShare:
			l.conclude(c, Provisional)
		}
	}
	for i := 0; i < l.n && l.confidence == Nothing; i++ {
		c := &l.clusters[i]
		if c.share() >= provisionalShare || (c.before || !c.closely()) && c.share() >= provisionalScattered {
			l.conclude(c, Provisional)
		}
	}
}

func (l *Learner) conclude(from *cluster, sure Confidence) {
	l.deadline, l.confidence = from.edge(), sure
	l.watch = from.hi + 2*from.reach()
}
