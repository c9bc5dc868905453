package faultserver

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// freshGrace is how long a connection that has not carried a request may take
// to send its first one while the server drains: such a request may be on its
// way already.
const freshGrace = time.Second

// Drain ends every connection that is open now, in the way of the personality,
// see [PersonalityDescription.Shutdown]; without one gracefully: idle HTTP/1
// ones are closed at once, busy ones after their answer, which says Connection:
// close; ones without a request yet get a second for it; HTTP/2 ones get a
// two-step GOAWAY. Some personalities take minutes for it, which TimeScale
// shortens. It waits until all have ended, or returns an error that wraps the
// context's and leaves the rest draining. New connections are served as ever,
// for the listener stays open.
func (s *Server) Drain(ctx context.Context) error {
	return await(ctx, beginDrain(s.snapshot()))
}

// Restart is a graceful restart: every connection accepted from now on belongs
// to the next generation, and those of the last drain in the background as with
// Drain. The listener never closes.
func (s *Server) Restart() {
	s.mu.Lock()
	s.generation++
	old := s.connsLocked()
	s.mu.Unlock()
	beginDrain(old)
}

// beginDrain marks all before it closes any: a client that sees one end may
// rely on every other's next response saying so.
func beginDrain(conns []*conn) []*conn {
	var atWork []*conn
	for _, c := range conns {
		if c.markDraining() == busy {
			atWork = append(atWork, c)
		}
	}
	for _, c := range conns {
		c.drain(atWork)
	}
	return conns
}

func await(ctx context.Context, conns []*conn) error {
	for i, c := range conns {
		select {
		case <-c.ctx.Done():
		case <-ctx.Done():
			return fmt.Errorf("faultserver: drain: %d of %s may still be open: %w", len(conns)-i, count(len(conns), "connection"), ctx.Err())
		}
	}
	return nil
}

// Kill drops every connection at once, with a RST where the connection can send
// one, as a firewall or an impatient operator does. The listener stays open.
// Requests that are running have their context canceled. What a killed process
// does is Crash.
func (s *Server) Kill() {
	for _, c := range s.snapshot() {
		c.shut(ending{how: closeRST, by: Killed, reason: ServerKilled})
		c.abort() // one that is lingering is not spared either
	}
	for _, sock := range s.takeLate() {
		sock.Abort()
	}
}

// Close closes the listener and every connection, and waits until all of the
// server's goroutines, and with them all handlers, have ended. It may be called
// repeatedly.
func (s *Server) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	var err error
	if first {
		close(s.stop)
		for _, e := range s.endpoints {
			err = errors.Join(err, e.close())
		}
		if s.control != nil {
			s.control.Close()
		}
		for _, c := range s.snapshot() {
			c.shut(ending{how: closeFIN, by: ServerFIN, reason: ServerClosed})
			c.raw.Close()
		}
		s.endLeftovers()
	}
	s.wg.Wait()
	if p, ok := s.set.handler.(*ProxyHandler); ok {
		p.Close()
	}
	s.clientOnce.Do(func() {})
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	return err
}
