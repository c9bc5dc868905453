package idlewise

import (
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"
)

// HTTP/2 connections are shared: callers take streams of them.
//
// Trap: streams are not reserved with ClientConn.Reserve. A connection is taken
// for one of 100 streams until the server's SETTINGS are read. If they then
// permit fewer than are reserved, the first caller waits inside net/http, with
// a lock, for reservations to be used up, and those who hold them wait for the
// lock: a deadlock. Without reservations the surplus waits for streams to end.
//
// Trap: the state hook cannot be relied on to tell that a stream has ended.
// While one call of it runs, others are left out, and if a stream both began
// and ended in that time, nothing is different afterwards and no call is made
// up for it. So the pool counts streams itself, by the ends of their bodies,
// and the hook only brings news earlier.

// reserve makes sure that the request can be sent on c, which the pool chose.
// If not, c was dealt with and another must be found.
func (c *conn) reserve() bool {
	p := c.pool
	if !c.h2 {
		// Trap: without a reservation, a response without a body fires no
		// hook. None is needed: its caller settles it. Nobody else sends on
		// the connection, and it was seen to be available.
		if !c.dead() {
			return true
		}
		if c.wasIdle {
			p.noteClosed(c, time.Now())
		}
		p.bury(c, c.round.Load(), c.deathReason(true))
		p.mu.Lock()
		p.unuseLocked(c)
		p.mu.Unlock()
		return false
	}
	for try := range 3 {
		if try > 0 {
			// A stream that ended a moment ago may still count inside net/http.
			runtime.Gosched()
		}
		if c.hasStream() {
			return true
		}
	}
	p.mu.Lock()
	p.unuseLocked(c)
	c.full = true
	p.mu.Unlock()
	p.streamEnded(c, stream{epoch: -1})
	c.reviewShared()
	p.askAgain(c)
	return false
}

// hasStream reports whether the streams that were handed out are no more than
// the connection permits.
func (c *conn) hasStream() bool {
	if c.cc.Err() != nil {
		return false
	}
	available, inFlight := c.netStreams()
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	return !c.gone && c.permitsLocked(available, inFlight, 0)
}

// netStreams is what net/http says of the connection's streams, at one moment:
// the sum of the two is the server's limit, and must not count a stream twice
// that begins between the two questions.
func (c *conn) netStreams() (available, inFlight int) {
	available = c.cc.Available()
	for range 4 {
		inFlight = c.cc.InFlight()
		again := c.cc.Available()
		if again == available {
			break
		}
		available = again
	}
	return available, inFlight
}

// permitsLocked reports whether c permits so many streams more than were
// handed out. available and inFlight are what net/http says.
func (c *conn) permitsLocked(available, inFlight, more int) bool {
	if available == 0 {
		return false
	}
	p := c.pool
	limit := available + inFlight
	if c.answered {
		c.permitLocked(available, inFlight)
	} else if p.streamLimit > 0 && p.streamLimit < limit {
		// Its SETTINGS have not come yet, and net/http assumes 100 streams;
		// the server's other connections know better.
		limit, available = p.streamLimit, p.streamLimit
	}
	// Some of those that are entering count in net/http already, and some
	// streams that have ended there have bodies that were not read: each
	// count alone is too high, and either will do.
	return c.streams+more <= limit || c.entering+more <= available
}

// permitLocked takes note of how many streams the server permits, given what net/http
// says. If it is asked in a busy moment the sum can be too high, never for long.
func (c *conn) permitLocked(available, inFlight int) {
	limit := available + inFlight
	c.pool.streamLimit = limit
	if c.permits == 0 || limit < c.permits {
		c.permits = limit
	}
}

// askPermits notes how many streams the server permits, if that can be told.
func (c *conn) askPermits() {
	if available, inFlight := c.netStreams(); available > 0 {
		c.pool.mu.Lock()
		c.permitLocked(available, inFlight)
		c.pool.mu.Unlock()
	}
}

// leastPermitsLocked is how many streams c can be expected to permit at least; 0 if
// that is not known.
func (c *conn) leastPermitsLocked() int {
	if c.permits > 0 {
		return c.permits
	}
	return min(c.pool.streamLimit, 100) // net/http goes by 100 until it has read the SETTINGS
}

// drainLocked lets a connection that must not get another request end the streams
// it has. Those can last for hours, and where the server asked for that, the
// connection's age, or a caller who needs a newer one, it does not count against
// MaxConns from here on: else whoever waits would wait for the last of them. After
// MaxRequestsPerConn it does, lest there be a connection for each few streams, however
// many.
func (p *pool) drainLocked(c *conn, why CloseReason) {
	c.ending = why
	if c.draining || c.slotFree.Load() || why != ClosedGoAway && why != ClosedMaxAge && why != ClosedPoolFull {
		return
	}
	c.draining = true
	p.draining++
	p.dialWantedLocked()
}

// undrainLocked takes back that c drains for the server's sake.
func (p *pool) undrainLocked(c *conn) {
	c.ending, c.draining = reasonNone, false
	p.draining--
}

// A stream is what must be known about one when it ends.
type stream struct {
	epoch    int       // of the connection's count of streams; -1: it was not used
	headerAt time.Time // when the response's header came; zero: there was none
}

// A sharedBody tells the pool when the stream of an HTTP/2 response has ended.
type sharedBody struct {
	io.ReadCloser
	c      *conn
	stream stream
	ended  atomic.Bool // Close may be called while Read runs
}

func (b *sharedBody) end() {
	if b.ended.CompareAndSwap(false, true) {
		b.c.pool.streamEnded(b.c, b.stream)
	}
}

func (b *sharedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end()
	}
	return n, err
}

func (b *sharedBody) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}

// streamEnded takes note that a stream of c has ended.
func (p *pool) streamEnded(c *conn, s stream) {
	now := time.Now()
	var doomed doomedList
	p.mu.Lock()
	used := s.epoch >= 0
	if used && s.epoch != c.epoch {
		p.mu.Unlock()
		return // it was counted as ended before
	}
	c.streams--
	if used {
		c.full = false
		// As with HTTP/1, a response that was read slowly may have ended
		// long before, for the server.
		at := now
		if !s.headerAt.IsZero() && p.slowlyRead(c, s.headerAt, now) {
			at = s.headerAt
		}
		c.idleSince = later(c.idleSince, at)
	}
	if c.streams == 0 && !c.gone && !c.held {
		p.keepLocked(c, now, &doomed)
	}
	serve := used && !c.gone && p.waiters.n > 0
	p.mu.Unlock()
	doomed.shut()
	p.u.t.capIdle()
	if serve {
		p.serveShared(c)
	}
}

// reviewShared looks at what net/http says of an HTTP/2 connection. It is
// called by the state hook and by the sweep, without locks, and may run
// several times at once.
func (c *conn) reviewShared() {
	p := c.pool
	if c.watched.Load() {
		p.lookAtCanary(c)
		return
	}
	p.mu.Lock()
	picks := c.picks
	entering := c.entering
	pooled := c.added && !c.gone
	p.mu.Unlock()
	entered := entering == 0
	if !pooled {
		return // the dial calls this again once it has added it
	}

	// Trap: Err comes first, since Available says 1000 of a connection that
	// was closed before its first use.
	dead := c.cc.Err() != nil
	available, inFlight := c.netStreams()
	if available == 0 && !dead {
		dead = c.cc.Err() != nil // it may have died in between, which is no GOAWAY
	}

	now := time.Now()
	var doomed doomedList
	serve, kept := false, false
	p.mu.Lock()
	if !c.gone && c.draining && c.ending == ClosedGoAway && available > 0 {
		p.undrainLocked(c) // it permits fewer than could be expected, and had no more
	}
	switch {
	case c.gone:
	case dead:
		p.removeLocked(c, c.sharedDeathReason(), &doomed)
	case inFlight == 0 && entered && c.picks == picks && available == 0:
		// Trap: on Go 1.26 nothing else tells that an idle connection got
		// GOAWAY, and it stays open.
		p.removeLocked(c, ClosedGoAway, &doomed)
	case inFlight == 0 && entered && c.picks == picks && c.streams > 0 && !c.held:
		// All streams have ended, though not all bodies were closed: a
		// context ended and the program left it at that.
		c.epoch++
		c.streams, c.full = 0, false
		c.idleSince = now
		p.keepLocked(c, now, &doomed)
		serve, kept = !c.gone && p.waiters.n > 0, c.idle
	case available == 0 && inFlight+entering < c.leastPermitsLocked() && c.picks == picks:
		// Trap: nothing tells of a GOAWAY while streams are open. But with streams
		// left, were all to begin that can have begun meanwhile, net/http has
		// another reason to permit none.
		p.drainLocked(c, ClosedGoAway)
	case c.full && c.permitsLocked(available, inFlight, 1):
		c.full = false
		serve = p.waiters.n > 0
	}
	p.mu.Unlock()
	doomed.shut()
	// Not here: this may be inside the hook, and serving reserves, while the cap
	// closes other connections.
	if serve {
		go p.serveShared(c)
	}
	if kept && p.u.t.tooManyIdle() {
		go p.u.t.capIdle()
	}
}

// sharedDeathReason says why net/http closed an HTTP/2 connection. pool.mu is
// held.
func (c *conn) sharedDeathReason() CloseReason {
	if c.ending != reasonNone {
		return c.ending
	}
	if why := c.silentEnd(time.Now()); why != reasonNone {
		return why
	}
	switch {
	case c.tcp == nil || c.tcp.ended() == endNone:
		// net/http closed it after its last stream: only GOAWAY, or a
		// request with Connection: close, makes it do so.
		return ClosedGoAway
	case !c.idle:
		return ClosedStaleOnUse
	case c.tcp.ended() == endRST:
		return ClosedServerRST
	}
	return ClosedServerFIN
}

// serveShared gives streams of c to callers that wait, as many as it has.
func (p *pool) serveShared(c *conn) {
	for {
		p.mu.Lock()
		now := time.Now()
		w := p.waiters.peek(c.born)
		if w == nil || w != p.waiters.head || c.gone || c.full {
			p.drainForRoomLocked(now) // not for one whom c is about to serve
		}
		if w == nil || c.gone || c.full {
			p.mu.Unlock()
			return
		}
		if why := c.spentLocked(now, p.u.policy()); why != reasonNone {
			p.drainLocked(c, why)
			p.mu.Unlock()
			return
		}
		p.useLocked(c)
		p.mu.Unlock()

		if !c.reserve() {
			p.mu.Lock()
			p.drainForRoomLocked(now)
			p.mu.Unlock()
			return // full again, or dead; whoever frees a stream serves on
		}

		p.mu.Lock()
		w = p.waiters.pop(c.born)
		p.mu.Unlock()
		if w == nil {
			p.release(c)
			return
		}
		w.deliver(c, nil)
	}
}

// askAgainAfter is how long after a refused reservation a connection that
// callers wait for is asked again, if nothing was heard of it.
const askAgainAfter = 10 * time.Millisecond

// askAgain serves callers from c a little later, in case the hook that should
// tell of a free stream is one of those that are left out.
func (p *pool) askAgain(c *conn) {
	time.AfterFunc(askAgainAfter, func() {
		p.mu.Lock()
		again := !c.gone && c.full && p.waiters.n > 0
		c.full = false
		p.mu.Unlock()
		if again {
			p.serveShared(c)
		}
	})
}

// wrapShared makes resp tell when its stream has ended.
func (c *conn) wrapShared(resp *http.Response) {
	c.pool.mu.Lock()
	c.entering--
	c.answered, c.served = true, true
	s := stream{epoch: c.epoch, headerAt: time.Now()}
	c.pool.slack.Held(c.limit.server, c.limit.margin, c.idledFor)
	c.pool.survivedLocked(c, c.idledFor, s.headerAt)
	c.idledFor = 0
	known := c.permits > 0
	c.pool.mu.Unlock()
	if !known {
		c.askPermits()
	}
	if hasNoBody(resp) {
		c.pool.streamEnded(c, s)
		return
	}
	resp.Body = &sharedBody{ReadCloser: resp.Body, c: c, stream: s}
}

// streamFailed takes note that a stream brought no response. spoken: the server said
// something about it, which it does after its SETTINGS.
func (c *conn) streamFailed(spoken bool) {
	c.pool.mu.Lock()
	c.entering--
	c.answered = c.answered || spoken
	s := stream{epoch: c.epoch}
	c.pool.mu.Unlock()
	c.pool.streamEnded(c, s)
}
