package faultserver

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// holdOf is what a kind that is in force at once does to an address.
func (k Kind) holdOf() (hold, bool) {
	switch k {
	case RefuseConnections:
		return refusing, true
	case FullBacklog:
		return overflowing, true
	case SilentListener:
		return deaf, true
	case PauseServer:
		return paused, true
	}
	return 0, false
}

// supports says what the server, its listener or its kernel lacks for a fault,
// if it could be put in force but never strike too.
func (s *Server) supports(f Fault) error {
	err := s.set.reach.supports(f)
	if err != nil {
		return err
	}
	switch f.Kind {
	case RefuseConnections, FullBacklog, SilentListener:
		var held []*endpoint
		if held, err = s.endpointsAt(f.Value); err != nil {
			return fmt.Errorf("fault %v: Value: %w", f.Kind, err)
		}
		h, _ := f.Kind.holdOf()
		for _, e := range held {
			err = errors.Join(err, e.supports(h))
		}
	case CrashOnRequest:
		err = s.canAll(refusing)
	case IdleVanish, VanishOnRequest:
		err = s.canConns(canDeafen, func(l any) bool { _, ok := l.(interface{ CanVanish() }); return ok })
	case IdleForget:
		err = s.canConns(canForget, func(l any) bool { _, ok := l.(interface{ CanForget() }); return ok })
	case Loss:
		err = s.canConns(canLose, func(any) bool { return false })
	}
	if err != nil {
		return fmt.Errorf("fault %v: %w", f.Kind, err)
	}
	return nil
}

func (s *Server) canAll(h hold) error {
	for _, e := range s.endpoints {
		if err := e.supports(h); err != nil {
			return err
		}
	}
	return nil
}

// canConns asks whether the connections can be treated so: those that package
// net accepts if the kernel can, others if their listener says that they can by
// itself.
func (s *Server) canConns(kernel func() error, can func(listener any) bool) error {
	for _, e := range s.endpoints {
		e.mu.Lock()
		ln := e.ln
		e.mu.Unlock()
		if can(ln) {
			continue
		}
		if _, ok := ln.(*net.TCPListener); !ok && ln != nil {
			return fmt.Errorf("the listener on %v is a %T, not a TCP socket", e.addr, ln)
		}
		if err := kernel(); err != nil {
			return err
		}
	}
	return nil
}

// endpointsAt returns those with that host, all for "".
func (s *Server) endpointsAt(host string) ([]*endpoint, error) {
	if host == "" {
		return s.endpoints, nil
	}
	var known []string
	for _, e := range s.endpoints {
		if h := hostOf(e.addr); h == host {
			return []*endpoint{e}, nil
		} else {
			known = append(known, h)
		}
	}
	return nil, fmt.Errorf("%q is not an address of the server; it has %s", host, strings.Join(known, ", "))
}

// beginOutage puts a fault in force that holds addresses, for its After or
// until the rule's undo is called. supports has been asked.
func (s *Server) beginOutage(r *rule) error {
	f := r.fault
	h, _ := f.Kind.holdOf()
	held, err := s.endpointsAt(f.Value)
	if err != nil {
		return err
	}
	if err := s.holdAll(held, h); err != nil {
		return err
	}
	// Not before: whoever reads of it may rely on it.
	s.journal.event(ServerEvent{Fault: f.Kind, What: OutageBegan, Address: f.Value})
	end := sync.OnceFunc(func() {
		s.rules.remove(r)
		s.releaseAll(held, h)
		s.journal.event(ServerEvent{Fault: f.Kind, What: OutageEnded, Address: f.Value})
	})
	r.undo = end
	if after := s.rules.delay(f); after > 0 {
		timer := time.AfterFunc(after, end)
		r.undo = func() {
			timer.Stop()
			end()
		}
	}
	return nil
}

// holdAll holds all or none.
func (s *Server) holdAll(held []*endpoint, h hold) error {
	if h == paused {
		s.pauses.add(1)
	}
	for i, e := range held {
		if err := e.hold(h); err != nil {
			s.releaseAll(held[:i], h)
			return err
		}
	}
	return nil
}

// releaseAll lets the addresses go. One whose port is taken meanwhile is tried
// again until it is free or the server closed; the first error is returned.
func (s *Server) releaseAll(held []*endpoint, h hold) error {
	if h == paused {
		s.pauses.add(-1)
	}
	var first error
	for _, e := range held {
		err := e.release(h)
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		}
		s.mu.Lock()
		if !s.closed {
			s.wg.Go(func() { s.retryListening(e) })
		}
		s.mu.Unlock()
	}
	return first
}

const listenRetry = 10 * time.Millisecond

func (s *Server) retryListening(e *endpoint) {
	for sleep(listenRetry, s.stop) && e.retry() != nil {
	}
}

// pauses counts the reasons for which the server is paused.
type pauses struct {
	gate *gate
	mu   sync.Mutex
	n    int
}

func (p *pauses) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n += n; p.n > 0 {
		p.gate.close()
	} else {
		p.gate.open()
	}
}
