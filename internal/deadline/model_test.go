package deadline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// A modelled client and server: enough of both to see what a Learner makes of
// its experience, and nothing of HTTP. The whole Transport is put through the
// same in virtual time elsewhere; this is fast enough to look at every cell.

const ms = time.Millisecond

// A cell is a server, the way to it, and a client's habits.
type cell struct {
	timeout  []time.Duration // of the backends behind one address
	jitter   float64         // each timeout varies by this share, up and down
	tick     time.Duration   // the server looks at its connections so often
	rtt      time.Duration   // as it was when the connection was opened
	lag      time.Duration   // by how much it has become longer
	usual    bool            // nothing is added to the automatic margin
	gaps     gapKind
	restart  time.Duration // between restarts; 0: none
	requests int
	maxIdle  time.Duration
	seed     uint64
	change   func(request int) []time.Duration // the timeouts from this request on; nil: no change
}

func (c cell) String() string {
	return fmt.Sprintf("T=%v jitter=%v tick=%v rtt=%v+%v gaps=%v restart=%v", c.timeout, c.jitter, c.tick, c.rtt, c.lag, c.gaps, c.restart)
}

type gapKind int

const (
	uniform gapKind = iota
	logUniform
	bursty
	exactly
)

func (g gapKind) String() string { return [...]string{"uniform", "log-uniform", "bursty", "exact"}[g] }

// A modelConn is a connection as both ends see it. Ages are the client's.
type modelConn struct {
	idleSince time.Duration // when the client had the last response
	timeout   time.Duration // the server closes it at this age
	canary    time.Duration // it is one, watched until this age; 0: it is none
}

// An outcome of a run.
type modelResult struct {
	conns     int // opened
	stale     int // requests that met a timeout close
	late      int // of them, those after the third close that was learned from
	first     int // of these, those before which no timeout had ended a connection
	known     int // stale ones after every timeout was met
	restarts  int
	canaries  int
	looks     int // at the deadline in force once confirmed
	wrong     int // of them, those at which it was off by more than 5 %
	veryWrong int // or by more than 10 %
	learner   Learner
}

type model struct {
	cell
	rng         *rand.Rand
	now         time.Duration
	idle        []modelConn // by idleSince
	canary      *modelConn
	learner     *Learner // nil: an oracle
	nextRestart time.Duration
	slack       Slack
	retired     int
	timedOut    bool                   // a timeout has ended a connection
	met         map[time.Duration]bool // timeouts that closes were seen of
	out         modelResult
}

var epoch = time.Unix(1_700_000_000, 0)

func (m *model) limit() time.Duration {
	d, confidence := time.Duration(0), Confirmed
	if m.learner != nil {
		d, confidence = m.learner.Deadline()
	} else {
		d = m.timeout[0]
		for _, t := range m.timeout {
			d = min(d, t)
		}
		d -= time.Duration(m.jitter * float64(d))
	}
	if confidence == Nothing {
		return m.maxIdle
	}
	return min(m.maxIdle, max(0, d-m.margin(d)))
}

func (m *model) margin(d time.Duration) time.Duration {
	if m.usual {
		return Margin(d, m.rtt)
	}
	return m.slack.Margin(d, m.rtt)
}

func (m *model) draw() time.Duration {
	t := m.timeout[m.rng.IntN(len(m.timeout))]
	if m.tick > 0 {
		return t + time.Duration(m.rng.Int64N(int64(m.tick)))
	}
	return t + time.Duration((m.rng.Float64()*2-1)*m.jitter*float64(t))
}

// pass lets time pass until t: timeouts, retirements, canaries, restarts.
func (m *model) pass(until time.Duration) {
	for {
		at, what := until, func() {}
		limit := m.limit()
		for i := range m.idle {
			c := m.idle[i]
			if end := c.idleSince + c.timeout; end <= at {
				at, what = end, func() { m.drop(i); m.timeOut(end, c.timeout) }
			}
			if end := c.idleSince + limit; end < at {
				at, what = end, func() { m.drop(i); m.retire(c, end, limit) }
			}
		}
		if c := m.canary; c != nil {
			if end := c.idleSince + c.timeout; end <= at {
				at, what = end, func() { m.canary = nil; m.timeOut(end, c.timeout) }
			}
			if end := c.idleSince + c.canary; end < at {
				at, what = end, func() { m.canary = nil; m.survived(c.canary) }
			}
		}
		if m.restart > 0 && m.nextRestart <= at {
			at = m.nextRestart
			what = func() {
				m.nextRestart += time.Duration((0.9 + 0.2*m.rng.Float64()) * float64(m.restart))
				m.out.restarts++
				all := m.idle
				m.idle = nil
				if m.canary != nil {
					all = append(all, *m.canary)
					m.canary = nil
				}
				for _, c := range all {
					m.closed(at, at-c.idleSince)
				}
			}
		} else if at >= until {
			m.now = until
			return
		}
		m.now = max(m.now, at)
		what()
	}
}

func (m *model) drop(i int) { m.idle = append(m.idle[:i:i], m.idle[i+1:]...) }

func (m *model) timeOut(at, age time.Duration) {
	m.timedOut = true
	m.closed(at, age)
}

func (m *model) closed(at, age time.Duration) {
	for _, t := range m.timeout {
		if age == t {
			m.met[t] = true
		}
	}
	if m.learner != nil {
		m.learner.Closed(epoch.Add(at), age)
	}
}

func (m *model) survived(age time.Duration) {
	if m.learner != nil {
		m.learner.Survived(age)
	}
}

func (m *model) retire(c modelConn, at, age time.Duration) {
	if m.learner == nil || age >= m.maxIdle {
		return
	}
	_, confidence := m.learner.Deadline()
	m.retired++
	if m.canary == nil && (confidence == Provisional || m.retired%10 == 0) {
		m.out.canaries++
		c.canary = m.learner.Watch()
		m.canary = &c
		return
	}
	m.survived(age)
}

// request sends one on the newest connection, and again if it was stale.
func (m *model) request() modelConn {
	for len(m.idle) > 0 {
		c := m.idle[len(m.idle)-1]
		m.idle = m.idle[:len(m.idle)-1]
		age := m.now - c.idleSince
		if age >= m.limit() {
			m.retire(c, m.now, age)
			continue
		}
		known := Nothing
		var d time.Duration
		if m.learner != nil {
			d, known = m.learner.Deadline()
		}
		if age+m.rtt+m.lag < c.timeout {
			m.survived(age)
			if known != Nothing {
				m.slack.Held(d, m.margin(d), age)
			}
			return c
		}
		if known != Nothing {
			m.slack.Missed(d, m.margin(d), age)
		}
		m.out.stale++
		if m.learner != nil && m.learner.Tally().Closes >= 3 {
			m.out.late++
			if !m.timedOut {
				m.out.first++
			}
		}
		if len(m.met) == len(m.timeout) {
			m.out.known++
		}
		m.timeOut(c.idleSince+c.timeout, c.timeout)
	}
	m.out.conns++
	return modelConn{}
}

func (m *model) gap() (pause time.Duration, together int) {
	t := float64(m.timeout[m.rng.IntN(len(m.timeout))])
	switch m.gaps {
	case uniform:
		return time.Duration(m.rng.Float64() * 2 * t), 1
	case logUniform:
		lo, hi := math.Log(float64(10*ms)), math.Log(4*t)
		return time.Duration(math.Exp(lo + m.rng.Float64()*(hi-lo))), 1
	case bursty:
		return time.Duration(m.rng.Float64() * 2 * t), 1 + m.rng.IntN(5)
	}
	return time.Duration(t) - m.rtt + time.Duration(m.rng.NormFloat64()*float64(5*ms)), 1
}

// run drives the cell with a Learner, or with an oracle.
func (c cell) run(learn bool) modelResult {
	m := &model{cell: c, rng: rand.New(rand.NewPCG(c.seed, 1)), nextRestart: c.restart, met: make(map[time.Duration]bool)}
	if learn {
		m.learner = &m.out.learner
	}
	if m.maxIdle == 0 {
		m.maxIdle = 90 * time.Second
	}
	for sent := 0; sent < c.requests; {
		if c.change != nil {
			m.timeout = c.change(sent)
		}
		pause, together := m.gap()
		m.pass(m.now + pause)
		var used []modelConn
		for range together {
			used = append(used, m.request())
			sent++
		}
		m.pass(m.now + m.rtt + ms)
		for _, u := range used {
			u.idleSince, u.timeout, u.canary = m.now+time.Duration(m.rng.Int64N(int64(ms))), m.draw(), 0
			m.idle = append(m.idle, u)
		}
		m.look()
	}
	return m.out
}

// look compares the deadline in force with the truth.
func (m *model) look() {
	if m.learner == nil {
		return
	}
	d, confidence := m.learner.Deadline()
	if confidence != Confirmed {
		return
	}
	truth := m.timeout[0]
	for _, t := range m.timeout {
		truth = min(truth, t)
	}
	off := math.Abs(float64(d-truth)) / float64(truth)
	m.out.looks++
	if off > 0.05 {
		m.out.wrong++
	}
	if off > 0.1 {
		m.out.veryWrong++
	}
}
