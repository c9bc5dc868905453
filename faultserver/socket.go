package faultserver

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// socket is an accepted connection as the server uses it, with everything
// between it and the network: a pause of the server, latency and rates, and
// the ways of ending that net.Conn has not.
type socket struct {
	net.Conn // as accepted
	srv      *Server

	shape atomic.Pointer[shape] // nil: bytes pass as they are

	// ctx ends when the server is done with the connection, gone when nothing
	// of it is left, which latency may make later.
	ctx, gone      context.Context
	cancel, goAway context.CancelFunc

	// The network's own deadlines do not end what waits at the gate, in the
	// line or for a rate.
	readDeadline, writeDeadline deadline

	parting atomic.Bool // whoever writes does not wait at the gate, see conn.part

	mu      sync.Mutex    // guards what follows; never held during I/O
	rules   []*rule       // that shape it
	in, out *line         // nil until there is latency
	outDone chan struct{} // closed when nothing more comes out of out
	ended   bool          // by Close, Abort or a silent end
	parked  bool          // the socket below is kept by the server, in silence
}

func newSocket(nc net.Conn, srv *Server) *socket {
	s := &socket{Conn: nc, srv: srv}
	s.gone, s.goAway = context.WithCancel(context.Background())
	s.ctx, s.cancel = context.WithCancel(s.gone)
	return s
}

// NetConn returns the connection as it was accepted.
func (s *socket) NetConn() net.Conn { return s.Conn }

// Read waits while the server is paused, even for what it has already taken
// from the kernel.
func (s *socket) Read(p []byte) (int, error) {
	if !s.srv.gate.pass(s.ctx.Done()) {
		return 0, s.closedError("read")
	}
	if in := s.lineIn(); in != nil {
		n, err := in.take(p, s.ctx.Done(), s.readDeadline.expired())
		if errors.Is(err, net.ErrClosed) {
			err = s.closedError("read")
		}
		return n, err
	}
	n, err := s.readShaped(p)
	if !s.srv.gate.pass(s.ctx.Done()) {
		return 0, s.closedError("read")
	}
	return n, err
}

func (s *socket) Write(p []byte) (int, error) {
	expired := s.writeDeadline.expired()
	if !s.passToWrite(expired) || s.ctx.Err() != nil || isClosed(expired) {
		return 0, s.writeError(expired)
	}
	if out := s.lineOut(); out != nil {
		if err := out.put(p, s.dueAfter(), s.ctx.Done(), expired); err != nil {
			return 0, s.writeError(expired)
		}
		return len(p), nil
	}
	return s.writePaced(p, expired)
}

func (s *socket) passToWrite(expired <-chan struct{}) bool {
	if s.parting.Load() {
		return !s.srv.gate.isClosed()
	}
	return s.srv.gate.passBefore(s.ctx.Done(), expired)
}

// writeError is why a Write could not go on.
func (s *socket) writeError(expired <-chan struct{}) error {
	if s.ctx.Err() == nil && isClosed(expired) {
		return s.opError("write", os.ErrDeadlineExceeded)
	}
	return s.closedError("write")
}

func (s *socket) closedError(op string) error { return s.opError(op, net.ErrClosed) }

func (s *socket) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}

// SetDeadline sets both deadlines.
func (s *socket) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *socket) SetReadDeadline(t time.Time) error {
	s.readDeadline.set(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in != nil { // the line reads on
		return nil
	}
	return s.Conn.SetReadDeadline(t)
}

func (s *socket) SetWriteDeadline(t time.Time) error {
	s.writeDeadline.set(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out != nil { // the line writes on
		return nil
	}
	return s.Conn.SetWriteDeadline(t)
}

// end claims the end of the connection for the caller. What still waits in it
// is woken.
func (s *socket) end() (first bool) {
	s.mu.Lock()
	first = !s.ended
	s.ended = true
	s.mu.Unlock()
	s.cancel()
	return first
}

// Close ends the connection as close(2) does, behind what latency still holds
// and after what a SlowClose adds. A second call does nothing.
func (s *socket) Close() error {
	var late time.Duration
	if sh := s.shape.Load(); sh != nil {
		late = sh.slowClose
	}
	s.mu.Lock()
	out, first := s.out, !s.ended
	s.mu.Unlock()
	switch {
	case !first:
		s.end()
		return nil
	case out == nil && late == 0:
		return s.cut()
	}
	s.srv.leftovers.add(s)
	s.end()
	s.srv.wg.Go(func() { s.closeLate(late) })
	return nil
}

// cut is close(2) now.
func (s *socket) cut() error {
	s.end()
	s.goAway()
	return s.Conn.Close()
}

// Abort ends the connection at once with a RST where it can.
func (s *socket) Abort() error {
	s.end()
	return s.reset()
}

func (s *socket) reset() error {
	s.goAway()
	switch nc := s.Conn.(type) {
	case interface{ Abort() error }:
		nc.Abort()
	case interface{ SetLinger(int) error }:
		nc.SetLinger(0)
	}
	return s.Conn.Close()
}

// CloseWrite sends a FIN behind what latency still holds.
func (s *socket) CloseWrite() error {
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	if out := s.lineOut(); out != nil {
		out.end(io.EOF, s.dueAfter())
		return nil
	}
	return half.CloseWrite()
}

// SyscallConn is the accepted connection's.
func (s *socket) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := s.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// vanish leaves the client without a word: from now on nothing it sends is
// acknowledged or answered. A socket that can do that itself, such as one in
// memory, has a method Vanish() error.
func (s *socket) vanish() error {
	s.end()
	s.goAway()
	if v, ok := s.Conn.(interface{ Vanish() error }); ok {
		return v.Vanish()
	}
	nc, ok := s.Conn.(*net.TCPConn)
	if !ok {
		return errNotTCP
	}
	if err := deafen(nc, true); err != nil {
		return err
	}
	nc.SetKeepAlive(false) // a probe would be a sign of life
	s.mu.Lock()
	s.parked = true
	s.mu.Unlock()
	s.srv.leftovers.add(s)
	return nc.SetDeadline(time.Unix(1, 0)) // whoever reads gives up
}

// forget closes the connection without a word: the client's next packet is
// answered with a RST. A socket that can do that itself has a method
// Forget() error.
func (s *socket) forget() error {
	s.end()
	s.goAway()
	switch nc := s.Conn.(type) {
	case interface{ Forget() error }:
		return nc.Forget()
	case *net.TCPConn:
		return forget(nc)
	}
	return errNotTCP
}

var errNotTCP = errors.New("not a TCP connection")

func (s *socket) isParked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parked
}

// leftovers are the sockets whose connection has ended for the server but which
// are still there for the client.
type leftovers struct {
	mu   sync.Mutex
	left map[*socket]struct{}
}

func (l *leftovers) add(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == nil {
		l.left = make(map[*socket]struct{})
	}
	l.left[s] = struct{}{}
}

func (l *leftovers) remove(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.left, s)
}

// take returns and forgets those that which wants.
func (l *leftovers) take(which func(*socket) bool) []*socket {
	l.mu.Lock()
	defer l.mu.Unlock()
	var taken []*socket
	for s := range l.left {
		if which(s) {
			taken = append(taken, s)
			delete(l.left, s)
		}
	}
	return taken
}
