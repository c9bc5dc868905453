package idlewise

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// errUnsolicited is what the read loop gets instead of bytes that no request
// asked for.
//
// It is an io.EOF to those who ask: over TLS the data may be the server's
// goodbye.
var errUnsolicited error = unsolicitedError{}

type unsolicitedError struct{}

func (unsolicitedError) Error() string {
	return "idlewise: the server sent data that no request had asked for"
}

func (unsolicitedError) Unwrap() error { return io.EOF }

// errLate is what net/http gets when it would write a request too late.
var errLate = errors.New("idlewise: the connection had been idle for too long when the request was to be written")

// A stage says what the bytes on an HTTP/1 connection can belong to.
type stage int32

const (
	// stageSetup: dialing, proxy and TLS handshakes; nothing is judged.
	// HTTP/2 connections stay in it, since there unread data is normal.
	stageSetup stage = iota
	// stageFresh: it is set up, and about to get its first request. What comes
	// can only be meant for that one.
	stageFresh
	// stageQuiet: no request is in flight.
	stageQuiet
	// stageArmed: a request was announced to net/http, no byte of it written.
	stageArmed
	// stageBegun: a write of the request was begun.
	stageBegun
	// stageBarred: the request came too late to be written; nothing is.
	stageBarred
)

// An ending says how the peer, or we, ended a connection.
type ending int32

const (
	endNone ending = iota
	endFIN
	endRST
	endOther
)

// A tracked connection lies under net/http's ClientConn, and under TLS. It
// notices what ClientConn does not tell: whether any byte of a request was
// written, whether bytes came that no request asked for, how the connection
// ended, and when its socket is really closed.
//
// It adds no system call and takes no lock on the way of a request.
type tracked struct {
	net.Conn

	// onClose is assigned before the connection is used. It runs once, after
	// the socket was closed, perhaps under locks of net/http.
	onClose func()

	plain  bool // no TLS above; assigned before stage leaves stageSetup, read only after that
	isTCP  bool // Conn is exactly a *net.TCPConn or memnet's, whose counts can be trusted
	stage  atomic.Int32
	reused atomic.Bool // a response was received on it

	holding atomic.Pointer[chan struct{}] // closed when a request is begun, when none will be, or at Close
	inRead  atomic.Bool                   // a Read is entered and has not returned
	waiting atomic.Pointer[chan struct{}] // closed when a Read is entered, or at Close

	// How long a request may be written, assigned by arm for begin.
	lateAt  time.Time // zero: always
	armedAt time.Time
	doubt   bool // look again if that takes its time

	written atomic.Int64 // bytes accepted for writing, in all
	atArm   int64        // of these, what was before arm
	writes  atomic.Int32 // calls of Write and ReadFrom under way
	got     atomic.Int64 // bytes read since the request was begun

	tainted atomic.Bool  // TLS records came while nothing was asked for
	end     atomic.Int32 // ending, the first that was seen
	closed  sync.Once
	gone    atomic.Bool

	closedAt atomic.Pointer[time.Time] // when Close was first called

	capture capture
	signs   // of the peer's silence
}

// track wraps c. The result implements CloseWrite and CloseRead, which an
// upgraded connection is asked for, only where c does.
func track(c net.Conn) (net.Conn, *tracked) {
	t := &tracked{Conn: c, signs: signs{made: time.Now()}}
	_, t.isTCP = c.(tcpinfo.Accountant)
	if tcp, ok := c.(*net.TCPConn); ok {
		t.isTCP = true
		return &trackedTCP{t, tcp}, t
	}
	if hc, ok := c.(halfCloser); ok {
		return &trackedHalfCloser{t, hc}, t
	}
	return t, t
}

type halfCloser interface{ CloseWrite() error }

type trackedHalfCloser struct {
	*tracked
	half halfCloser
}

func (t *trackedHalfCloser) CloseWrite() error { return t.half.CloseWrite() }

type trackedTCP struct {
	*tracked
	tcp *net.TCPConn
}

func (t *trackedTCP) CloseWrite() error { return t.tcp.CloseWrite() }
func (t *trackedTCP) CloseRead() error  { return t.tcp.CloseRead() }

func (t *trackedTCP) SyscallConn() (syscall.RawConn, error) { return t.tcp.SyscallConn() }

// ReadFrom lets net/http use sendfile, or what else the connection has.
func (t *tracked) ReadFrom(r io.Reader) (int64, error) {
	conn, ok := t.Conn.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{t}, r)
	}
	if err := t.begin(); err != nil {
		return 0, err
	}
	t.writes.Add(1)
	n, err := conn.ReadFrom(r)
	return n, t.wrote(n, err)
}

func (t *tracked) Write(p []byte) (int, error) {
	if stage(t.stage.Load()) == stageArmed && !t.plain && isAlert(p) {
		// net/http gives the connection up, and crypto/tls says goodbye. That
		// is no request, and none is written after it.
		t.stage.Store(int32(stageBarred))
		t.letGo()
	} else if err := t.begin(); err != nil {
		return 0, err
	}
	t.writes.Add(1)
	n, err := t.Conn.Write(p)
	return n, t.wrote(int64(n), err)
}

// wrote enters a write in the books, and returns its error as net/http is to get
// it.
func (t *tracked) wrote(n int64, err error) error {
	t.written.Add(n)
	if err != nil {
		t.note(err)
		t.noteEnd(err)
		err = t.silent("write", t.asClosed(err))
	}
	t.writes.Add(-1)
	return err
}

// isAlert reports whether p, written by crypto/tls, is a single alert record.
// Up to TLS 1.2 the record says so. In TLS 1.3 it is disguised as data, but has
// a length that no request has: 2 bytes, their type and a tag of 16 (RFC 8446
// §5.2, §6), where the shortest request is 18 bytes long.
func isAlert(p []byte) bool {
	const header, alert, data = 5, 21, 23
	if len(p) < header || len(p) != header+(int(p[3])<<8|int(p[4])) {
		return false
	}
	return p[0] == alert || p[0] == data && len(p) == header+2+1+16
}

// begin marks the request as begun, before the system call: from then on it
// may have been delivered, whatever the call returns.
//
// It refuses a first write that comes too late. Between checkout and this
// moment the request went through net/http and to another goroutine, which on
// a busy machine can take longer than the margin. What was not written can be
// sent on another connection, whatever the method.
func (t *tracked) begin() error {
	if t.gone.Load() {
		return net.ErrClosed // also where it is only parked
	}
	switch stage(t.stage.Load()) {
	case stageArmed:
		if t.late() {
			t.stage.Store(int32(stageBarred))
			t.letGo()
			return errLate
		}
		t.stage.CompareAndSwap(int32(stageArmed), int32(stageBegun))
		if t.holding.Load() != nil {
			t.letGo()
		}
	case stageBarred:
		return errLate
	}
	return nil
}

// lookAgainAfter is how old a look at the socket may be when the request is
// written.
const lookAgainAfter = time.Millisecond

func (t *tracked) late() bool {
	if t.lateAt.IsZero() {
		return false
	}
	now := time.Now()
	if !now.Before(t.lateAt) {
		return true
	}
	if t.doubt && now.Sub(t.armedAt) > lookAgainAfter {
		return !t.look()
	}
	return false
}

func (t *tracked) Read(p []byte) (int, error) {
	t.inRead.Store(true)
	if t.waiting.Load() != nil {
		t.wake()
	}
	n, err := t.Conn.Read(p)
	t.inRead.Store(false)
	if n > 0 && !t.asked(n) {
		return 0, errUnsolicited
	}
	if err != nil {
		t.note(err)
		t.noteEnd(nil)
		err = t.silent("read", t.asClosed(err))
	}
	return n, err
}

// asked reports whether n bytes that were read may be passed on.
func (t *tracked) asked(n int) bool {
	now := stage(t.stage.Load())
	early := now == stageFresh || now == stageArmed && !t.reused.Load()
	if early {
		t.hold()
		now = stage(t.stage.Load())
	}
	switch {
	case now == stageSetup:
		t.hears()
		return true
	case now == stageBegun:
		t.got.Add(int64(n))
		return true
	case !t.plain && !t.reused.Load():
		return true // a session ticket follows the handshake when it likes
	}
	t.tainted.Store(true)
	if !early && now == stageQuiet && stage(t.stage.Load()) == stageQuiet {
		// net/http closes a connection that speaks unasked. If a request was
		// armed meanwhile, either this sees it, or arm sees the taint.
		return true
	}
	// Trap: net/http takes bytes that came after a request was announced for
	// its response, though nothing of it was written.
	return false
}

// note remembers how the connection ended, by the error that an I/O call
// returned.
func (t *tracked) note(err error) {
	how := endOther
	switch {
	case err == io.EOF:
		how = endFIN
	case isReset(err):
		how = endRST
	case t.gone.Load():
		return // we closed it
	}
	t.end.CompareAndSwap(int32(endNone), int32(how))
}

func (t *tracked) ended() ending { return ending(t.end.Load()) }

// Close closes the socket, or leaves that to the attempts that want to know how
// it ended. Only the first call has an effect.
func (t *tracked) Close() error {
	err := net.ErrClosed
	t.closed.Do(func() {
		now := time.Now()
		t.closedAt.Store(&now)
		t.gone.Store(true)
		if t.park() {
			err = nil
		} else {
			err = t.closeSocket()
		}
		t.wake()
		t.letGo()
	})
	return err
}

// goodbyeWait is how long crypto/tls may take to write its goodbye.
const goodbyeWait = 20 * time.Millisecond

// SetWriteDeadline is called by crypto/tls alone on HTTP/1 connections: when it
// closes, it gives its goodbye 5 s. If the peer has vanished and the kernel's
// buffer is full, that is how long a Close takes, which net/http calls under a
// lock that canceled requests wait for. What the kernel cannot take at once is
// not worth that.
func (t *tracked) SetWriteDeadline(at time.Time) error {
	if stage(t.stage.Load()) != stageSetup && !t.plain {
		if soon := time.Now().Add(goodbyeWait); at.After(soon) {
			at = soon
		}
	}
	return t.Conn.SetWriteDeadline(at)
}

func (t *tracked) closeSocket() error {
	err := t.Conn.Close()
	if f := t.onClose; f != nil {
		t.onClose = nil // what net/http keeps of the connection is not to keep the pool
		f()
	}
	return err
}

// hold keeps bytes that came on a new connection before its first request was
// written until it is, until it turns out that none is coming, or until the
// connection is closed. A server that has no room for another client answers
// so, with 503 or 429, and http.Transport takes it for the response; nobody
// else's it can be. Over TLS they may also be session tickets, which can wait.
func (t *tracked) hold() {
	ch := make(chan struct{})
	t.holding.Store(&ch)
	if now := stage(t.stage.Load()); now != stageFresh && now != stageArmed || t.gone.Load() {
		t.letGo()
	}
	<-ch
}

// setUp ends the handshakes: what is written and read from here on is HTTP/1.
func (t *tracked) setUp(plain bool) {
	if stage(t.stage.Load()) == stageSetup {
		t.plain = plain
		t.stage.Store(int32(stageFresh))
	}
}

// quiet says that no request is coming for the time being.
func (t *tracked) quiet() {
	t.stage.Store(int32(stageQuiet))
	if t.holding.Load() != nil {
		t.letGo()
	}
}

func (t *tracked) letGo() {
	if ch := t.holding.Swap(nil); ch != nil {
		close(*ch)
	}
}

func (t *tracked) wake() {
	if ch := t.waiting.Swap(nil); ch != nil {
		close(*ch)
	}
}

// awaitQuiet waits until the read loop has nothing left of the previous
// response and is back in Read, where unasked bytes are noticed.
//
// A connection becomes available a moment earlier: net/http announces the end
// of a response before it looks whether more was received with it. A request
// announced in that moment would get those bytes as its response.
func (t *tracked) awaitQuiet() {
	for t.reused.Load() && !t.inRead.Load() {
		ch := make(chan struct{})
		if !t.waiting.CompareAndSwap(nil, &ch) {
			return // only one request at a time waits; this cannot happen
		}
		if t.inRead.Load() || t.gone.Load() {
			t.wake()
		}
		<-ch
		if t.gone.Load() {
			return
		}
	}
}

// arm begins to watch for one request. The caller owns the connection. From
// lateAt on the request is not written any more; doubt says that the socket is
// to be looked at again if it is not written soon. arm reports false if data
// came that nobody had asked for: then no request may be announced.
func (t *tracked) arm(now, lateAt time.Time, doubt bool) bool {
	t.armedAt, t.lateAt, t.doubt = now, lateAt, doubt
	t.atArm = t.written.Load()
	t.got.Store(0)
	t.stage.Store(int32(stageArmed))
	return !t.tainted.Load()
}

// rest ends what arm began.
func (t *tracked) rest() {
	if !t.reused.Load() {
		t.reused.Store(true) // a load is cheaper
	}
	t.quiet() // what is held was for a request that was not sent after all
}

// unsent reports whether it is certain that no byte of the request that arm
// began with reached the socket: nothing was written, or the first write of a
// TCP connection took nothing. Of other connections a write that was begun
// proves nothing: they may buffer.
func (t *tracked) unsent() bool {
	switch stage(t.stage.Load()) {
	case stageArmed, stageBarred:
		return true
	}
	return t.isTCP && t.written.Load() == t.atArm
}

// endedAt reports when the connection was given up; now if it was not.
func (t *tracked) endedAt(now time.Time) time.Time {
	if at := t.closedAt.Load(); at != nil {
		return *at
	}
	return now
}
