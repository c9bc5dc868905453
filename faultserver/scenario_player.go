package faultserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Playing is where a server is in a scenario.
type Playing struct {
	Scenario string // "" if none has been played
	Phase    string
	Number   int // of the phase, from 1; 0 when the scenario has ended
	Of       int
	Round    int       // from 1
	Since    time.Time // the phase began, or the scenario ended
	Ended    bool
	Err      error // why it ended early; context.Canceled: it was stopped
}

// String is one line for people: "daily-restart 2/3 restarting".
func (p Playing) String() string {
	switch {
	case p.Scenario == "":
		return "no scenario"
	case errors.Is(p.Err, context.Canceled):
		return p.Scenario + " was stopped"
	case p.Err != nil:
		return fmt.Sprintf("%s ended: %v", p.Scenario, p.Err)
	case p.Ended:
		return p.Scenario + " ended"
	case p.Round > 1:
		return fmt.Sprintf("%s %d/%d %s (round %d)", p.Scenario, p.Number, p.Of, p.Phase, p.Round)
	}
	return fmt.Sprintf("%s %d/%d %s", p.Scenario, p.Number, p.Of, p.Phase)
}

// Phase returns where the server is in its scenario.
func (s *Server) Phase() Playing {
	s.play.mu.Lock()
	defer s.play.mu.Unlock()
	return s.play.now
}

// player is the scenario a server is playing. Who plays it waits for time and
// operations; a phase that ends by count is ended by the request or connection
// that comes next, so that none is judged by a phase that was over.
type player struct {
	// counting is set while a phase ends by count, so that otherwise nobody
	// takes the lock.
	counting atomic.Bool

	mu       sync.Mutex // guards what follows; taken before that of rules
	now      Playing
	sc       *Scenario
	factor   float64
	always   []*rule // of the scenario
	act      *act    // nil: none
	cancel   context.CancelFunc
	finished chan struct{} // closed when Play is done with it; nil: nobody plays
}

// act is one phase being played. The player's lock guards it.
type act struct {
	phase       *ScenarioPhase
	index       int
	round       int
	rules       []*rule
	begun       int // requests
	ended       int
	connections int
	over        chan struct{} // closed when its end by count has come
	isOver      bool
	replaced    bool
	next        *act  // once replaced; nil: the scenario has ended
	err         error // why the next phase could not begin
}

func (a *act) overLocked() {
	if !a.isOver {
		a.isOver = true
		close(a.over)
	}
}

// unphased is the phase of a scenario without phases.
var unphased = ScenarioPhase{Name: "throughout"}

func (p *player) phases() []ScenarioPhase {
	if len(p.sc.Phases) == 0 {
		return []ScenarioPhase{unphased}
	}
	return p.sc.Phases
}

// start brings the first phase's faults into force.
func (p *player) start(s *Server, sc *Scenario, cancel context.CancelFunc) (*act, error) {
	if sc == nil {
		return nil, errors.New("there is no scenario")
	}
	if err := sc.Validate(); err != nil {
		return nil, err
	}
	if err := sc.Server.playable(s.runs, s.configured); err != nil {
		return nil, fmt.Errorf("scenario %s: %w", sc.Name, err)
	}
	if err := sc.unsupported(s.supports); err != nil {
		return nil, fmt.Errorf("scenario %s: %w", sc.Name, err)
	}
	select {
	case <-s.stop:
		return nil, ErrClosed
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.finished != nil {
		return nil, fmt.Errorf("%w: %s", ErrPlaying, p.sc.Name)
	}
	if p.act != nil { // one whose last phase stays
		p.endLocked(s, nil)
	}
	p.sc, p.factor, p.cancel, p.finished = sc, 1, cancel, make(chan struct{})
	if sc.ScaleTimes && s.runs.TimeScale > 0 {
		p.factor = s.runs.TimeScale
	}
	if sc.Server.Seed != 0 && s.configured.Seed == 0 {
		s.rules.reseed(sc.Server.Seed)
	}
	var err error
	if p.always, err = s.swapFaults(nil, p.scaledFaults(sc.Faults)); err == nil {
		err = p.beginLocked(s, nil, 0, 1)
	}
	if err != nil {
		p.endLocked(s, err)
		return nil, fmt.Errorf("scenario %s: %w", sc.Name, err)
	}
	return p.act, nil
}

// unsupported says which faults of a scenario cannot be had on a server, so that
// none fails in the middle.
func (sc *Scenario) unsupported(supports func(Fault) error) error {
	var errs []error
	check := func(path string, faults []Fault) {
		for i, f := range faults {
			if f.Validate() != nil {
				continue // reported elsewhere
			}
			if err := supports(f); err != nil {
				errs = append(errs, &fieldError{fmt.Sprintf("%s[%d].kind", path, i), "%v", []any{err}})
			}
		}
	}
	check("faults", sc.Faults)
	for i := range sc.Phases {
		check(fmt.Sprintf("phases[%d].faults", i), sc.Phases[i].Faults)
	}
	return errors.Join(errs...)
}

// beginLocked puts a phase in the place of the last one. If its faults cannot
// be put in force none is, and those of the last phase stay.
func (p *player) beginLocked(s *Server, last []*rule, index, round int) error {
	p.counting.Store(true) // whoever meets the faults waits until the phase counts
	rules, err := s.replaceFaults(last, p.scaledFaults(p.phases()[index].Faults))
	if err != nil {
		return fmt.Errorf("phase %q: %w", p.phases()[index].Name, err)
	}
	phases := p.phases()
	ph := &phases[index]
	p.act = &act{phase: ph, index: index, round: round, rules: rules, over: make(chan struct{})}
	p.counting.Store(ph.Until.Requests > 0 || ph.Until.Connections > 0)
	p.now = Playing{
		Scenario: p.sc.Name, Phase: ph.Name, Number: index + 1, Of: len(phases), Round: round, Since: time.Now(),
	}
	return nil
}

// advanceLocked ends a phase, unless that has happened, and returns the one
// that has followed it, or nil after the last.
func (p *player) advanceLocked(s *Server, a *act) *act {
	if a.replaced || p.act != a {
		return a.next
	}
	a.overLocked()
	a.replaced = true
	var err error
	switch {
	case a.index+1 < len(p.phases()):
		err = p.beginLocked(s, a.rules, a.index+1, a.round)
	case p.sc.Forever || a.round < p.sc.Repeat:
		err = p.beginLocked(s, a.rules, 0, a.round+1)
	default:
		p.endLocked(s, nil)
	}
	if err != nil {
		p.endLocked(s, err)
	}
	a.next, a.err = p.act, err
	return a.next
}

// endLocked takes the scenario's faults out of force.
func (p *player) endLocked(s *Server, err error) {
	out := p.always
	if p.act != nil { // the first phase may not have begun
		out = append(out, p.act.rules...)
		p.act.replaced = true
		p.act.overLocked()
	}
	s.endFaults(out)
	p.act, p.always = nil, nil
	p.counting.Store(false)
	p.now = Playing{
		Scenario: p.sc.Name, Of: len(p.phases()), Round: p.now.Round, Since: time.Now(), Ended: true, Err: err,
	}
	p.releaseLocked()
}

// releaseLocked lets the next scenario be played.
func (p *player) releaseLocked() {
	if p.finished != nil {
		close(p.finished)
		p.finished = nil
	}
}

// request counts a request whose head has been read, before it is judged, and
// returns what to call when it has been answered or lost; nil: nothing.
func (p *player) request(s *Server) (ended func()) {
	if !p.counting.Load() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.act
	for a != nil && a.phase.Until.Requests > 0 && a.begun >= a.phase.Until.Requests {
		a = p.advanceLocked(s, a)
	}
	if a == nil || a.phase.Until.Requests == 0 {
		return nil
	}
	a.begun++
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if a.ended++; a.ended >= a.phase.Until.Requests {
			a.overLocked()
		}
	})
}

// connection counts a connection that was accepted.
func (p *player) connection(s *Server) {
	if !p.counting.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.act; a != nil && a.phase.Until.Connections > 0 {
		if a.connections++; a.connections >= a.phase.Until.Connections {
			p.advanceLocked(s, a)
		}
	}
}
