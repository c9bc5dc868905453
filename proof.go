package idlewise

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// A capture keeps a connection's socket open after net/http has closed it, and
// what the kernel showed of its end, for the attempts that want to know what
// became of their requests.
//
// Trap: net/http closes a connection that failed before RoundTrip returns the
// error, under a lock that ClientConn.Available takes. So Close must neither
// block nor destroy the evidence: it parks the socket, and the last of the
// attempts closes it. A parked connection counts as open.
type capture struct {
	mu      sync.Mutex
	holders int  // attempts that want the socket kept
	parked  bool // Close was called meanwhile
	shown   shown
}

// shown is what was seen of a connection's end, as it was seen: the kernel
// tells some of it only once.
type shown struct {
	closeWait bool  // the state was CLOSE_WAIT: the peer's FIN came, and no RST before it
	pending   error // SO_ERROR in state CLOSE, which reading it clears
	failed    error // the first error of a Write, which may have been SO_ERROR
}

// A holding is one attempt's part in a capture.
type holding struct {
	t      *tracked // nil: nothing is held
	before uint64   // bytes that were written on the connection before the attempt
}

// keep keeps t's socket open until release is called. The attempt has not begun.
func (t *tracked) keep() holding {
	t.capture.mu.Lock()
	t.capture.holders++
	t.capture.mu.Unlock()
	return holding{t, uint64(t.written.Load())}
}

// release lets the socket be closed, now if net/http has called Close already.
func (h holding) release() {
	if h.t == nil {
		return
	}
	c := &h.t.capture
	c.mu.Lock()
	c.holders--
	due := c.parked && c.holders == 0
	if due {
		c.parked = false
	}
	c.mu.Unlock()
	if due {
		h.t.closeSocket()
	}
}

// longAgo makes pending and later calls on a connection fail.
var longAgo = time.Unix(1, 0)

// park is Close for a connection that is held, and reports whether it is.
func (t *tracked) park() bool {
	c := &t.capture
	c.mu.Lock()
	c.parked = c.holders > 0
	parked := c.parked
	c.mu.Unlock()
	if parked {
		t.latch()
		t.Conn.SetDeadline(longAgo)
	}
	return parked
}

// asClosed returns the error of a call that park made fail as Close would have:
// net.ErrClosed in the place of the deadline's.
func (t *tracked) asClosed(err error) error {
	if !t.gone.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	op, ok := err.(*net.OpError)
	if !ok {
		return net.ErrClosed
	}
	closed := *op
	closed.Err = t.asClosed(op.Err)
	return &closed
}

// noteEnd keeps what a failed Read or Write leaves to be seen, if anybody wants
// to know.
func (t *tracked) noteEnd(written error) {
	c := &t.capture
	c.mu.Lock()
	held := c.holders > 0
	if held && written != nil && c.shown.failed == nil {
		c.shown.failed = written
	}
	c.mu.Unlock()
	if held {
		t.latch()
	}
}

// latch looks at the socket. It reports false where the kernel does not tell.
func (t *tracked) latch() (tcpinfo.Info, bool) {
	info, ok := tcpinfo.Of(t.Conn)
	if !ok {
		return info, false
	}
	c := &t.capture
	c.mu.Lock()
	defer c.mu.Unlock()
	switch info.State {
	case tcpinfo.CloseWait:
		c.shown.closeWait = true
	case tcpinfo.Close:
		if pending, ok := tcpinfo.TakeError(t.Conn); ok && c.shown.pending == nil {
			c.shown.pending = pending
		}
	}
	return info, true
}

// findings are what is known about a request whose connection has ended.
type findings struct {
	info     tcpinfo.Info
	known    bool // the kernel told; nothing of info counts otherwise
	writing  bool // a Write runs, whose bytes the kernel may have counted already
	shown    shown
	before   uint64 // bytes written on the connection before the request
	written  uint64 // and in all
	answered bool   // a byte came that can belong to a response
}

// undelivered reports whether it is proven that no byte of the request reached
// the server's kernel before the server had closed the connection. All six
// conditions must hold; docs/evidence.md says why each.
func (f findings) undelivered() bool {
	return f.known && !f.writing && // 1. a TCP connection whose kernel keeps these books
		!f.answered && // 2.
		f.finFirst() && // 3.
		f.resetAfter() && // 4.
		f.acked() <= f.before && // 5. nothing of the request was acknowledged
		f.acked()+f.info.Queued == f.written // 6. and the books balance
}

// acked is how many of the bytes written were acknowledged: Linux counts the
// SYN, too.
func (f findings) acked() uint64 {
	if f.info.Acked == 0 {
		return f.written + 1 // not even the SYN: no such connection, nothing is proven
	}
	return f.info.Acked - 1
}

// finFirst reports whether the server's FIN came before its RST. The state was
// seen in between, or the error says so: a RST leaves EPIPE on a connection that
// had received a FIN, and ECONNRESET on one that had not. What a Read or Write
// returned proves nothing: a RST alone reads as io.EOF when another call has
// consumed the error, and over TLS the FIN is never read.
func (f findings) finFirst() bool {
	return f.shown.closeWait || f.shown.pending == syscall.EPIPE
}

// resetAfter reports whether the connection was ended by a RST behind the FIN,
// and not by a time-out or by this machine. The RST's error may have been
// consumed by the first Write that failed.
func (f findings) resetAfter() bool {
	if f.info.State != tcpinfo.Close {
		return false
	}
	if f.shown.pending != nil {
		return f.shown.pending == syscall.EPIPE
	}
	return errors.Is(f.shown.failed, syscall.EPIPE)
}

// hopeless reports whether it is certain that undelivered will not come true.
func (f findings) hopeless(tls bool) bool {
	switch {
	case f.writing:
		return false
	case !f.known, f.answered, f.acked() > f.before:
		return true
	}
	switch f.info.State {
	case tcpinfo.CloseWait:
		return false
	case tcpinfo.Close:
		return true // nothing changes any more
	case tcpinfo.Established:
		return !tls // the FIN comes behind the server's close_notify
	}
	return true
}

// The wait for the RST: it comes a round trip after the request met the closed
// socket.
const (
	minProofWait = 400 * time.Millisecond
	minProofLook = 200 * time.Microsecond
	maxProofLook = 5 * time.Millisecond
)

// prove finds out whether the request that the holding began with is proven to
// be undelivered, now that net/http has given its connection up. It waits for
// the server's RST, but for no more than max(3·RTT, 400 ms) and no longer than
// sleep lets it, whose error it returns. No lock is held.
func (h holding) prove(rtt time.Duration, sleep func(time.Duration) error) (bool, error) {
	if h.t == nil {
		return false, nil
	}
	began := time.Now()
	look := time.Duration(0)
	for {
		f := h.look()
		if f.undelivered() {
			return true, nil
		}
		if f.info.RTT > 0 {
			rtt = f.info.RTT // a dial is slow also where a SYN was lost
		}
		if f.hopeless(!h.t.plain) || time.Since(began) >= max(3*rtt, minProofWait) {
			return false, nil
		}
		if look == 0 {
			look = min(max(rtt/8, minProofLook), maxProofLook)
		}
		if err := sleep(look); err != nil {
			return false, err
		}
		look = min(look+look/4, maxProofLook)
	}
}

// look finds what is known now.
func (h holding) look() findings {
	t := h.t
	f := findings{before: h.before, answered: t.plain && t.got.Load() > 0}
	f.info, f.known = t.latch()
	t.capture.mu.Lock()
	f.shown = t.capture.shown
	t.capture.mu.Unlock()
	// Both after the look: what the kernel had counted then is counted here, too.
	f.writing = t.writes.Load() > 0
	f.written = uint64(t.written.Load())
	return f
}
