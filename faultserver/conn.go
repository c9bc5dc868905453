package faultserver

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// conn is one accepted connection, whatever protocol it turns out to speak: its
// books, its idleness, its end.
type conn struct {
	srv    *Server
	id     int64
	raw    net.Conn // a *socket, never reassigned
	row    *connRow
	opened time.Time
	ctx    context.Context // canceled when the connection is shut
	cancel context.CancelFunc
	proto  protoSet // assigned before the first request, never reassigned
	struck plan     // at acceptance; assigned before serve, never reassigned
	judged bool     // acceptFaults has been; guarded by Server.shaping

	mu        sync.Mutex // guards what follows; never held during I/O
	unblocked *sync.Cond // state left speaking
	state     connState
	nc        net.Conn   // raw, or TLS over it
	http2     *http2Conn // nil on HTTP/1
	draining  bool
	abrupt    bool // ends without a close_notify
	unheard   bool // the server has sent its FIN and reads on
	requests  int
	last      *http.Request // the last request begun, for the idle faults
	idle      idleWatch
}

// connState says whose turn it is on a connection. HTTP/2 is busy while a
// stream is open.
type connState uint8

const (
	fresh    connState = iota // nothing received yet
	idle                      // between requests
	speaking                  // idle, but the server is writing something unasked
	busy                      // a request is running
	shut                      // ended; the first to get here decides how
)

// closeHow is how the server ends a connection.
type closeHow uint8

const (
	// closeFIN is close(2): what arrives afterwards is answered with a RST.
	closeFIN closeHow = iota
	closeRST
	// closeLinger sends a FIN and reads on for a while, so that a request or
	// body crossing it does not draw a RST that would destroy the response.
	closeLinger
	// closeHalf sends a FIN and serves on, see conn.halfClose.
	closeHalf
	// closeAbandoned is what the kernel does for a process that has ended.
	closeAbandoned
	// closeSilent sends nothing, and answers nothing any more.
	closeSilent
	// closeForgotten sends nothing, and a RST to the client's next packet.
	closeForgotten
)

// lingerTime is how long closeLinger reads on, unless the ending says.
const lingerTime = time.Second

// ending is how and why a connection ends.
type ending struct {
	how    closeHow
	by     ClosedBy
	reason CloseReason
	fault  Kind
	wait   time.Duration // of an HTTP/2 connection between its last frame and the end
	linger time.Duration // 0: lingerTime
}

func finBecause(r CloseReason) ending { return ending{how: closeFIN, by: ServerFIN, reason: r} }

func lingerBecause(r CloseReason) ending { return ending{how: closeLinger, by: ServerFIN, reason: r} }

func finByFault(k Kind) ending {
	return ending{how: closeFIN, by: ServerFIN, reason: FaultStruck, fault: k}
}

func rstByFault(k Kind) ending {
	return ending{how: closeRST, by: ServerRST, reason: FaultStruck, fault: k}
}

// endOfRead says what a failed read means.
func endOfRead(err error) ending {
	switch {
	case errors.Is(err, io.EOF):
		return ending{by: ByClient, reason: ClientClosed}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
		return ending{by: ByClient, reason: ClientReset}
	}
	return finBecause(ProtocolError)
}

// shut ends the connection. The first call decides; later ones do nothing. The
// journal knows before the client can.
func (c *conn) shut(e ending) {
	c.mu.Lock()
	if c.state == shut {
		c.mu.Unlock()
		return
	}
	now := time.Now()
	var idleAge time.Duration
	if c.state == idle || c.state == speaking {
		idleAge = now.Sub(c.idle.since)
	}
	c.state = shut
	c.idle.stop()
	nc, h2 := c.nc, c.http2
	if c.abrupt {
		nc = c.raw
	}
	c.unblocked.Broadcast()
	c.mu.Unlock()

	c.srv.journal.change(func() {
		if c.row.ClosedBy != StillOpen { // half-closed before
			return
		}
		c.row.Closed, c.row.ClosedBy, c.row.Reason, c.row.Fault, c.row.IdleAge = now, e.by, e.reason, e.fault, idleAge
	})
	switch e.how {
	case closeFIN:
		if !c.part(nc) {
			c.srv.wg.Go(func() {
				nc.Close()
				c.srv.forget(c)
				c.over(h2)
			})
			return
		}
		c.srv.forget(c)
	case closeRST:
		c.abort()
		c.srv.forget(c)
	case closeLinger:
		c.srv.wg.Go(func() { c.linger(nc, cmp.Or(e.linger, lingerTime)) })
	default:
		c.leave(e)
		c.srv.forget(c)
	}
	c.over(h2)
}

// over is the last of shut, so that whoever waits for the context finds the
// deed done.
func (c *conn) over(h2 *http2Conn) {
	c.cancel()
	if h2 != nil {
		h2.die()
	}
}

// abort closes the connection with a RST where it can.
func (c *conn) abort() {
	switch nc := c.raw.(type) {
	case interface{ Abort() error }:
		nc.Abort()
	case *net.TCPConn:
		nc.SetLinger(0)
	}
	c.raw.Close()
}

func (c *conn) linger(nc net.Conn, long time.Duration) {
	defer c.srv.forget(c)
	defer c.raw.Close()
	end := time.AfterFunc(long, func() { c.raw.Close() })
	defer end.Stop()
	if t, ok := nc.(*tls.Conn); ok {
		t.CloseWrite() // close_notify only
	}
	half, ok := c.raw.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	io.Copy(io.Discard, c.raw)
}

// serve carries the connection from its first byte to its end.
func (c *conn) serve() {
	var state *tls.ConnectionState
	if c.srv.set.tls != nil {
		var ok bool
		if state, ok = c.handshake(); !ok {
			return
		}
	}
	in := &headLimiter{src: c.nc, left: unlimited}
	if c.srv.set.character.drop != noDrop {
		in.src = flowReader{c, c.nc}
	}
	br := bufio.NewReaderSize(in, 4096)
	isHTTP2, err := c.speaksHTTP2(br, state)
	if c.struck.has(ALPNMismatch) {
		isHTTP2 = !isHTTP2
	}
	switch {
	case err != nil:
		c.shut(endOfRead(err))
	case isHTTP2:
		c.setProto(onHTTP2, "HTTP/2.0")
		serveHTTP2(c, br, state)
	default:
		c.setProto(onHTTP1, "HTTP/1.1")
		serveHTTP1(c, br, in, state)
	}
}

func (c *conn) setProto(p protoSet, name string) {
	c.proto = p
	c.srv.journal.change(func() { c.row.Proto = name })
}

// speaksHTTP2 asks ALPN under TLS, else looks at the first bytes: no HTTP/1
// request begins like HTTP/2's preface.
func (c *conn) speaksHTTP2(br *bufio.Reader, state *tls.ConnectionState) (bool, error) {
	switch {
	case state != nil:
		return state.NegotiatedProtocol == "h2", nil
	case !c.srv.set.http2:
		return false, nil
	case !c.srv.set.http1:
		return true, nil
	}
	const unmistakable = "PRI "
	for n := 1; n <= len(unmistakable); n++ {
		begin, err := br.Peek(n)
		if err != nil {
			return false, err
		}
		if !strings.HasPrefix(unmistakable, string(begin)) {
			return false, nil
		}
	}
	return true, nil
}

// markDraining makes the next response the last, in most personalities, and
// returns what the connection was doing.
func (c *conn) markDraining() connState {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	return c.state
}

func (c *conn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// headLimiter bounds what a request's head may take: http.ReadRequest does not.
type headLimiter struct {
	src  io.Reader
	left int64
	host hostWatch // of the head that is being read
}

const (
	maxHead   = 1 << 20
	unlimited = 1<<63 - 1
)

var errHeadTooLarge = errors.New("faultserver: request head too large")

func (l *headLimiter) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errHeadTooLarge
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.src.Read(p)
	if l.left != unlimited {
		l.left -= int64(n)
	}
	l.host.see(p[:n])
	return n, err
}
