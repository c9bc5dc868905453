package deadline

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A lesson is a Learner and the time.
type lesson struct {
	Learner
	now time.Time
	rng *rand.Rand
}

func newLesson(seed uint64) *lesson {
	return &lesson{now: epoch, rng: rand.New(rand.NewPCG(seed, 0))}
}

func (l *lesson) closed(age time.Duration) {
	l.now = l.now.Add(time.Minute)
	l.Closed(l.now, age)
}

// between draws an age.
func (l *lesson) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(l.rng.Int64N(int64(hi-lo)))
}

func (l *lesson) sure() Confidence {
	_, sure := l.Deadline()
	return sure
}

func TestTwoClosesThatAgreeSufficeAmongTwoAndNotAmongFifty(t *testing.T) {
	l := newLesson(1)
	l.closed(5 * time.Minute)
	l.closed(5 * time.Minute)
	require.Equal(t, Confirmed, l.sure())

	for seed := range uint64(20) {
		l := newLesson(seed)
		for range 50 {
			l.closed(l.between(time.Second, 9*time.Minute))
			require.NotEqual(t, Confirmed, l.sure(), "strays")
		}
		l.closed(10 * time.Minute)
		l.closed(10 * time.Minute)
		require.NotEqual(t, Confirmed, l.sure(), "two closes that agree")
		for further := 0; l.sure() != Confirmed; further++ {
			require.Less(t, further, 6, "closes that agree, after two that did")
			l.closed(10 * time.Minute)
		}
		d, _ := l.Deadline()
		require.Equal(t, 10*time.Minute, d)
	}
}

func TestATimeoutThatVariesIsConfirmedBelowItsCloses(t *testing.T) {
	for seed := range uint64(20) {
		l := newLesson(seed)
		for range 40 {
			l.closed(l.between(4*time.Second, 6*time.Second))
		}
		for closes := 40; l.sure() != Confirmed; closes++ {
			require.Less(t, closes, 200)
			l.closed(l.between(4*time.Second, 6*time.Second))
		}
		d, _ := l.Deadline()
		require.InDelta(t, 4, d.Seconds(), 0.3)

		for range 3 {
			l.Survived(l.Watch())
		}
		require.Equal(t, Nothing, l.sure(), "three canaries outlived it")
	}
}

func TestClosesFarApartAreNoTimeoutAsLongAsTheyAreFew(t *testing.T) {
	for seed := range uint64(20) {
		l := newLesson(seed)
		for range 25 {
			l.closed(l.between(4*time.Second, 6*time.Second))
			for _, c := range l.clusters[:l.n] {
				require.False(t, c.stands && c.hi-c.lo > time.Second, "restarts do the same for a while")
			}
		}
		require.NotEqual(t, Nothing, l.sure(), "but they are heeded")
	}
}

func TestStraysShortlyBeforeAConfirmedTimeoutDoNotBlurIt(t *testing.T) {
	l := newLesson(1)
	for range 4 {
		l.closed(time.Minute)
	}
	for _, age := range []time.Duration{55 * time.Second, 56 * time.Second, 57500 * ms} {
		l.closed(age)
	}
	l.closed(59500 * ms) // nearer to the minute than to the strays, and within 2 %
	for range 2 {
		l.closed(time.Minute)
	}
	require.Len(t, l.Recall(), 2)
	require.Greater(t, l.Recall()[1].Lower, 59*time.Second)
}

// A canary outlives the timeout where the server was busy for once.
func TestWhatAnEarlierProcessConfirmedIsNotGivenUpForOneCanary(t *testing.T) {
	earlier := newLesson(1)
	earlier.closed(5 * time.Second)
	earlier.closed(5 * time.Second)
	l := Remember(earlier.Recall())
	l.Survived(l.Watch())
	d, sure := l.Deadline()
	require.Equal(t, Provisional, sure)
	require.Equal(t, 5*time.Second, d)
	l.Survived(l.Watch())
	_, sure = l.Deadline()
	require.Equal(t, Nothing, sure, "the second says that it was raised")
}

func TestNoNumberOfClosesIsTooHighToCountOn(t *testing.T) {
	at := 5 * time.Second
	l := Remember([]Memory{{Lower: at, Upper: at, Closes: math.MaxInt, Weight: 1}})
	now := time.Now()
	for i := range 20 {
		l.Closed(now.Add(time.Duration(i)*time.Minute), at)
	}
	require.Greater(t, l.Recall()[0].Closes, 1<<29)
}

// A client that calls every ten minutes, and a server that restarts as often,
// more or less: each close comes about as early as the last.
func TestClosesThatCreepAreNoTimeout(t *testing.T) {
	for seed := range uint64(20) {
		l := newLesson(seed)
		age, step := 8*time.Minute, -1
		for range 200 {
			if age < 6*time.Minute {
				step = 1
			} else if age > 9*time.Minute {
				step = -1
			}
			age += time.Duration(step) * l.between(15*time.Second, 25*time.Second)
			l.closed(age)
			require.NotEqual(t, Confirmed, l.sure())
		}
	}
}

func TestATimeoutOfCoarseTimersIsConfirmedByThreeClosesDespiteOneStray(t *testing.T) {
	l := newLesson(1)
	l.closed(2 * time.Second)
	l.closed(65060 * ms)
	l.closed(65151 * ms)
	require.NotEqual(t, Confirmed, l.sure())
	l.closed(65142 * ms)
	d, sure := l.Deadline()
	require.Equal(t, Confirmed, sure)
	require.InEpsilon(t, 65, d.Seconds(), 0.01)
}

// Of two backends' timeouts the shorter ends only some of the connections.
func TestTheShorterOfSeveralTimeoutsOutlastsARunOfConnectionsToTheOther(t *testing.T) {
	l := newLesson(1)
	for range 3 {
		l.closed(time.Minute)
	}
	for range 20 {
		l.closed(5 * time.Second)
		l.Survived(6 * time.Second)
	}
	for range 10 {
		d, sure := l.Deadline()
		require.Equal(t, Confirmed, sure)
		require.Equal(t, 5*time.Second, d)
		l.Survived(6 * time.Second)
	}
	for range 20 {
		l.Survived(6 * time.Second)
	}
	d, _ := l.Deadline()
	require.Equal(t, time.Minute, d, "it was raised, or the backend is gone")
}

func TestWhereMostConnectionsEndIsHeededThoughALaterTimeoutIsConfirmed(t *testing.T) {
	l := newLesson(1)
	for range 3 {
		l.closed(time.Minute)
	}
	l.closed(20 * time.Second)
	l.closed(20300 * ms)
	d, sure := l.Deadline()
	require.Equal(t, Confirmed, sure, "two, not even close to each other")
	require.Equal(t, time.Minute, d)
	l.closed(20700 * ms)
	l.closed(20 * time.Second)
	d, _ = l.Deadline()
	require.LessOrEqual(t, d, 20*time.Second)
}

func TestARestartThatClosesManyAtOneInstantIsForgottenWhole(t *testing.T) {
	l := newLesson(1)
	for range 2 * lastAges {
		l.closed(l.between(time.Second, 5*time.Minute))
	}
	before := l.Learner
	l.closed(time.Second)
	for i := range time.Duration(5) {
		l.Closed(l.now.Add(i*ms), (1+i)*time.Minute)
	}
	after := l.Learner
	require.EqualValues(t, 6, after.Tally().Mass)
	require.Equal(t, before.clusters, after.clusters)
	require.Equal(t, before.ages, after.ages)
	require.Equal(t, before.nAges, after.nAges)
	require.Equal(t, before.strays, after.strays)
}

// lighttpd looks at all its connections once a second, and closes at one instant
// what has been idle for five seconds to six.
func TestAServerThatClosesOnceASecondIsLearnedFromManyConnectionsAtOnce(t *testing.T) {
	for seed := range uint64(20) {
		l := newLesson(seed)
		for range 12 {
			l.now = l.now.Add(time.Minute)
			for i := range time.Duration(5) {
				l.Closed(l.now.Add(i*ms), l.between(5*time.Second, 6*time.Second))
			}
			d, sure := l.Deadline()
			require.NotEqual(t, Nothing, sure)
			require.InDelta(t, 5, d.Seconds(), 0.75)
		}
		require.EqualValues(t, 12, l.Tally().Closes)
		require.Zero(t, l.Tally().Mass)
	}
}

func TestALearnerOfClosesAllocatesNothing(t *testing.T) {
	l := newLesson(1)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		l.closed(l.between(4*time.Second, 6*time.Second))
		l.Survived(l.Watch())
	}))
}
