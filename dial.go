package idlewise

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A dial is an attempt to open one connection. It runs in a goroutine of its
// own and ends with the dialer's and the handshake's timeouts, not with the
// caller that caused it: the connection serves whoever comes next.
type dial struct {
	owner   *waiter   // whose ctx values it carries; nil: none
	wanted  time.Time // when it was asked for
	started time.Time // changed under pool.mu while it is held
	cancel  context.CancelFunc
	done    chan struct{} // closed when it has ended and the pool has what it brought
	err     error         // written before that

	// Guarded by pool.mu: its owner gave up, or CloseIdleConnections canceled
	// it. What it brings is used, but no caller relies on it.
	abandoned bool

	held    bool  // guarded by pool.mu: it has not begun, see pace
	turn    *turn // guarded by pool.mu: while DialRate holds it
	wanters int   // guarded by pool.mu: who want it though no caller owns it; see Warm
}

// dialWantedLocked starts the dials that the waiting callers need and the
// limits permit.
func (p *pool) dialWantedLocked() {
	w := p.waiters.head
	if w == nil {
		return
	}
	now := time.Now()
	coming, relied := p.comingLocked(now), false
	for ; w != nil && p.mayOpenLocked(); w = w.next {
		switch p.dialForLocked(w, coming, now) {
		case dialMade:
			coming++
		case othersComing:
			relied = true
		}
	}
	if w != nil {
		p.endProbeLocked(errProbeYielded)
		relied = relied || !p.waiters.head.notBefore.IsZero() // see makeRoomLocked
	}
	if relied {
		p.watchDialsLocked(now)
	}
}

// mayOpenLocked reports whether the limits permit another connection.
func (p *pool) mayOpenLocked() bool {
	limit := p.u.policy().MaxConns
	return !p.closed && (limit <= 0 || p.countedLocked()+p.probeSlots < limit)
}

// countedLocked is how many connections count against MaxConns.
func (p *pool) countedLocked() int { return p.open - p.draining }

// What dialForLocked did for a caller.
type provision uint8

const (
	noneMade provision = iota // it has a dial, or can have none
	dialMade
	othersComing // it relies on dials under way
)

// dialForLocked starts a dial for w unless those under way will do, of which coming
// bring connections.
func (p *pool) dialForLocked(w *waiter, coming int, now time.Time) provision {
	if w.dialing || !p.mayOpenLocked() {
		return noneMade
	}
	if p.mayShareLocked() {
		// One handshake at a time: if it turns out to be HTTP/2, the
		// connection serves all. If not, the others dial when that is known.
		if !w.alone && p.sharableLocked(w, now) {
			return othersComing
		}
	} else if w.notBefore.IsZero() && coming >= p.waiters.n {
		return othersComing // as many connections are coming as callers wait
	}
	w.dialing = true
	p.startDialLocked(w, w.ctx)
	return dialMade
}

// A dial that has taken much longer than the last ones may never end: there is a SYN
// that nobody answers, or one of the server's machines is dead. Callers for whom it
// was not made rely on it for no longer than that.
const (
	leastPatience = 250 * time.Millisecond
	mostPatience  = 2 * time.Second // beyond what dials take
)

// patienceLocked is for how long a dial can be relied on.
func (p *pool) patienceLocked() time.Duration {
	return max(leastPatience, min(4*p.dialTook, p.dialTook+mostPatience))
}

// tookLocked notes how long a dial took that succeeded. One that is slow for once,
// such as one whose first SYN was lost, hardly counts; several do.
func (p *pool) tookLocked(took time.Duration) {
	if p.dialTook > 0 {
		took = min(took, max(2*p.dialTook, leastPatience/2))
	}
	p.dialTook = took
}

// promisingLocked reports whether others than d's owner can rely on it.
func (p *pool) promisingLocked(d *dial, now time.Time) bool {
	return !d.abandoned && (d.held || now.Sub(d.started) < p.patienceLocked())
}

// sharableLocked reports whether a dial under way may serve w, too. The youngest come
// last, and are the likeliest.
func (p *pool) sharableLocked(w *waiter, now time.Time) bool {
	for i := len(p.dials) - 1; i >= 0; i-- {
		// One that is held begins later than anybody wants.
		if d := p.dials[i]; p.promisingLocked(d, now) && (d.held || !d.started.Before(w.notBefore)) {
			return true
		}
	}
	return false
}

// comingLocked is how many connections those who wait can expect: one whose dial
// hangs waits for it, as with net/http, but for nobody else's.
func (p *pool) comingLocked(now time.Time) int {
	n := 0
	for _, d := range p.dials {
		if p.promisingLocked(d, now) || !d.abandoned && d.owner != nil && d.owner.queued {
			n++
		}
	}
	return n
}

// watchDialsLocked sees to it that those who rely on dials under way have others made,
// or room for them, when these take too long.
func (p *pool) watchDialsLocked(now time.Time) {
	if p.watching {
		return
	}
	wait := time.Duration(math.MaxInt64)
	for _, d := range p.dials {
		if !d.held && p.promisingLocked(d, now) {
			wait = min(wait, d.started.Add(p.patienceLocked()).Sub(now))
		}
	}
	if wait == math.MaxInt64 {
		return // those that are held have not begun; see dial
	}
	p.watching = true
	if p.watch == nil {
		p.watch = time.AfterFunc(wait, p.loseHope)
	} else {
		p.watch.Reset(wait)
	}
}

func (p *pool) loseHope() {
	var doomed doomedList
	p.mu.Lock()
	p.watching = false
	p.dialWantedLocked()
	p.makeRoomLocked(time.Now(), &doomed)
	p.mu.Unlock()
	doomed.shut()
}

// unwatchDialsLocked is called when there is nothing to watch, or something else to
// go by.
func (p *pool) unwatchDialsLocked() {
	if p.watching {
		p.watching = false
		p.watch.Stop()
	}
}

// reliableDialsLocked is how many dials were not given up.
func (p *pool) reliableDialsLocked() int { return len(p.dials) - p.astray }

// abandonLocked gives a dial up. Its owner has nothing to do with it any more: should
// what it was served with prove dead, it makes another.
func (p *pool) abandonLocked(d *dial) {
	if d.abandoned {
		return
	}
	d.abandoned = true
	p.astray++
	if d.owner != nil {
		d.owner.dialing = false
	}
}

// mayShareLocked reports whether the next connection may turn out to be HTTP/2
// and serve several callers.
func (p *pool) mayShareLocked() bool {
	if p.u.t.base.http.DisableKeepAlives || p.u.key.onlyHTTP1 {
		return false
	}
	if !p.known {
		return p.u.t.base.mayNegotiateHTTP2(p.u.key.scheme)
	}
	return p.multi
}

func (p *pool) startDialLocked(owner *waiter, values context.Context) *dial {
	ctx, cancel := context.WithCancel(context.WithoutCancel(values))
	now := time.Now()
	d := &dial{owner: owner, wanted: now, started: now, cancel: cancel, done: make(chan struct{})}
	p.dials = append(p.dials, d)
	p.dialing++
	p.open++
	go p.dial(ctx, d)
	return d
}

func (p *pool) dial(ctx context.Context, d *dial) {
	defer close(d.done)
	var c *conn
	err := p.pace(ctx, d)
	if err != nil {
		p.releaseSlot()
	} else {
		if d.started.After(d.wanted) {
			p.mu.Lock()
			if p.waiters.n > 0 {
				p.watchDialsLocked(d.started) // they did not while it was held
			}
			p.mu.Unlock()
		}
		c, err = p.connect(ctx, d)
	}
	d.err = err
	ended := err != nil && ctx.Err() != nil // by us
	if err != nil {
		// Not otherwise: a dialer may tie its connection's life to the
		// context, and net/http never cancels that of a dial that succeeded.
		d.cancel()
	}

	now := time.Now()
	var doomed doomedList
	p.mu.Lock()
	p.dialing--
	for i, other := range p.dials {
		if other == d {
			p.dials = append(p.dials[:i:i], p.dials[i+1:]...)
			if d.abandoned {
				p.astray--
			}
			break
		}
	}
	if d.owner != nil && !d.abandoned {
		d.owner.dialing = false
	}
	if err == nil {
		p.tookLocked(now.Sub(d.started))
	}
	if err == nil || len(p.dials) == 0 {
		p.unwatchDialsLocked()
	}
	if !ended {
		g := p.u.group()
		g.lock()
		g.pacing.dialedLocked(d, err != nil)
		g.unlock()
		p.readiness.dialedLocked(d, err != nil, now)
	}
	if err != nil {
		p.counts.dialErrors++
		if n := p.u.t.news; n != nil {
			n.tell(DialFailed{p.u.info(now), now.Sub(d.started), err})
		}
		p.failLocked(d, err)
		p.dialWantedLocked()
		p.replenishLocked(now, p.u.policy())
		p.mu.Unlock()
		p.u.t.noteQuiet()
		return
	}
	p.known, p.multi = true, c.h2
	p.counts.dialTime.observe(now.Sub(d.started))
	p.addLocked(c)
	if d.owner == nil {
		p.counts.warmed++
	}
	if n := p.u.t.news; n != nil {
		n.tell(ConnectionOpened{p.u.info(now), c.event(), now.Sub(d.started), c.rtt})
	}
	c.idleSince = now
	if c.h2 {
		c.held = true // not idle until the callers that wait are served
	} else {
		if w := d.owner; w != nil && w.queued && !c.born.Before(w.notBefore) {
			// It gets what its own dial brought, as with net/http. Were it to go to
			// one that came before, whose dial is still under way, w would rely on
			// that one's, and have another made if that took long.
			p.waiters.remove(w)
			p.waiters.pushFront(w)
		}
		p.keepLocked(c, now, &doomed)
		p.dialWantedLocked()
		p.replenishLocked(now, p.u.policy())
	}
	p.mu.Unlock()
	doomed.shut()

	// The hook was set before, and did nothing so far: if the connection died
	// in between, it is noticed here.
	if c.h2 {
		p.serveShared(c)
		p.mu.Lock()
		c.held = false
		gone := c.gone // not by what follows
		if c.streams == 0 && !c.gone && !c.idle {
			if d.owner != nil && c.uses == 0 && p.surplusLocked(c, now) {
				p.removeLocked(c, ClosedPoolFull, &doomed)
			} else {
				p.keepLocked(c, now, &doomed)
			}
		}
		closed := c.gone && !gone
		p.mu.Unlock()
		doomed.shut()
		c.reviewShared()
		dead := !closed && c.cc.Err() != nil
		p.mu.Lock()
		if dead && c.uses == 0 {
			p.hungUpLocked(c)
			if w := d.owner; w != nil && w.queued && !d.abandoned {
				if err := w.hungUpLocked(c); err != nil {
					p.waiters.remove(w)
					w.deliver(nil, err)
				}
			}
		}
		p.dialWantedLocked() // for those it has no streams for
		p.mu.Unlock()
	} else if c.cc.Err() != nil {
		c.settle(time.Time{})
	}
	p.u.t.capIdle()
}

// surplusLocked reports whether the HTTP/2 connection c, which nobody waited for any
// more when it came, is of no use beside another one. net/http closes such, too
// (http2's addConnIfNeeded).
func (p *pool) surplusLocked(c *conn, now time.Time) bool {
	pol := p.u.policy()
	for _, other := range p.shared {
		if other == c || other.full || other.spentLocked(now, pol) != reasonNone {
			continue
		}
		if !other.idle || other.expiredLocked(now, pol) == reasonNone {
			return true
		}
	}
	return false
}

// hungUp takes note that c was dead before its first request, and so no better
// than a dial that failed.
func (p *pool) hungUp(c *conn) {
	p.mu.Lock()
	p.hungUpLocked(c)
	p.mu.Unlock()
}

func (p *pool) hungUpLocked(c *conn) {
	g := p.u.group()
	g.lock()
	g.pacing.hungUpLocked(c.born)
	g.unlock()
}

// hangUp is why a connection ended before its first request, as net/http gives it.
func (c *conn) hangUp() error {
	how := endNone
	if c.tcp != nil {
		how = c.tcp.ended()
	}
	if !c.h2 { // HTTP/2's Err has no cause, and is not to be asked under pool.mu
		if err := c.cc.Err(); err != nil && strings.HasPrefix(err.Error(), errTextPeekFailed) {
			if read := errors.Unwrap(err); read != nil {
				return read
			}
		}
	}
	switch {
	case how == endRST:
		return syscall.ECONNRESET
	case c.h2:
		return io.ErrUnexpectedEOF
	}
	// Err calls it an idle connection, as net/http sometimes does. Normally its
	// request is expected to be answered when the FIN is read.
	return io.EOF
}

// failLocked hands a dial's error to the caller it was made for. Those who shared the
// dial instead of making their own do that now, all at once: one of the server's
// machines may be dead, or its refusal have been about that dial only.
//
// Where the server has failed before, and the dial was held back for that, it was as
// much that of everybody who waited when it began, and its error is theirs. So a
// server that is down is dialed once for all its callers.
func (p *pool) failLocked(d *dial, err error) {
	if d.abandoned {
		return // nobody waits for it, and it may be this side that ended it
	}
	if w := d.owner; w != nil && w.queued {
		p.waiters.remove(w)
		w.deliver(nil, err)
	}
	if !p.mayShareLocked() {
		return
	}
	forAll := d.started.After(d.wanted) && p.isDownLocked()
	for w := p.waiters.head; w != nil; {
		next := w.next
		switch {
		case w.dialing:
		case forAll && w.since.Before(d.started) && !d.started.Before(w.notBefore):
			p.waiters.remove(w)
			w.deliver(nil, err)
		default:
			w.alone = true
		}
		w = next
	}
}

// isDownLocked reports whether dials have failed again and again.
func (p *pool) isDownLocked() bool {
	g := p.u.group()
	g.lock()
	defer g.unlock()
	return g.pacing.failures >= 2
}

// releaseSlot is for a dial that did not begin.
func (p *pool) releaseSlot() {
	p.mu.Lock()
	p.open--
	p.mu.Unlock()
}

// slotFreed is called when a socket was closed.
func (p *pool) slotFreed(c *conn) {
	p.mu.Lock()
	p.open--
	if c.draining {
		c.draining = false
		p.draining--
	}
	p.dialWantedLocked()
	p.drainForRoomLocked(time.Now())
	if pol := p.u.policy(); pol.MinIdleConns > 0 {
		p.replenishLocked(time.Now(), pol)
	}
	p.mu.Unlock()
	p.u.t.noteQuiet()
}

// connect opens a connection: DNS, TCP, proxy and TLS. If it fails, its slot
// is free when it returns.
func (p *pool) connect(ctx context.Context, d *dial) (*conn, error) {
	pol := p.u.policy()
	pings := pol.pinging()
	c := &conn{pool: p, born: d.started, lostAfter: pings.lostAfter()}
	b := p.u.t.base
	rec := &dialRecord{proxy: p.u.proxy, onClose: c.socketClosed, probes: pol.TCPKeepAlive}
	rec.direct = rec.proxy == nil || rec.proxy.Scheme == "http"
	rec.plain = p.u.key.scheme == "http" && !b.unencryptedHTTP2()
	ctx = context.WithValue(ctx, dialRecordKey{}, rec)
	ctx = httptrace.WithClientTrace(ctx, rec.trace())
	cc, err := b.forUpstream(p.u.key, pings).NewClientConn(ctx, p.u.key.scheme, p.u.addr)
	if err != nil {
		if rec.tcp != nil {
			rec.tcp.Close() // net/http may do so in the background only
		}
		c.freeSlot()
		return nil, err
	}
	c.id = p.u.t.lastConnID.Add(1)
	c.cc = cc
	c.tcp, c.raw = rec.tcp, rec.raw
	c.h2 = rec.isHTTP2(b, p.u.key.scheme)
	c.rtt = rec.roundTrip()
	if c.raw != nil {
		c.local, c.remote = c.raw.LocalAddr(), c.raw.RemoteAddr()
		if c.remote != nil {
			c.peer = c.remote.String()
		}
	}
	if c.tcp != nil && !c.h2 {
		c.tcp.setUp(!rec.tls) // where proxies kept it from being known before
	}
	// Before anyone can use it: a response that ends without a hook is lost.
	cc.SetStateHook(c.stateChanged)
	return c, nil
}

type dialRecordKey struct{}

// A dialRecord travels in the context of a dial and collects what ClientConn
// does not tell.
//
// Trap: a ClientConn has no accessor for its protocol, addresses or round
// trip, but NewClientConn calls DialContext, Proxy and the trace hooks with
// the very context it was given.
type dialRecord struct {
	proxy   *url.URL
	onClose func() // for tcp
	probes  net.KeepAliveConfig
	direct  bool // nothing but a CONNECT comes before the TLS handshake or HTTP
	plain   bool // HTTP/1 without TLS

	raw net.Conn // what the dialer returned
	tcp *tracked // raw, wrapped

	mu       sync.Mutex // connect hooks run concurrently, for several addresses
	began    map[string]time.Time
	connect  time.Duration
	tls      bool
	protocol string // as negotiated by the last TLS handshake
	tlsBegan time.Time
	tlsTook  time.Duration
}

func (r *dialRecord) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		ConnectStart: func(_, addr string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.began == nil {
				r.began = make(map[string]time.Time)
			}
			r.began[addr] = time.Now()
		},
		ConnectDone: func(_, addr string, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if took := time.Since(r.began[addr]); err == nil && (r.connect == 0 || took < r.connect) {
				r.connect = took
			}
		},
		TLSHandshakeStart: func() { r.tlsBegan = time.Now() },
		TLSHandshakeDone: func(s tls.ConnectionState, err error) {
			r.tls, r.protocol, r.tlsTook = true, s.NegotiatedProtocol, time.Since(r.tlsBegan)
			if err == nil && r.direct && r.tcp != nil && r.protocol != "h2" {
				r.tcp.setUp(false)
			}
		},
	}
}

func (r *dialRecord) isHTTP2(b *base, scheme string) bool {
	if r.tls {
		return r.protocol == "h2"
	}
	return scheme == "http" && b.unencryptedHTTP2()
}

// roundTrip estimates the round trip to the peer that answers requests: that
// of connecting, or, through a proxy, at most that of the TLS handshake
// beyond it.
func (r *dialRecord) roundTrip() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proxy != nil {
		return max(r.connect, r.tlsTook)
	}
	return r.connect
}
