package faultserver

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// ErrClosed is returned by what a closed server can no longer do.
var ErrClosed = errors.New("faultserver: server closed")

// ErrPlaying is wrapped by Play's error if a scenario is being played already.
var ErrPlaying = errors.New("a scenario is being played")

// Play plays a scenario and returns when its last phase has ended; its faults
// are out of force then. If the last phase has no end, Play returns when that
// has begun and its operations have finished, and its faults stay until another
// scenario is played or StopScenario is called.
//
// The scenario's server settings cannot be made on a running server: Play
// refuses it, unless the server runs with the same ones or its Config has set
// them otherwise. One scenario is played at a time. Play's error is the
// scenario's mistakes, the context's error, an operation's error, or ErrClosed.
func (s *Server) Play(ctx context.Context, sc *Scenario) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a, err := s.play.start(s, sc, cancel)
	if err != nil {
		return fmt.Errorf("faultserver: play: %w", err)
	}
	return s.play.run(ctx, s, a)
}

// StopScenario ends the scenario that is being played, whoever plays it, and
// takes its faults out of force, also those of a last phase that has no end.
// Without a scenario it does nothing.
func (s *Server) StopScenario() {
	p := &s.play
	p.mu.Lock()
	cancel, finished := p.cancel, p.finished
	p.mu.Unlock()
	if finished != nil {
		cancel()
		<-finished
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.finished == nil && p.act != nil {
		p.endLocked(s, nil)
	}
}

// run carries the scenario from one phase's beginning to the last one's end.
func (p *player) run(ctx context.Context, s *Server, a *act) error {
	for a != nil {
		stays, err := p.perform(ctx, s, a)
		if stays {
			p.mu.Lock()
			p.releaseLocked()
			p.mu.Unlock()
			return nil
		}
		if err != nil {
			p.mu.Lock()
			p.endLocked(s, err)
			p.mu.Unlock()
			return err
		}
		p.mu.Lock()
		next := p.advanceLocked(s, a)
		err = a.err
		p.mu.Unlock()
		if err != nil {
			return fmt.Errorf("faultserver: %w", err)
		}
		a = next
	}
	return nil
}

// perform waits for one phase's end. It stays if it has none.
func (p *player) perform(ctx context.Context, s *Server, a *act) (stays bool, err error) {
	doing, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- a.phase.do(doing, s) }()
	pending := true
	defer func() {
		cancel()
		if pending {
			<-done
		}
	}()

	var timeUp <-chan time.Time
	if d := p.scaled(a.phase.Duration); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timeUp = t.C
	}
	finished := done
	for {
		select {
		case err := <-finished:
			pending, finished = false, nil
			switch {
			case ctx.Err() != nil:
				return false, ctx.Err()
			case err != nil:
				return false, fmt.Errorf("faultserver: phase %q: %w", a.phase.Name, err)
			case a.phase.Until.Done:
				return false, nil
			case !a.phase.ends():
				return true, nil
			}
		case <-a.over:
			return false, nil
		case <-timeUp:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		case <-s.stop:
			return false, ErrClosed
		}
	}
}

func (ph *ScenarioPhase) do(ctx context.Context, s *Server) error {
	for _, name := range ph.Do {
		if err := operations[name](s, ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// rearmIdle lets faults that have come into force reach connections that are
// idle already.
func (s *Server) rearmIdle() {
	for _, c := range s.snapshot() {
		c.rearmIdle()
	}
}

func (p *player) scaled(d time.Duration) time.Duration {
	if d <= 0 || p.factor == 1 {
		return d
	}
	const longest = 1 << 62 // as far as a float may go
	return time.Duration(max(1, min(longest, float64(d)/p.factor)))
}

// scaledFaults divides every time of the faults by the factor.
func (p *player) scaledFaults(faults []Fault) []Fault {
	if p.factor == 1 {
		return faults
	}
	faults = append([]Fault(nil), faults...)
	for i := range faults {
		v := reflect.ValueOf(&faults[i]).Elem()
		for j := range v.NumField() {
			if f := v.Field(j); f.Type() == durationType {
				f.SetInt(int64(p.scaled(time.Duration(f.Int()))))
			}
		}
	}
	return faults
}
