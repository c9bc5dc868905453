package idlewise

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"net/url"
	"sync"
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

	held    bool // guarded by pool.mu: it has not begun, see pace
	wanters int  // guarded by pool.mu: who want it though no caller owns it; see Warm
}

// dialWantedLocked starts the dials that the waiting callers need and the
// limits permit.
func (p *pool) dialWantedLocked() {
	w := p.waiters.head
	for ; w != nil && p.mayOpenLocked(); w = w.next {
		p.dialForLocked(w)
	}
	if w != nil {
		p.endProbeLocked(errProbeYielded)
	}
}

// mayOpenLocked reports whether the limits permit another connection.
func (p *pool) mayOpenLocked() bool {
	limit := p.u.policy().MaxConns
	return !p.closed && (limit <= 0 || p.open+p.probeSlots < limit)
}

// dialForLocked starts a dial for w unless one under way will do.
func (p *pool) dialForLocked(w *waiter) {
	if w.dialing || !p.mayOpenLocked() {
		return
	}
	if p.mayShareLocked() {
		// One handshake at a time: if it turns out to be HTTP/2, the
		// connection serves all. If not, the others dial when that is known.
		for _, d := range p.dials {
			if !d.abandoned && (d.held || !d.started.Before(w.notBefore)) {
				return // one that is held begins later than anybody wants
			}
		}
	} else if w.notBefore.IsZero() && p.reliableDialsLocked() >= p.waiters.n {
		return // as many connections are coming as callers wait
	}
	w.dialing = true
	p.startDialLocked(w, w.ctx)
}

// reliableDialsLocked is asked for each caller that waits whenever a dial ends,
// which must not take long when thousands reconnect at once.
func (p *pool) reliableDialsLocked() int { return len(p.dials) - p.astray }

func (p *pool) abandonLocked(d *dial) {
	if !d.abandoned {
		d.abandoned = true
		p.astray++
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
	if d.owner != nil {
		d.owner.dialing = false
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
		if c.streams == 0 && !c.gone && !c.idle {
			p.keepLocked(c, now, &doomed)
		}
		p.mu.Unlock()
		doomed.shut()
		c.reviewShared()
		p.mu.Lock()
		p.dialWantedLocked() // for those it has no streams for
		p.mu.Unlock()
	} else if c.cc.Err() != nil {
		c.settle(time.Time{})
	}
	p.u.t.capIdle()
}

// failLocked hands a dial's error to the caller it was made for, and, where
// callers shared it instead of dialing themselves, to those too.
func (p *pool) failLocked(d *dial, err error) {
	if d.owner != nil && d.owner.queued {
		p.waiters.remove(d.owner)
		d.owner.deliver(nil, err)
	}
	if d.abandoned || !p.mayShareLocked() {
		return
	}
	for w := p.waiters.pop(d.started); w != nil; w = p.waiters.pop(d.started) {
		w.deliver(nil, err)
	}
}

// releaseSlot is for a dial that did not begin.
func (p *pool) releaseSlot() {
	p.mu.Lock()
	p.open--
	p.mu.Unlock()
}

// slotFreed is called when a socket was closed.
func (p *pool) slotFreed() {
	p.mu.Lock()
	p.open--
	p.dialWantedLocked()
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
	c := &conn{pool: p, born: d.started, maxAge: jittered(pol.MaxConnAge), lostAfter: pings.lostAfter()}
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
