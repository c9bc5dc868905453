package deadline

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// requestsPerCell is 20,000 for the table in the documentation:
//
//	go test ./internal/deadline -run Cell -v -requests 20000
var (
	requestsPerCell = flag.Int("requests", 4000, "requests per cell of the model")
	seedsPerCell    = flag.Int("seeds", 5, "how often cells with frequent restarts are run, with other random numbers each time")
)

func allCells(requests int) []cell {
	var cells []cell
	for _, t := range []time.Duration{2, 5, 20, 60, 75, 600} {
		for _, rtt := range []time.Duration{1 * ms, 20 * ms, 100 * ms} {
			for _, g := range []gapKind{uniform, logUniform, bursty, exactly} {
				for _, restart := range []time.Duration{0, time.Hour, 10 * time.Minute} {
					c := cell{timeout: []time.Duration{t * time.Second}, rtt: rtt, gaps: g, restart: restart, requests: requests, seed: uint64(len(cells))}
					if t == 600 {
						c.maxIdle = time.Hour
					}
					cells = append(cells, c)
				}
			}
		}
	}
	return cells
}

func TestNoCellMeetsATimeoutAfterTheThirdCloseOrOpensConnectionsInVain(t *testing.T) {
	type sum struct{ cells, wrong5, wrong10 int }
	by := map[string]*sum{}
	worst := 0.0
	for _, c := range allCells(*requestsPerCell) {
		got, oracle := c.run(true), c.run(false)
		require.Zero(t, got.late, "%v: requests that met a timeout close after the third", c)
		allowed := 1.05*float64(oracle.conns) + 10 + 2*float64(got.restarts)
		require.LessOrEqual(t, float64(got.conns), allowed, "%v: connections, an oracle opened %d", c, oracle.conns)
		if c.restart == 0 {
			worst = max(worst, float64(got.conns)/float64(oracle.conns))
		}

		key := fmt.Sprint("restarts every ", c.restart)
		if c.restart == 0 {
			key = "no restarts"
		}
		s := by[key]
		if s == nil {
			s = &sum{}
			by[key] = s
		}
		s.cells++
		if got.wrong > 0 {
			s.wrong5++
		}
		if got.veryWrong > 0 {
			s.wrong10++
			t.Logf("%v: off by more than 10 %% at %d of %d looks", c, got.veryWrong, got.looks)
		}
	}
	for key, s := range by {
		t.Logf("%s: %d cells; the deadline in force, once confirmed, was ever off by more than 5 %% in %d, by more than 10 %% in %d", key, s.cells, s.wrong5, s.wrong10)
	}
	t.Logf("connections, at most %.3f of the oracle's where nothing restarts", worst)
	require.Zero(t, by["no restarts"].wrong5)
	require.Zero(t, by["restarts every 1h0m0s"].wrong5)
	frequent := by["restarts every 10m0s"]
	require.LessOrEqual(t, frequent.wrong10, frequent.cells*2/100, "where a server restarts as often as its timeout passes, that is seldom seen")
}

// A server that restarts every ten minutes can close three connections before
// its timeout of ten minutes ends the first. Who then is the first to try an age
// that no connection has lived to see cannot be warned.
func TestWhoMeetsATimeoutCloseAfterTheThirdIsTheFirstToMeetOneAtAll(t *testing.T) {
	cells, late := 0, 0
	for _, c := range allCells(*requestsPerCell) {
		if c.restart == 0 || c.restart > c.timeout[0] {
			continue
		}
		for seed := range uint64(*seedsPerCell) {
			c.seed = 1000*seed + uint64(cells)
			got := c.run(true)
			require.Equal(t, got.first, got.late, "%v, seed %d", c, c.seed)
			cells++
			late += got.late
		}
	}
	t.Logf("in %d cells of %d requests %d met a timeout close after the third close; for each it was the first ever", cells, *requestsPerCell, late)
}

func TestARaisedTimeoutIsInForceAfterThreeCanaries(t *testing.T) {
	var l Learner
	now := epoch
	for range 10 {
		now = now.Add(time.Minute)
		l.Closed(now, 5*time.Second)
	}
	for canary := range 3 {
		d, sure := l.Deadline()
		require.Equal(t, Confirmed, sure, "after %d", canary)
		require.Equal(t, 5*time.Second, d)
		l.Survived(l.Watch())
	}
	_, sure := l.Deadline()
	require.Equal(t, Nothing, sure)
}

func TestALoweredTimeoutIsInForceAfterTwoCloses(t *testing.T) {
	var l Learner
	now := epoch
	for range 10 {
		now = now.Add(time.Minute)
		l.Closed(now, 60*time.Second)
	}
	l.Closed(now.Add(time.Minute), 5*time.Second)
	d, _ := l.Deadline()
	require.Equal(t, 60*time.Second, d, "one alone may be a restart")
	l.Closed(now.Add(2*time.Minute), 5*time.Second)
	d, sure := l.Deadline()
	require.Equal(t, Confirmed, sure)
	require.Equal(t, 5*time.Second, d)
}

// Strays as they come between: restarts.
func TestAmongStraysALoweredTimeoutIsInForceAfterTwoClosesUnlessOneIsNear(t *testing.T) {
	for _, strays := range []int{1, 2, 5, 20, 60} {
		third := 0
		for seed := range uint64(200) {
			l := newLesson(seed)
			near := false
			for i := range max(10, 2*strays) {
				l.closed(60 * time.Second)
				if i < strays {
					age := l.between(time.Second, 59*time.Second)
					near = near || (age-5*time.Second).Abs() < sweep
					l.closed(age)
				}
			}
			l.closed(60 * time.Second)
			l.closed(5 * time.Second)
			l.closed(5 * time.Second)
			d, _ := l.Deadline()
			if d > 5*time.Second {
				require.True(t, near, "%d strays, seed %d", strays, seed)
				third++
				l.closed(5 * time.Second)
				d, _ = l.Deadline()
			}
			require.InDelta(t, 5, d.Seconds(), 1, "%d strays, seed %d", strays, seed)
		}
		require.LessOrEqual(t, third, 10)
		t.Logf("%d strays: %d of 200 took a third close", strays, third)
	}
}

func TestClosesAtOneInstantCountOnceOrNotAtAll(t *testing.T) {
	var l Learner
	for i := range 5 {
		l.Closed(epoch.Add(time.Duration(i)*ms), 5*time.Second)
	}
	_, sure := l.Deadline()
	require.Equal(t, Provisional, sure, "five that agree are one")
	require.EqualValues(t, 1, l.Tally().Closes)

	l = Learner{}
	for i := range 5 {
		l.Closed(epoch.Add(time.Duration(i)*ms), time.Duration(1+i)*time.Second)
	}
	_, sure = l.Deadline()
	require.Equal(t, Nothing, sure, "a restart closes them all, whatever their age")
	require.EqualValues(t, 5, l.Tally().Mass)
	require.Zero(t, l.Tally().Closes)

	l = Learner{}
	for i, age := range []time.Duration{5, 5, 5, 30, 60} {
		l.Closed(epoch.Add(time.Duration(i)*ms), age*time.Second)
	}
	require.EqualValues(t, 5, l.Tally().Mass, "those that agreed, too")
	require.Zero(t, l.Tally().Closes)
}

func TestClosesAfterMomentsOfIdlenessTeachNothing(t *testing.T) {
	var l Learner
	for i := range 10 {
		l.Closed(epoch.Add(time.Duration(i)*time.Minute), 20*ms)
	}
	_, sure := l.Deadline()
	require.Equal(t, Nothing, sure)
}

// Of twenty seeds the mean of what the cells of one kind came to.
func overSeeds(c cell, of func(got, oracle modelResult) float64) float64 {
	sum := 0.0
	for seed := range uint64(20) {
		c.seed = seed
		sum += of(c.run(true), c.run(false))
	}
	return sum / 20
}

func TestTwoBackendsAndAJitteryOneAreLearnedToo(t *testing.T) {
	for _, rtt := range []time.Duration{1 * ms, 20 * ms, 100 * ms} {
		for g := uniform; g <= exactly; g++ {
			two := cell{timeout: []time.Duration{5 * time.Second, 60 * time.Second}, rtt: rtt, gaps: g, requests: *requestsPerCell}
			jittery := cell{timeout: []time.Duration{5 * time.Second}, jitter: 0.2, rtt: rtt, gaps: g, requests: *requestsPerCell}
			for name, c := range map[string]cell{"two backends": two, "jitter": jittery} {
				conns := overSeeds(c, func(got, oracle modelResult) float64 { return float64(got.conns) / float64(oracle.conns) })
				require.LessOrEqual(t, conns, 1.05, c)
				worst := 0
				stale := overSeeds(c, func(got, _ modelResult) float64 {
					n := got.known
					if c.jitter > 0 {
						n = got.late
					}
					worst = max(worst, n)
					return float64(n)
				})
				t.Logf("%s, %v: %.3f of the oracle's connections, %.1f stale hits once it was seen, at most %d", name, c, conns, stale, worst)
				require.LessOrEqual(t, worst, max(4, c.requests/5000), "%s, %v", name, c)
			}
		}
	}
}

func BenchmarkSurvived(b *testing.B) {
	var l Learner
	l.Closed(epoch, 5*time.Second)
	l.Closed(epoch.Add(time.Minute), 5*time.Second)
	var s Slack
	b.ReportAllocs()
	for b.Loop() {
		s.Held(5*time.Second, 250*ms, time.Second)
		if l.Heeds(time.Second) {
			b.Fatal("an age below the deadline says nothing")
		}
	}
}
