package idlewise

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
	"github.com/idlewise/idlewise/internal/deadline"
)

// A learningCell is a server, the way to it, and a client's habits.
type learningCell struct {
	timeouts []time.Duration // of the backends behind one address, the lowest first
	spread   float64         // each timeout varies by this share, up and down
	rtt      time.Duration
	gaps     gapKind
	restart  time.Duration // between restarts, ±10 %; 0: none
	requests int
	seed     uint64
}

func (c learningCell) String() string {
	return fmt.Sprintf("T=%v spread=%v rtt=%v gaps=%v restarts=%v", c.timeouts, c.spread, c.rtt, c.gaps, c.restart)
}

// lowest is the shortest time after which a connection is closed.
func (c learningCell) lowest() time.Duration {
	return c.timeouts[0] - time.Duration(c.spread*float64(c.timeouts[0]))
}

// A gapKind is how the pauses between requests are distributed.
type gapKind int

const (
	uniformGaps    gapKind = iota // from 0 to twice T
	logUniformGaps                // from 10 ms to four times T
	burstyGaps                    // uniform; then one to five requests at once
	exactGaps                     // such that the request crosses the close
)

func (g gapKind) String() string { return [...]string{"uniform", "log-uniform", "bursty", "exact"}[g] }

// gap draws the next pause, and how many requests follow it.
func (c learningCell) gap(rng *rand.Rand) (pause time.Duration, together int) {
	t := float64(c.timeouts[rng.IntN(len(c.timeouts))])
	switch c.gaps {
	case uniformGaps:
		return time.Duration(rng.Float64() * 2 * t), 1
	case logUniformGaps:
		lo, hi := math.Log(float64(10*time.Millisecond)), math.Log(4*t)
		return time.Duration(math.Exp(lo + rng.Float64()*(hi-lo))), 1
	case burstyGaps:
		return time.Duration(rng.Float64() * 2 * t), 1 + rng.IntN(5)
	}
	// The server's clock starts half a round trip before the client's, and the
	// request arrives half a round trip after it was sent.
	return time.Duration(t) - c.rtt + time.Duration(rng.NormFloat64()*float64(5*time.Millisecond)), 1
}

// A learningResult is what a cell came to.
type learningResult struct {
	conns     int
	restarts  int
	closes    uint64 // that were learned from
	early     int    // POSTs that met a timeout close until the third close that was learned from
	late      int    // and those that did afterwards
	first     int    // of these, those before which no timeout close was learned from
	known     int    // and those that did after all the backends' timeouts were met
	crossed   int    // POSTs that met a restart
	looks     int    // at the deadline in force, once confirmed
	wrong     int    // of them, those at which it was off by more than 5 %
	veryWrong int    // or by more than 10 %
	worst     float64
}

// A simulation is a cell while it runs.
type simulation struct {
	*world
	cell     learningCell
	rng      *rand.Rand
	backends []*faultserver.Server
	u        *upstream // once there is one
	met      []bool    // by timeout: a close after it was learned from
	out      learningResult

	mu     sync.Mutex
	failed []Attempt
}

// run drives a Transport that learns or, as an oracle, one that was told.
func (c learningCell) run(t *testing.T, oracle bool) learningResult {
	t.Helper()
	s := &simulation{cell: c, rng: rand.New(rand.NewPCG(c.seed, 1)), met: make([]bool, len(c.timeouts))}
	pol := Policy{Hint: Off, MaxConnAge: -1, LivenessCheckAfter: -1}
	if c.timeouts[0] > defaultMaxIdleTime {
		pol.MaxIdleTime = time.Hour
	}
	if oracle {
		pol.ServerKeepAlive = c.lowest()
	}
	synctest.Test(t, func(t *testing.T) {
		s.start(t, pol)
		defer func() {
			s.tr.Close()
			for _, b := range s.backends {
				b.Close()
			}
			time.Sleep(c.rtt + time.Second)
			synctest.Wait()
		}()
		s.drive(oracle)
	})
	return s.out
}

func (s *simulation) start(t *testing.T, pol Policy) {
	c := s.cell
	s.world = &world{T: t, net: memnet.New(memnet.Options{Latency: c.rtt / 2})}
	front, err := s.net.Listen(worldAddr)
	require.NoError(t, err)
	for i, ln := range split(front, len(c.timeouts), c.seed) {
		cfg := faultserver.Config{Listener: ln, IdleTimeout: c.timeouts[i], Seed: c.seed}
		if c.spread > 0 {
			cfg.IdleTimeout = 0
			low := c.lowest()
			cfg.Faults = []faultserver.Fault{{Kind: faultserver.IdleClose, After: low, Jitter: 2 * (c.timeouts[i] - low)}}
		}
		b, err := faultserver.New(cfg)
		require.NoError(t, err)
		s.backends = append(s.backends, b)
	}
	s.server = s.backends[0]
	s.tr, err = New(Config{Base: &http.Transport{DialContext: s.dial}, Policies: Policies{Default: pol}})
	require.NoError(t, err)
}

func (s *simulation) drive(oracle bool) {
	stop := make(chan struct{})
	var restarts sync.WaitGroup
	if s.cell.restart > 0 {
		restarts.Go(func() { s.restartUntil(stop) })
	}
	errs := 0
	for sent := 0; sent < s.cell.requests; {
		pause, together := s.cell.gap(s.rng)
		time.Sleep(max(0, pause))
		taught := s.taught()
		errs += s.post(together)
		sent += together
		s.judge(taught)
		if !oracle {
			s.look()
		}
	}
	close(stop)
	restarts.Wait()
	counted := s.out.early + s.out.late + s.out.crossed
	require.LessOrEqual(s, s.only().StaleOther, uint64(counted), "a stale hit that no Trace saw")
	require.LessOrEqual(s, errs, counted, "an error that no Trace saw")
	s.out.conns = int(s.dials.Load())
	s.out.closes = s.taught()
}

// restartUntil restarts every backend now and then: gracefully or as kill -9
// does.
func (s *simulation) restartUntil(stop chan struct{}) {
	rng := rand.New(rand.NewPCG(s.cell.seed, 2))
	for {
		select {
		case <-time.After(time.Duration((0.9 + 0.2*rng.Float64()) * float64(s.cell.restart))):
		case <-stop:
			return
		}
		kill := rng.IntN(2) == 0
		for _, b := range s.backends {
			if kill {
				b.Kill()
			} else {
				b.Restart()
			}
		}
		s.out.restarts++ // read after this goroutine has ended
	}
}

// post sends so many POSTs at once, a moment apart so that the run repeats,
// and returns how many failed.
func (s *simulation) post(together int) (errs int) {
	ctx := WithTrace(context.Background(), &Trace{AttemptDone: func(a Attempt) {
		if a.Err != nil {
			s.mu.Lock()
			s.failed = append(s.failed, a)
			s.mu.Unlock()
		}
	}})
	var all sync.WaitGroup
	for i := range together {
		all.Go(func() {
			time.Sleep(time.Duration(i) * time.Microsecond)
			if _, err := s.do(ctx, http.MethodPost, "/", "x"); err != nil {
				s.mu.Lock()
				errs++
				s.mu.Unlock()
			}
		})
	}
	all.Wait()
	return errs
}

// judge asks the servers why the connections ended on which attempts failed.
func (s *simulation) judge(taught uint64) {
	for _, a := range s.failed {
		switch reason := s.reasonOf(a.Local.String()); reason {
		case faultserver.IdleTimeout, faultserver.FaultStruck:
			if taught < 3 {
				s.out.early++
			} else {
				s.out.late++
				if !slices.Contains(s.met, true) {
					s.out.first++
				}
			}
			if s.allMet() {
				s.out.known++
			}
		case faultserver.Draining, faultserver.ServerKilled:
			s.out.crossed++
		default:
			require.Failf(s, "neither a timeout nor a restart", "%v, says the server; %v", reason, a)
		}
	}
	s.failed = s.failed[:0]
}

// reasonOf is why a server closed the last connection from that address.
func (s *simulation) reasonOf(local string) faultserver.CloseReason {
	var last faultserver.ConnRecord
	for _, b := range s.backends {
		for _, c := range b.Journal().Conns() {
			if c.RemoteAddr == local && c.Opened.After(last.Opened) {
				last = c
			}
		}
	}
	return last.Reason
}

// learner calls f with what was learned, if anything was.
func (s *simulation) learner(f func(*deadline.Learner)) {
	if s.u == nil {
		all := s.tr.registry.all()
		if len(all) == 0 {
			return
		}
		s.u = all[0]
	}
	s.u.pool.mu.Lock()
	defer s.u.pool.mu.Unlock()
	if e := s.u.own.learned; e != nil {
		f(&e.name)
	}
}

// taught is how many closes were learned from.
func (s *simulation) taught() (n uint64) {
	s.learner(func(l *deadline.Learner) { n = l.Tally().Closes })
	return n
}

// allMet reports whether a close after each of the timeouts was learned from.
func (s *simulation) allMet() bool {
	all := true
	for _, met := range s.met {
		all = all && met
	}
	return all
}

// look compares the deadline in force with the truth.
func (s *simulation) look() {
	if !s.allMet() {
		s.learner(func(l *deadline.Learner) {
			for _, m := range l.Recall() {
				for i, t := range s.cell.timeouts {
					tolerance := deadline.Tolerance(t) + time.Duration(s.cell.spread*float64(t))
					s.met[i] = s.met[i] || m.Upper > t-tolerance && m.Lower < t+tolerance
				}
			}
		})
	}
	e := s.tr.Explain(s.server.URL)
	if e.Source != DeadlineLearned {
		return
	}
	truth := s.cell.lowest()
	off := math.Abs(float64(e.ServerKeepAlive-truth)) / float64(truth)
	s.out.looks++
	s.out.worst = max(s.out.worst, off)
	if off > 0.05 {
		s.out.wrong++
	}
	if off > 0.1 {
		s.out.veryWrong++
	}
}

// A share is what a balancer passes on to one of the servers behind it.
type share struct {
	net.Listener
	conns chan net.Conn
}

func (s *share) Accept() (net.Conn, error) {
	if c, ok := <-s.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// split is a balancer of connections: each that front accepts goes to one of n
// listeners, drawn at random. Closing one of them closes all.
func split(front net.Listener, n int, seed uint64) []net.Listener {
	listeners := make([]net.Listener, n)
	shares := make([]*share, n)
	for i := range shares {
		shares[i] = &share{front, make(chan net.Conn, 100)}
		listeners[i] = shares[i]
	}
	go func() {
		rng := rand.New(rand.NewPCG(seed, 3))
		for {
			c, err := front.Accept()
			if err != nil {
				break
			}
			shares[rng.IntN(n)].conns <- c
		}
		for _, s := range shares {
			close(s.conns)
		}
	}()
	return listeners
}
