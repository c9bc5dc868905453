package idlewise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"time"
)

// A probeConn is one connection of a probe. It is in no pool.
type probeConn struct {
	p    *prober
	wire *probeWire
	cc   *http.ClientConn

	h2      bool
	layered bool
	rtt     time.Duration
	remote  string
	cancel  context.CancelFunc // of the dial's context

	idleSince time.Time     // the last byte of the last response
	began     time.Time     // when the program had read it
	took      time.Duration // the last response, from the request on
}

// errProbeSlow is the cause of contexts that AnswerTimeout ended.
var errProbeSlow = errors.New("AnswerTimeout is over")

// dial opens a connection with the Base's settings, outside every pool.
func (p *prober) dial(ctx context.Context) (*probeConn, error) {
	c := &probeConn{p: p, wire: newProbeWire()}
	dialCtx, cancel := context.WithCancelCause(ctx)
	// Not canceled before the connection is closed: a dialer may tie its
	// connection's life to the context.
	c.cancel = func() { cancel(nil) }
	slow := time.AfterFunc(p.opt.AnswerTimeout, func() { cancel(errProbeSlow) })
	defer slow.Stop()

	done := make(chan error, 1)
	go func() { done <- c.connect(dialCtx) }()
	var err error
	select {
	case err = <-done:
	case <-dialCtx.Done():
		// A dialer need not heed its context; a Dial without one cannot.
		p.strays.Go(func() {
			<-done
			c.close()
		})
		err = context.Cause(dialCtx)
		if err == errProbeOver {
			return nil, fmt.Errorf("no connection yet: %w", err)
		}
		if err != errProbeSlow {
			return nil, err
		}
		return nil, fmt.Errorf("no connection after %v: %w", p.opt.AnswerTimeout, err)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *probeConn) connect(ctx context.Context) error {
	p := c.p
	rec := &dialRecord{proxy: p.proxy}
	ctx = context.WithValue(ctx, probeWireKey{}, c.wire)
	ctx = httptrace.WithClientTrace(ctx, rec.trace())
	cc, err := p.http.NewClientConn(ctx, p.scheme, p.addr)
	if err != nil {
		return err
	}
	c.cc = cc
	c.h2 = rec.isHTTP2(p.t.base, p.scheme)
	c.rtt = rec.roundTrip()
	overTLS := p.proxy != nil && p.proxy.Scheme == "https"
	c.layered = overTLS && p.scheme == "https"
	c.wire.mu.Lock()
	c.wire.h2 = c.h2
	c.wire.raw = p.scheme == "http" && !overTLS
	c.wire.mu.Unlock()
	if c.wire.Conn != nil && c.wire.RemoteAddr() != nil {
		c.remote = c.wire.RemoteAddr().String()
	}
	cc.SetStateHook(func(*http.ClientConn) { c.wire.nudge() })
	return nil
}

// close ends the connection without waiting for TLS to say goodbye, which
// takes up to 5 s if the peer has vanished.
func (c *probeConn) close() {
	c.hangUp()
	if c.cc != nil {
		c.cc.SetStateHook(nil)
		c.cc.Close()
	}
	c.cancel()
}

// hangUp closes the socket, if it is known.
func (c *probeConn) hangUp() {
	if c.wire.Conn != nil {
		c.wire.Close()
	}
}

// An answer is what a probe keeps of a response.
type answer struct {
	status    int
	proto     string
	keepAlive string // the Keep-Alive header
	hint      hint
	last      bool // it announced that no further request is permitted
}

var errProbeBody = errors.New("the response's body is longer than MaxBody, so that the connection is never idle; probe a path with a shorter response, or raise MaxBody")

// ask sends a request and reads its response to the end, within wait.
func (c *probeConn) ask(ctx context.Context, method string, wait time.Duration) (answer, error) {
	// Trap: HTTP/1 leaks a child of the request's context on every error.
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errProbeSlow)
	defer cancel()
	c.wire.talk()
	asked := time.Now()
	defer func() {
		c.idleSince, c.began = c.wire.rest(), time.Now()
		c.took = c.began.Sub(asked)
	}()

	resp, err := c.cc.RoundTrip(c.p.opt.request(c.p.u, method).WithContext(ctx))
	if err != nil {
		return answer{}, c.slow(ctx, wait, err)
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, proto: resp.Proto}
	if resp.ProtoMajor == 1 {
		a.hint = hintOf(resp)
		if values := resp.Header["Keep-Alive"]; len(values) > 0 {
			a.keepAlive = shorten(values[0])
		}
	}
	a.last = resp.Close || a.hint.last
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return a, errors.New("the server switched protocols; leave Upgrade out of Header")
	}
	n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, max(0, c.p.opt.MaxBody)+1))
	switch {
	case err != nil:
		return a, c.slow(ctx, wait, err)
	case n > max(0, c.p.opt.MaxBody):
		// Trap: from Go 1.27 on, Body.Close reads on, up to 256 KiB.
		c.hangUp()
		return a, errProbeBody
	}
	return a, nil
}

func (c *probeConn) slow(ctx context.Context, wait time.Duration, err error) error {
	if context.Cause(ctx) == errProbeSlow {
		return fmt.Errorf("no complete response after %v: %w", wait, errProbeSlow)
	}
	return err
}

// looks after news: net/http takes a moment to understand what was read, and
// of GOAWAY it does not tell.
const (
	firstLook = time.Millisecond
	lastLook  = 64 * time.Millisecond
	blindLook = 250 * time.Millisecond // where reads cannot be seen
)

// watch waits until the server ends the connection, or ctx ends. It returns
// how long the connection was idle, in the second case as of now.
func (c *probeConn) watch(ctx context.Context) (ProbeEnd, time.Duration) {
	look := time.NewTimer(firstLook)
	defer look.Stop()
	next := firstLook
	for {
		over := ctx.Err() != nil // first: what is seen then is seen after it
		if how, at := c.state().ended(); how != ProbeEndOpen {
			return how, c.age(at)
		}
		if over {
			return ProbeEndOpen, c.age(time.Now())
		}
		switch {
		case next <= lastLook:
			look.Reset(next)
			next *= 2
		case c.wire.Conn == nil && c.h2:
			look.Reset(blindLook)
		}
		select {
		case <-c.wire.changed:
			next = firstLook
		case <-look.C:
		case <-ctx.Done():
		}
	}
}

// state is what is known of the connection now.
func (c *probeConn) state() wireState {
	dead := c.cc.Err() // first: its cause was read before
	s := c.wire.state()
	s.layered, s.h2 = c.layered, c.h2
	if dead != nil {
		s.dead = dead.Error()
		return s
	}
	// Trap: on Go 1.26 nothing else tells that an idle connection got GOAWAY.
	// A connection that is just being closed has no streams either.
	s.goAway = c.h2 && c.cc.Available() == 0 && c.cc.InFlight() == 0 && c.cc.Err() == nil
	return s
}

func (c *probeConn) age(at time.Time) time.Duration { return max(0, at.Sub(c.idleSince)) }

// suspended reports whether the machine slept since the connection fell idle,
// so that ages mean nothing.
func (c *probeConn) suspended(now time.Time) bool {
	mono, wall := now.Sub(c.began), now.Round(0).Sub(c.began.Round(0))
	return (wall - mono).Abs() > time.Second
}

// shorten makes text that a server sent fit for a report.
func shorten(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
