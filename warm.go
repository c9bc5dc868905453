package idlewise

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Warm opens connections to the upstream of rawURL until n are ready, so that
// the next n requests at a time need not wait for one to be opened: before a
// service takes traffic, or a burst is due. Connections that are idle or being
// opened in advance count. If the upstream speaks HTTP/2, one is enough,
// whatever n. It returns when all are open, or have failed, or ctx has ended.
//
// No request is sent. The URL's scheme, host and port count; the Base's Proxy
// function is asked with a GET request for it. The connections obey the policy
// like any others: an n beyond MaxConns or MaxIdleConns is an error, DialRate
// holds, and who is not used is retired at the idle deadline. Warm opens them
// once; what keeps connections ready is Policy.MinIdleConns, for which Warm counts
// as a use.
//
// An error says how many were opened and wraps those of the dials, as net/http
// gives them, each text once. What was opened stays. After Close or Shutdown it
// is ErrClosed. When ctx ends, dials that wait for their turn are given up;
// those that have begun go on for whoever comes next. With Config.Passthrough,
// Warm does nothing.
//
// Warm is safe for concurrent use.
func (t *Transport) Warm(ctx context.Context, rawURL string, n int) error {
	if err := t.ready(); err != nil {
		return err
	}
	u, err := t.upstreamToWarm(ctx, rawURL, n)
	if u == nil {
		return err
	}
	err = u.pool.warm(ctx, n)
	u.inFlight.Add(-1)
	t.noteQuiet()
	return err
}

// upstreamToWarm finds or makes the record, which is nil if there is nothing to
// do. Its inFlight is counted up.
func (t *Transport) upstreamToWarm(ctx context.Context, rawURL string, n int) (*upstream, error) {
	target, err := parseProbeURL(rawURL)
	if n <= 0 {
		err = errors.Join(err, fmt.Errorf("n is %d; give the number of connections to have ready, at least 1", n))
	}
	if err != nil {
		return nil, fmt.Errorf("idlewise: Warm: %w", err)
	}
	if t.passthrough != nil {
		return nil, nil
	}
	if t.ending.Load() {
		return nil, ErrClosed
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("idlewise: Warm: no connection was opened: %w", err)
	}
	req := &http.Request{
		Method: http.MethodGet, URL: target, Host: target.Host, Header: make(http.Header),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	var proxy *url.URL
	if err = t.validator.check(req); err == nil {
		proxy, err = t.proxyFor(req.WithContext(ctx))
		if err != nil {
			err = fmt.Errorf("the Base's Proxy: %w; correct it, or unset HTTP_PROXY and HTTPS_PROXY", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("idlewise: Warm: %w", err)
	}
	return t.upstreamFor(target, proxy, false), nil
}

// warm opens connections until n are ready.
func (p *pool) warm(ctx context.Context, n int) error {
	var w warming
	for w.n = n; ; {
		more, err := p.warmRound(ctx, &w)
		if err != nil {
			return err
		}
		if !more || len(w.errs) > 0 {
			break
		}
	}
	if len(w.errs) == 0 {
		return nil
	}
	if p.u.t.ending.Load() {
		return ErrClosed
	}
	return fmt.Errorf("idlewise: Warm: of the %d connections to %s that were to be ready %d were opened: %w", n, p.u.name, w.opened, errors.Join(w.errs...))
}

// A warming is one call of Warm.
type warming struct {
	n      int
	rounds int
	opened int
	errs   []error // no two of the same text
}

func (w *warming) fail(err error) {
	for _, other := range w.errs {
		if other.Error() == err.Error() {
			return
		}
	}
	w.errs = append(w.errs, err)
}

// warmRound dials what is missing and waits for it. As long as it is not known
// whether the server speaks HTTP/2, that is one connection, and there may be more
// to do, as when a canary has made way. An error means that nothing was tried.
func (p *pool) warmRound(ctx context.Context, w *warming) (more bool, err error) {
	now := time.Now()
	p.mu.Lock()
	pol := p.u.policy()
	if p.closed || p.u.t.ending.Load() {
		p.mu.Unlock()
		return false, ErrClosed
	}
	if err := p.warmableLocked(w.n, pol); err != nil {
		p.mu.Unlock()
		return false, fmt.Errorf("idlewise: Warm: %w", err)
	}
	p.lastUse, p.closeFreed = now, false
	w.rounds++
	sharing := p.mayShareLocked() && w.rounds == 1
	missing := p.lacksLocked(w.n, now, pol)
	var coming []*dial
	if missing > 0 {
		for _, d := range p.dials {
			if !d.abandoned && (sharing || d.owner == nil) {
				coming = append(coming, d)
			}
		}
		missing -= len(coming)
	}
	if sharing && missing > 0 {
		missing = min(missing, 1-len(coming))
	}
	for ; missing > 0 && p.mayOpenLocked(); missing-- {
		coming = append(coming, p.startDialLocked(nil, ctx))
	}
	var room <-chan struct{}
	if missing > 0 {
		room = p.yieldCanaryLocked()
	}
	if room != nil {
		w.rounds-- // it begins anew when there is room
	} else if missing > 0 {
		w.fail(fmt.Errorf("Policy.MaxConns, %d, leaves no room for %d more beside those in use; raise it, or call Warm before requests come", pol.MaxConns, missing))
	}
	for _, d := range coming {
		d.wanters++
	}
	p.mu.Unlock()

	ended := ctx.Done()
	for _, d := range coming {
		select {
		case <-d.done:
		case <-ended:
		}
		select {
		case <-d.done: // also where both came at once
			if d.err == nil {
				w.opened++
			} else {
				w.fail(d.err)
			}
		default:
			w.fail(context.Cause(ctx))
		}
	}
	p.unwant(coming)
	if room != nil {
		select {
		case <-room:
		case <-ended:
			w.fail(context.Cause(ctx))
		}
	}
	return room != nil || sharing && len(coming) > 0, nil
}

// warmableLocked says why n connections cannot be ready at a time.
func (p *pool) warmableLocked(n int, pol *Policy) error {
	t := p.u.t
	var errs []error
	if over(n, pol.MaxConns) {
		errs = append(errs, fmt.Errorf("Policy.MaxConns: %d allows no %d connections to %s; raise it, or lower n", pol.MaxConns, n, p.u.name))
	}
	if over(n, pol.MaxIdleConns) {
		errs = append(errs, fmt.Errorf("Policy.MaxIdleConns: %d allows no %d idle connections to %s; raise it, or lower n", pol.MaxIdleConns, n, p.u.name))
	}
	if t.maxIdle > 0 && int64(n) > t.maxIdle {
		errs = append(errs, fmt.Errorf("Config.MaxIdleConns: %d allows no %d idle connections; raise it, or lower n", t.maxIdle, n))
	}
	if l := idleLimitFor(pol, 0, 0, p.knownLocked("")); l.reached(0) {
		errs = append(errs, fmt.Errorf("Policy.IdleMargin: %v leaves nothing of the %v for which the server keeps idle connections, so that none can be ready; lower it", l.margin, l.server))
	}
	return errors.Join(errs...)
}

// unwant is called by a Warm that waits no more: dials that nobody else wants and
// that have not begun are given up.
func (p *pool) unwant(dials []*dial) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range dials {
		if d.wanters--; d.wanters == 0 && d.owner == nil && d.held {
			p.abandonLocked(d)
			d.cancel()
		}
	}
}
