package interop

import (
	"context"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// anyHTTP1 is HTTP/1 with and without TLS.
var anyHTTP1 = []proto{http1, https}

// only returns a fault that strikes the requests to /.
func only(f faultserver.Fault) faultserver.Fault {
	f.Path = "/"
	return f
}

// met lets srv have an idle connection, provokes a fault on it with a request,
// and sees in the journal how often the request came.
func (s *side) met(fault faultserver.Fault, method, body string, times int) error {
	fault.ReusedOnly = true
	srv := s.start(nil, only(fault))
	s.warm(srv.URL)
	err := s.fail(s.request(method, srv.URL+"/", body))
	s.sees(srv, times)
	return err
}

// fresh provokes a fault on a new connection.
func (s *side) fresh(fault faultserver.Fault, method, body string, times int) error {
	srv := s.start(nil, only(fault))
	err := s.fail(s.request(method, srv.URL+"/", body))
	s.sees(srv, times)
	return err
}

// sees asserts how often srv got a request to /.
func (s *side) sees(srv *faultserver.Server, times int) {
	count := func() (n int) {
		for _, r := range srv.Journal().Requests() {
			if r.Path == "/" {
				n++
			}
		}
		return n
	}
	srv.Journal().Wait(s.soon(), func() bool { return count() >= times })
	require.Equal(s, times, count(), "requests that came\n%s", srv.Journal().Summary())
	srv.Journal().AssertNoneExecutedTwice(s, "POST", "PATCH")
}

// onceOrTwice is for requests that idlewise repeats and net/http does not.
func (s *side) onceOrTwice() int {
	if s.ours {
		return 2
	}
	return 1
}

const repeated = "idempotent by its method, so idlewise sends it again; net/http repeats GET, HEAD, OPTIONS and TRACE only"

var (
	finAfter = faultserver.Fault{Kind: faultserver.FinAfterRequest}
	rstAfter = faultserver.Fault{Kind: faultserver.RstAfterRequest}
)

var failuresOfConnections = []failure{
	{name: "the server ends a reused connection, POST", over: anyHTTP1, provoke: func(s *side) error {
		return s.met(finAfter, "POST", "body", 1)
	}},
	{name: "the server resets a reused connection, POST", over: anyHTTP1, provoke: func(s *side) error {
		return s.met(rstAfter, "POST", "body", 1)
	}},
	{name: "the server executes and resets on a reused connection, PATCH", provoke: func(s *side) error {
		return s.met(faultserver.Fault{Kind: faultserver.RstAfterRequest, Executed: true}, "PATCH", "body", 1)
	}},
	{name: "the server ends a reused connection, PUT", over: anyHTTP1, remedied: repeated, provoke: func(s *side) error {
		return s.met(finAfter, "PUT", "body", s.onceOrTwice())
	}},
	{name: "the server ends a reused connection, DELETE", remedied: repeated, provoke: func(s *side) error {
		return s.met(finAfter, "DELETE", "", s.onceOrTwice())
	}},
	{name: "the server ends a reused connection, PUT that cannot be repeated", provoke: func(s *side) error {
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.FinAfterRequest, ReusedOnly: true}))
		s.warm(srv.URL)
		err := s.fail(s.once("PUT", srv.URL+"/", "body"))
		s.sees(srv, 1)
		return err
	}},
	{name: "the server ends a reused connection and the next, GET", over: anyHTTP1, provoke: func(s *side) error {
		srv := s.start(nil, only(finAfter))
		s.warm(srv.URL)
		err := s.fail(s.request("GET", srv.URL+"/", ""))
		s.sees(srv, 2)
		return err
	}},
	{name: "the server resets a reused connection and the next, GET", provoke: func(s *side) error {
		srv := s.start(nil, only(rstAfter))
		s.warm(srv.URL)
		err := s.fail(s.request("GET", srv.URL+"/", ""))
		s.sees(srv, 2)
		return err
	}},
	{name: "the server ends a reused connection and resets the next, GET", provoke: func(s *side) error {
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.FinAfterRequest, Times: 1}), only(rstAfter))
		s.warm(srv.URL)
		return s.fail(s.request("GET", srv.URL+"/", ""))
	}},
	{name: "the server ends a reused connection and cuts the next in mid-header, GET", provoke: func(s *side) error {
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.FinAfterRequest, Times: 1}), only(faultserver.Fault{Kind: faultserver.CloseInHeaders}))
		s.warm(srv.URL)
		return s.fail(s.request("GET", srv.URL+"/", ""))
	}},
	{name: "the server resets a reused connection and refuses the next, GET", provoke: func(s *side) error {
		closed := s.closedPort()
		s.dialing(func(ctx context.Context, number int, addr string) (net.Conn, error) {
			if number > 1 {
				addr = closed
			}
			return dialTCP(ctx, addr)
		})
		return s.met(rstAfter, "GET", "", 1)
	}},
	{name: "the server ends a reused connection and the next dial times out, GET", provoke: func(s *side) error {
		s.dialing(func(ctx context.Context, number int, addr string) (net.Conn, error) {
			d := net.Dialer{}
			if number > 1 {
				d.Timeout = 1 // ns
			}
			return d.DialContext(ctx, "tcp", addr)
		})
		return s.met(finAfter, "GET", "", 1)
	}},

	{name: "the server ends a new connection, GET", over: anyHTTP1, provoke: func(s *side) error { return s.fresh(finAfter, "GET", "", 1) }},
	{name: "the server ends a new connection, POST", over: anyHTTP1, provoke: func(s *side) error { return s.fresh(finAfter, "POST", "body", 1) }},
	{name: "the server resets a new connection, GET", over: anyHTTP1, provoke: func(s *side) error { return s.fresh(rstAfter, "GET", "", 1) }},
	{name: "the server resets a new connection, POST", provoke: func(s *side) error { return s.fresh(rstAfter, "POST", "body", 1) }},

	{name: "closed in the status line", over: anyHTTP1, provoke: func(s *side) error {
		return s.fresh(faultserver.Fault{Kind: faultserver.CloseInStatusLine}, "GET", "", 1)
	}},
	{name: "closed in mid-header", over: anyHTTP1, provoke: func(s *side) error {
		return s.fresh(faultserver.Fault{Kind: faultserver.CloseInHeaders}, "POST", "body", 1)
	}},
	{name: "closed in mid-header, reused, GET", provoke: func(s *side) error {
		return s.met(faultserver.Fault{Kind: faultserver.CloseInHeaders}, "GET", "", 1)
	}},
	{name: "closed in mid-header, reused, POST", over: anyHTTP1, provoke: func(s *side) error {
		return s.met(faultserver.Fault{Kind: faultserver.CloseInHeaders}, "POST", "body", 1)
	}},
	{name: "closed in mid-body", over: []proto{http1, https, http2, h2c}, provoke: func(s *side) error {
		return s.ending(nil).fresh(faultserver.Fault{Kind: faultserver.CloseInBody, Bytes: 3}, "GET", "", 1)
	}},
	{name: "closed in mid-body, reused, POST", over: []proto{http1, https, http2, h2c}, provoke: func(s *side) error {
		return s.ending(nil).met(faultserver.Fault{Kind: faultserver.CloseInBody, Bytes: 3}, "POST", "body", 1)
	}},
	{name: "killed in mid-body", provoke: func(s *side) error {
		addr := s.listen(func(c net.Conn) {
			io.ReadFull(c, make([]byte, 20))
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
			ack := make([]byte, 1024)
			for {
				n, err := c.Read(ack)
				if err != nil || string(ack[:n]) == "read" {
					break
				}
			}
		})
		// The connection's own Read gives the reset, so that it is certain to
		// come after the part.
		s.dialing(func(ctx context.Context, _ int, _ string) (net.Conn, error) {
			c, err := dialTCP(ctx, addr)
			return &brittle{Conn: c, readsUntilReset: 1}, err
		})
		return s.fail(s.request("GET", "http://"+addr+"/", ""))
	}},

	{name: "a write fails with EPIPE on a new connection, long POST", provoke: func(s *side) error { return s.brokenPipe(false) }},
	{name: "a write fails with EPIPE on a reused connection, long POST", provoke: func(s *side) error { return s.brokenPipe(true) }},
	{name: "the connection was closed under the program's feet", provoke: func(s *side) error {
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.NeverAnswer}))
		var c atomic.Pointer[net.Conn]
		s.dialing(func(ctx context.Context, _ int, addr string) (net.Conn, error) {
			nc, err := dialTCP(ctx, addr)
			c.Store(&nc)
			return nc, err
		})
		failed := make(chan error, 1)
		go func() { failed <- s.fail(s.request("POST", srv.URL+"/", "body")) }()
		require.NoError(s, srv.Journal().Wait(s.soon(), func() bool { return len(srv.Journal().Requests()) == 1 }))
		(*c.Load()).Close()
		return <-failed
	}},
}

// brokenPipe sends a POST of which the kernel does not take the end.
func (s *side) brokenPipe(reused bool) error {
	srv := s.start(nil)
	var broken atomic.Bool
	s.dialing(func(ctx context.Context, _ int, addr string) (net.Conn, error) {
		c, err := dialTCP(ctx, addr)
		return &brittle{Conn: c, broken: &broken}, err
	})
	if reused {
		s.warm(srv.URL)
	}
	broken.Store(true)
	return s.fail(s.request("POST", srv.URL+"/", string(make([]byte, 1<<20))))
}

// ending makes every connection end for its reader with err, or with io.EOF,
// however the server ends it. A server that closes while frames are on their
// way to it resets the connection, and the kernel tells of a reset the reader
// or the writer, by chance.
func (s *side) ending(err error) *side {
	s.dialing(func(ctx context.Context, _ int, addr string) (net.Conn, error) {
		c, dialErr := dialTCP(ctx, addr)
		if dialErr != nil {
			return nil, dialErr
		}
		return &certain{Conn: c, end: err}, nil
	})
	return s
}

type certain struct {
	net.Conn
	end    error
	closed atomic.Bool
}

func (c *certain) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	switch {
	case err == nil, c.closed.Load():
		return n, err
	case c.end == nil:
		return n, io.EOF
	}
	return n, &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", c.end)}
}

func (c *certain) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil && !c.closed.Load() {
		return len(p), nil // the reader will notice
	}
	return n, err
}

func (c *certain) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// A brittle connection fails as a kernel's does, at a certain point.
type brittle struct {
	net.Conn
	broken          *atomic.Bool // Write takes a little, then fails with EPIPE
	writes          int
	readsUntilReset int // after so many reads, ECONNRESET
}

func (b *brittle) Write(p []byte) (int, error) {
	if b.broken == nil || !b.broken.Load() {
		return b.Conn.Write(p)
	}
	if b.writes++; b.writes == 1 {
		return b.Conn.Write(p)
	}
	return 0, &net.OpError{Op: "write", Net: "tcp", Source: b.LocalAddr(), Addr: b.RemoteAddr(), Err: os.NewSyscallError("write", syscall.EPIPE)}
}

func (b *brittle) Read(p []byte) (int, error) {
	if b.broken != nil {
		return b.Conn.Read(p)
	}
	if b.readsUntilReset--; b.readsUntilReset < 0 {
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: b.LocalAddr(), Addr: b.RemoteAddr(), Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	}
	return b.Conn.Read(p)
}
