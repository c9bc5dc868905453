package faultserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// outage is what Resume has to undo.
type outage struct {
	mu     sync.Mutex // held from one end of an operation to the other
	paused bool
	down   bool // Stop or Crash
	dark   bool // Vanish
}

// Pause makes the server do nothing, as a stopped process (SIGSTOP) or one in a
// long garbage collection: it neither reads nor writes nor accepts, and no
// timeout of its own strikes. The kernel goes on: it acknowledges what is sent
// until its buffers are full, and completes connections until its queue is. A
// handler that runs goes on too but is not heard.
//
// Kill, Crash and Close work on a paused server, and an idle connection that
// drains ends at once, under TLS without a close_notify. A second Pause does
// nothing.
func (s *Server) Pause() {
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	if s.outage.paused {
		return
	}
	s.outage.paused = true
	s.journal.event(ServerEvent{What: ServerPaused})
	s.holdAll(s.endpoints, paused)
}

// Stop is a graceful end, as a server's at SIGTERM: nobody listens any more, so
// that connections are refused, and those that are open drain as with Drain.
// When the context ends first, the rest is dropped as by Crash, and the error
// wraps the context's. Resume listens again.
//
// It fails, and changes nothing, if the listener could not be made again, see
// Config.Listen.
func (s *Server) Stop(ctx context.Context) error {
	conns, err := s.goDown(ServerEvent{What: ServerStopped})
	if err != nil {
		return err
	}
	err = await(ctx, beginDrain(conns))
	if err != nil {
		s.dropAll(conns, StopTimeout)
	}
	return err
}

// Crash ends the server as a killed process ends: nobody listens any more, and
// every connection is closed by the kernel, with a FIN, or, where something had
// been received that was not read, with a RST. There is no close_notify, no
// GOAWAY, and no answer is completed. Requests that run have their context
// canceled. Resume listens again; RestartAbruptly does both.
//
// It fails, and changes nothing, if the listener could not be made again, see
// Config.Listen.
func (s *Server) Crash() error {
	conns, err := s.goDown(ServerEvent{What: ServerCrashed})
	if err != nil {
		return err
	}
	s.dropAll(conns, ProcessCrashed)
	return nil
}

// RestartAbruptly crashes the server as Crash does, waits for the gap, and
// listens again, with the next generation of connections. If the context ends
// first, the server stays down and the error wraps the context's.
func (s *Server) RestartAbruptly(ctx context.Context, gap time.Duration) error {
	if err := s.Crash(); err != nil {
		return err
	}
	if !sleep(gap, ctx.Done()) {
		return fmt.Errorf("faultserver: restart: the server is down: %w", ctx.Err())
	}
	return s.Resume()
}

// Vanish makes the server disappear as a machine does whose power fails: no FIN,
// no RST, nothing is acknowledged, no SYN is answered. After Resume new
// connections are served; the old ones stay silent where the kernel does not
// let them be forgotten (see IdleForget), else the client's next packet draws a
// RST, as from a machine that is up again.
//
// It fails, and changes nothing, unless the server listens on TCP sockets and
// the kernel is Linux.
func (s *Server) Vanish() error {
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	if s.outage.dark {
		return nil
	}
	if err := errors.Join(s.canAll(deaf), s.supports(Fault{Kind: IdleVanish})); err != nil {
		return fmt.Errorf("faultserver: vanish: %w", err)
	}
	s.journal.event(ServerEvent{What: ServerVanished})
	if err := s.holdAll(s.endpoints, deaf); err != nil {
		return err
	}
	s.holdAll(s.endpoints, paused) // what the queue still holds waits
	s.outage.dark = true
	for _, c := range s.nextGeneration() {
		c.shut(ending{how: closeSilent, by: BySilence, reason: MachineVanished})
	}
	for _, sock := range s.takeLate() {
		sock.vanish()
	}
	return nil
}

// Resume undoes Pause, Stop, Crash and Vanish: the server reads, writes, accepts
// and listens again. It does nothing to a server that does all that, and
// nothing about faults. It fails if somebody else has taken the port; the server
// then goes on trying until it is closed.
func (s *Server) Resume() error {
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	o := &s.outage
	if !o.paused && !o.down && !o.dark {
		return nil
	}
	s.journal.event(ServerEvent{What: ServerResumed})
	var err error
	if o.dark {
		o.dark = false
		s.forgetParked()
		err = errors.Join(err, s.releaseAll(s.endpoints, deaf))
		s.releaseAll(s.endpoints, paused)
	}
	if o.down {
		o.down = false
		s.setDown(false)
		err = errors.Join(err, s.releaseAll(s.endpoints, refusing))
	}
	if o.paused {
		o.paused = false
		s.releaseAll(s.endpoints, paused)
	}
	return err
}

// goDown stops listening and returns the connections that are open.
func (s *Server) goDown(event ServerEvent) ([]*conn, error) {
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	if s.outage.down { // a crash may follow a stop
		s.journal.event(event)
		return s.snapshot(), nil
	}
	if err := s.canAll(refusing); err != nil {
		return nil, fmt.Errorf("faultserver: %w", err)
	}
	s.journal.event(event)
	if event.What == ServerStopped {
		// Whoever is refused may rely on every later answer being a last one.
		for _, c := range s.snapshot() {
			c.markDraining()
		}
	}
	if err := s.holdAll(s.endpoints, refusing); err != nil {
		return nil, err
	}
	s.outage.down = true
	s.setDown(true)
	return s.nextGeneration(), nil
}

// setDown makes the server drop what was accepted but is not in the books yet.
func (s *Server) setDown(down bool) {
	s.mu.Lock()
	s.down = down
	s.mu.Unlock()
}

// nextGeneration begins the next generation and returns the connections of the
// last.
func (s *Server) nextGeneration() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	return s.connsLocked()
}

// dropAll closes connections as the kernel does for a process that ends.
func (s *Server) dropAll(conns []*conn, why CloseReason) {
	for _, c := range conns {
		c.shut(ending{how: closeAbandoned, by: Killed, reason: why})
		c.raw.(*socket).cut() // one that is lingering is not spared either
	}
	for _, sock := range s.takeLate() {
		sock.cut()
	}
}

// takeLate returns the sockets whose end was decided but is still to come.
func (s *Server) takeLate() []*socket {
	return s.leftovers.take(func(s *socket) bool { return !s.isParked() })
}

// forgetParked ends the silence of vanished connections where it can be done
// without a packet.
func (s *Server) forgetParked() {
	for _, sock := range s.leftovers.take((*socket).isParked) {
		if sock.forget() != nil {
			s.leftovers.add(sock)
		}
	}
}

// endLeftovers is for Close. What was silent ends with a RST: a FIN would wait
// for an acknowledgement that the kernel drops.
func (s *Server) endLeftovers() {
	for _, sock := range s.takeLate() {
		sock.cut()
	}
	for _, sock := range s.leftovers.take((*socket).isParked) {
		sock.reset()
	}
}

// leave ends a connection in one of the ways that net.Conn has not. If a silent
// one fails, which the check before the fault does not foresee, the client gets
// a RST, and the journal says so.
func (c *conn) leave(e ending) {
	sock := c.raw.(*socket)
	var err error
	switch e.how {
	case closeAbandoned:
		sock.cut()
	case closeSilent:
		err = sock.vanish()
	case closeForgotten:
		err = sock.forget()
	}
	if err != nil {
		sock.Abort()
		c.srv.journal.change(func() { c.row.ClosedBy = ServerRST })
	}
}

// awaitResume holds up a timer of the server's own while it is paused. It is
// false if the connection ended meanwhile.
func (c *conn) awaitResume() bool { return c.srv.gate.pass(c.ctx.Done()) }

// strikeOutage is for the faults of a request that silence its connection or
// end the server.
func (x *exchange) strikeOutage(f Fault) {
	defer func() { // a handler may end by runtime.Goexit
		x.readBody()
		if f.Kind == VanishOnRequest {
			x.c.shut(silenceByFault(f.Kind))
			return
		}
		x.c.crash(f)
	}()
	if f.Executed {
		x.w = newResponse(x)
		x.w.wire = lostWire{}
		x.execute(x.w)
	}
}

// crash crashes the server because of a request on this connection, for the
// fault's After, 0: until Resume.
func (c *conn) crash(f Fault) {
	s := c.srv
	conns, err := s.goDown(ServerEvent{What: ServerCrashed, Fault: f.Kind})
	c.shut(ending{how: closeAbandoned, by: Killed, reason: FaultStruck, fault: f.Kind})
	if err != nil {
		return // supports was asked when the fault was injected
	}
	s.dropAll(conns, ProcessCrashed)
	if after := s.rules.delay(f); after > 0 {
		s.wg.Go(func() {
			if sleep(after, s.stop) {
				s.Resume()
			}
		})
	}
}

func silenceByFault(k Kind) ending {
	return ending{how: closeSilent, by: BySilence, reason: FaultStruck, fault: k}
}
