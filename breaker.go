package idlewise

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// A CircuitOpenError is the error of a request that was not sent since its
// upstream's circuit breaker is open, or half-open and its trial requests are
// under way. It matches ErrCircuitOpen, and gobreaker's own errors.
type CircuitOpenError struct {
	Upstream string        // its name, as in Stats
	Left     time.Duration // until the breaker is half-open; 0 if it is
	cause    error
}

func (e *CircuitOpenError) Error() string {
	if e.Left == 0 {
		return ErrCircuitOpen.Error() + " but for a trial, request not sent"
	}
	return ErrCircuitOpen.Error() + ", request not sent"
}

// Is reports whether target is ErrCircuitOpen.
func (e *CircuitOpenError) Is(target error) bool { return target == ErrCircuitOpen }

// Unwrap returns gobreaker's ErrOpenState or ErrTooManyRequests.
func (e *CircuitOpenError) Unwrap() error { return e.cause }

// LogValue returns the error with its fields, for log/slog.
func (e *CircuitOpenError) LogValue() slog.Value {
	return slog.GroupValue(slog.String("msg", e.Error()), slog.String("upstream", e.Upstream), slog.Duration("left", e.Left))
}

// A StatusError is what a Breaker's IsSuccessful and IsExcluded are asked about
// where a response had one of its Statuses.
type StatusError struct{ Status int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("idlewise: the response's status was %d %s", e.Status, http.StatusText(e.Status))
}

// uncounted marks what no breaker counts: its Settings are not asked.
type uncounted struct{ error }

var errHookPanicked = errors.New("idlewise: a hook of the program's panicked")

// breaker is the place of an upstream's circuit breaker. Its zero value is none.
type breaker struct{ state atomic.Pointer[breakerState] }

type breakerState struct {
	from    *Breaker
	cb      *gobreaker.TwoStepCircuitBreaker[struct{}]
	timeout time.Duration
	opened  atomic.Pointer[time.Time] // when it last opened
	unwell  atomic.Bool               // it is not closed; gobreaker itself must not be asked under a pool's lock
}

// gobreaker's default for Settings.Timeout.
const breakerTimeout = time.Minute

// set puts the policy's breaker in force. One with the same settings goes on as it
// is. t is told of its changes. The callers hold Transport.policyMu, or the upstream is theirs alone.
func (b *breaker) set(name string, from *Breaker, t *Transport) {
	if from == nil || from.off {
		b.state.Store(nil)
		return
	}
	if old := b.state.Load(); old != nil && sameBreaker(old.from, from) {
		return
	}
	s := &breakerState{from: from, timeout: from.Settings.Timeout}
	fill(&s.timeout, breakerTimeout)
	settings := from.Settings
	fill(&settings.Name, name)
	about := name
	settings.OnStateChange = func(name string, was, is gobreaker.State) {
		now := time.Now()
		s.unwell.Store(is != gobreaker.StateClosed)
		if is == gobreaker.StateOpen {
			s.opened.Store(&now)
		}
		t.note(BreakerChanged{EventInfo{now, about}, was.String(), is.String()})
		if f := from.Settings.OnStateChange; f != nil {
			f(name, was, is)
		}
	}
	settings.IsExcluded = from.excludes
	s.cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](settings)
	b.state.Store(s)
}

// text is its state, in a word.
func (b *breaker) text() string {
	if s := b.state.Load(); s != nil {
		return s.cb.State().String()
	}
	return ""
}

func (b *Breaker) excludes(err error) bool {
	var none uncounted
	switch {
	case errors.As(err, &none):
		return true
	case b.Settings.IsExcluded != nil:
		return b.Settings.IsExcluded(err)
	}
	return false
}

// allow asks whether an attempt may be made; its outcome is then reported to done.
// s may be nil.
func (s *breakerState) allow(upstream string) (done func(error), err error) {
	if s == nil {
		return nil, nil
	}
	done, err = s.cb.Allow()
	if err == nil {
		return done, nil
	}
	open := &CircuitOpenError{Upstream: upstream, cause: err}
	if at := s.opened.Load(); at != nil && errors.Is(err, gobreaker.ErrOpenState) {
		open.Left = max(time.Until(at.Add(s.timeout)), 1)
	}
	return nil, open
}

// isUnwell reports whether the upstream is not known to be well: the breaker is
// open, or half-open. Any lock may be held.
func (b *breaker) isUnwell() bool {
	s := b.state.Load()
	return s != nil && s.unwell.Load()
}

// isOpen reports whether no attempt would be let through. s may be nil.
func (s *breakerState) isOpen() bool { return s != nil && s.cb.State() == gobreaker.StateOpen }

// verdict is what the breaker is told of c's last attempt.
func (s *breakerState) verdict(c *call, resp *http.Response, err error) error {
	switch {
	case err == nil && slices.Contains(s.from.Statuses, resp.StatusCode):
		return &StatusError{resp.StatusCode}
	case err == nil:
		return nil
	case c.last == failedByRace, c.last == failedForGood, c.last == failedRefused,
		canceled(c.given) != nil, c.u.t.cut.Load():
		return uncounted{err}
	}
	return err
}
