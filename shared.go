package idlewise

import (
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"
)

// HTTP/2 connections are shared: callers take streams of them, reserved with
// ClientConn.Reserve.
//
// Trap: the state hook cannot be relied on to tell that a stream has ended.
// While one call of it runs, others are left out, and if a stream both began
// and ended in that time, nothing is different afterwards and no call is made
// up for it. So the pool counts streams itself, by the ends of their bodies,
// and the hook only brings news earlier.

// reserve makes sure that the request can be sent on c, which the pool chose.
// If not, c was dealt with and another must be found.
func (c *conn) reserve() bool {
	// Trap: without a reservation, a response without a body fires no hook.
	if c.cc.Reserve() == nil {
		return true
	}
	p := c.pool
	if !c.h2 {
		why := ClosedFailed // cannot happen: nobody else has it
		if c.cc.Err() != nil {
			why = c.deathReason(true)
		}
		p.bury(c, c.round.Load(), why)
		p.mu.Lock()
		p.unuseLocked(c)
		p.mu.Unlock()
		return false
	}
	// A stream that ended a moment ago may still count inside net/http.
	for range 3 {
		runtime.Gosched()
		if c.cc.Reserve() == nil {
			return true
		}
	}
	p.mu.Lock()
	p.unuseLocked(c)
	c.full = true
	p.mu.Unlock()
	p.streamEnded(c, false)
	c.reviewShared()
	p.askAgain(c)
	return false
}

// A sharedBody tells the pool when the stream of an HTTP/2 response has ended.
type sharedBody struct {
	io.ReadCloser
	c     *conn
	ended atomic.Bool // Close may be called while Read runs
}

func (b *sharedBody) end() {
	if b.ended.CompareAndSwap(false, true) {
		b.c.pool.streamEnded(b.c, true)
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

// streamEnded takes note that a stream of c has ended; freed says whether
// another can take its place.
func (p *pool) streamEnded(c *conn, freed bool) {
	now := time.Now()
	var doomed doomedList
	p.mu.Lock()
	c.streams--
	if freed {
		c.full = false
	}
	if c.streams == 0 && !c.gone {
		c.idleSince = now
		p.keepLocked(c, now, &doomed)
	}
	serve := freed && !c.gone && p.waiters.n > 0
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
	p.mu.Lock()
	picks := c.picks
	pooled := c.added && !c.gone
	p.mu.Unlock()
	if !pooled {
		return // the dial calls this again once it has added it
	}

	// Trap: Err comes first, since Available says 1000 of a connection that
	// was closed before its first use.
	dead := c.cc.Err() != nil
	inFlight, available := c.cc.InFlight(), c.cc.Available()

	var doomed doomedList
	serve := false
	p.mu.Lock()
	switch {
	case c.gone:
	case dead:
		p.removeLocked(c, c.sharedDeathReason(), &doomed)
	case inFlight == 0 && available == 0:
		// Trap: on Go 1.26 nothing else tells that an idle connection got
		// GOAWAY, and it stays open.
		if c.picks == picks && c.streams == 0 {
			p.removeLocked(c, ClosedGoAway, &doomed)
		}
	case available > 0 && c.full:
		c.full = false
		serve = p.waiters.n > 0
	}
	p.mu.Unlock()
	doomed.shut()
	if serve {
		// Not here: this may be inside the hook, and serving reserves.
		go p.serveShared(c)
	}
}

// sharedDeathReason says why net/http closed an HTTP/2 connection. pool.mu is
// held.
func (c *conn) sharedDeathReason() CloseReason {
	if c.ending != reasonNone {
		return c.ending
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
		w := p.waiters.peek(c.born)
		if w == nil || c.gone || c.full || c.spentLocked(time.Now(), p.u.policy()) != reasonNone {
			p.mu.Unlock()
			return
		}
		p.useLocked(c)
		p.mu.Unlock()

		if !c.reserve() {
			return
		}

		p.mu.Lock()
		w = p.waiters.pop(c.born)
		if w == nil {
			p.unuseLocked(c)
		}
		p.mu.Unlock()
		if w == nil {
			c.cc.Release()
			p.streamEnded(c, true)
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
		if again {
			c.full = false
		}
		p.mu.Unlock()
		if again {
			p.serveShared(c)
		}
	})
}

// wrapShared makes resp tell when its stream has ended.
func (c *conn) wrapShared(resp *http.Response) {
	if resp.Body == nil || resp.Body == http.NoBody {
		c.pool.streamEnded(c, true)
		return
	}
	resp.Body = &sharedBody{ReadCloser: resp.Body, c: c}
}
