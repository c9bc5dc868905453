package simulation

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

// A socket is the Transport's end of a connection. It sees what a kernel sees, and
// so can judge promises P2 and P5 without asking the Transport anything.
type socket struct {
	*memnet.Conn // also for its books
	server       *server
	dialed       time.Time // when its dial began

	mu       sync.Mutex
	closed   bool
	heardAt  time.Time // when bytes were read last, or a response's reader had its last chance to
	endedAt  time.Time // when a Read told that the server had ended the connection
	requests int       // heads written
	unasked  unasked
	wrote    map[string]int // of these, by the call's id
	last     bool           // a response said that it is the last
	hint     time.Duration  // the last Keep-Alive header's timeout
}

func (w *world) newSocket(s *server, c *memnet.Conn, dialed time.Time) net.Conn {
	sock := &socket{Conn: c, server: s, dialed: dialed, wrote: make(map[string]int)}
	w.sockets.Store(c.LocalAddr().String(), sock)
	w.count(func(r *Report) { r.Conns++ })
	if w.plan.Network.Blind {
		return blindSocket{sock, sock}
	}
	return sock
}

// A blindSocket does not tell what its kernel knows.
type blindSocket struct {
	net.Conn
	sock *socket
}

func (s *socket) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	err := s.Conn.Close()
	if first {
		s.server.conns.Add(-1)
	}
	return err
}

func (s *socket) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 0 {
		s.heardAt = time.Now()
		s.hearLocked(p[:n])
	}
	if err != nil && s.endedAt.IsZero() && !s.closed && !isTimeout(err) {
		s.endedAt = time.Now()
	}
	return n, err
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout()
}

func (s *socket) Write(p []byte) (int, error) {
	switch s.server.w.plan.Protocol {
	case H2C, TLSH2:
		return s.Conn.Write(p)
	case TLS:
		s.writeRecord(p)
		return s.Conn.Write(p)
	}
	id := requestID(p)
	if id == "" {
		return s.Conn.Write(p)
	}
	now := time.Now()
	wrong := s.tooLate(now)
	s.mu.Lock()
	s.requests++ // before: what is read while the call runs may be taken for the answer
	s.mu.Unlock()
	n, err := s.Conn.Write(p)
	s.mu.Lock()
	if n == 0 {
		s.requests--
	} else {
		s.wrote[id]++
		if s.unasked.meet(now) {
			s.server.crossed.Store(true)
		}
	}
	s.mu.Unlock()
	if n == 0 {
		return n, err
	}
	if wrong != "" {
		promise := "P2"
		if strings.Contains(wrong, "asked for") {
			promise = "P3"
		}
		s.server.w.violate(promise, "request %s was written on the connection from %v %s", id, s.LocalAddr(), wrong)
	}
	return n, err
}

// requestID returns the id of the call whose head p begins with, or "". net/http
// writes a head at the beginning of a Write.
func requestID(p []byte) string {
	line, _, ok := bytes.Cut(p, []byte(" HTTP/1.1\r\n"))
	if !ok || len(line) > 100 {
		return ""
	}
	_, id, ok := strings.Cut(string(line), " "+pathPrefix)
	if !ok {
		return ""
	}
	return id
}

// touched is called before a response's reader may take the last of it.
func (s *socket) touched() {
	s.mu.Lock()
	s.heardAt = time.Now()
	s.mu.Unlock()
}

// announced notes what a response said about its connection.
func (s *socket) announced(last bool, hint time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = s.last || last
	if hint > 0 {
		s.hint = hint
	}
}
