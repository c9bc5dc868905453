package idlewise

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Probe measures how the server of rawURL ends idle connections. It opens a
// few connections of its own, sends a request on each, reads the response, and
// waits to see what becomes of them.
//
// The connections are made with the Base's dialer, TLS, proxy and HTTP/2
// settings. They are never used for other requests, count in no Stats, and
// neither limits nor Close concern them: a probe ends with ctx, or with
// ProbeOptions.Timeout. What is known by then is reported; the report says
// whether ctx cut it short.
//
// An error means that nothing could be measured: the URL or an option is
// wrong, and the report is nil; or no connection could be opened, which the
// report tells too. A server that refuses, closes at once, answers too slowly
// or never closes is no error once a connection was open: the report says so.
//
// Probe is safe for concurrent use. Nothing is learned from it unless the
// caller puts what it measured into a Policy, as ProbeReport.SuggestedPolicy
// does.
func (t *Transport) Probe(ctx context.Context, rawURL string, opt ProbeOptions) (*ProbeReport, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	if t.ending.Load() {
		return nil, ErrClosed
	}
	p, err := t.newProber(ctx, rawURL, opt)
	if err != nil {
		return nil, fmt.Errorf("idlewise: probe: %w", err)
	}
	return p.run(ctx)
}

// CheckProbe returns the error that Probe would return because rawURL or an
// option is wrong, and sends nothing: who probes many servers, for minutes each,
// wants to know all mistakes before that.
func (t *Transport) CheckProbe(rawURL string, opt ProbeOptions) error {
	if err := t.ready(); err != nil {
		return err
	}
	if t.ending.Load() {
		return ErrClosed
	}
	if _, err := t.newProber(context.Background(), rawURL, opt); err != nil {
		return fmt.Errorf("idlewise: probe: %w", err)
	}
	return nil
}

// run measures. Its sockets are closed when it returns, but for strays.
func (p *prober) run(ctx context.Context) (*ProbeReport, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.opt.Timeout, errProbeOver)
	defer cancel()

	var limit sync.WaitGroup
	if p.opt.MaxRequests > 0 {
		limit.Go(func() { p.report.Requests = p.countRequests(ctx) })
	}
	if p.opt.Bisect {
		p.bisect(ctx)
	} else {
		p.watchAll(ctx)
	}
	limit.Wait()

	r := &p.report
	r.Took = time.Since(p.began)
	r.Cut = ctx.Err() != nil && context.Cause(ctx) != errProbeOver
	r.conclude()
	if r.Finding == ProbeUnreachable && !r.Cut {
		return r, fmt.Errorf("idlewise: probe of %s: no connection could be opened%s: %w", r.URL, p.dialRemedy(p.dialErr), p.dialErr)
	}
	return r, nil
}

// errProbeOver is the cause of contexts that ProbeOptions.Timeout ended.
var errProbeOver = errors.New("ProbeOptions.Timeout is over")

// A prober is one call of Probe.
type prober struct {
	// Assigned once.
	t            *Transport
	opt          ProbeOptions
	u            *url.URL
	proxy        *url.URL // or nil
	http         *http.Transport
	scheme, addr string
	began        time.Time

	strays  sync.WaitGroup // dials that were given up and have not ended
	useGET  atomic.Bool    // the server does not know HEAD
	telling sync.Mutex     // held while OnConn runs

	mu      sync.Mutex
	report  ProbeReport
	dialErr error // the first
}

func (t *Transport) newProber(ctx context.Context, rawURL string, opt ProbeOptions) (*prober, error) {
	opt = opt.withDefaults()
	errs := opt.mistakes()
	u, err := parseProbeURL(rawURL)
	if err != nil {
		return nil, errors.Join(append(errs, err)...)
	}
	req := opt.request(u, opt.firstMethod()).WithContext(ctx)
	if err := t.validator.check(req); err != nil {
		errs = append(errs, fmt.Errorf("ProbeOptions.Method or Header: %w; correct it", err))
	}
	proxy, err := t.proxyFor(req)
	if err != nil {
		errs = append(errs, fmt.Errorf("the Base's Proxy: %w; correct it, or unset HTTP_PROXY and HTTPS_PROXY", err))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return t.prober(u, proxy, opt), nil
}

// prober makes a prober; opt's zero fields are filled in.
func (t *Transport) prober(u, proxy *url.URL, opt ProbeOptions) *prober {
	p := &prober{t: t, opt: opt, u: u, proxy: proxy, scheme: u.Scheme, addr: addrOf(u), began: time.Now()}
	p.http = t.probeBase(proxy)
	p.report = ProbeReport{URL: u.Redacted(), Began: p.began}
	if proxy != nil {
		p.report.Proxy = proxy.Redacted()
	}
	return p
}

// probeBase makes a copy of the Base that keeps connections open and wants
// only short responses.
func (t *Transport) probeBase(proxy *url.URL) *http.Transport {
	b := t.base.http.Clone()
	b.Proxy = http.ProxyURL(proxy)
	b.DialContext = watchDials(b.DialContext)
	b.DisableKeepAlives = false // else every request would ask to be the last
	b.DisableCompression = true
	b.MaxResponseHeaderBytes = maxProbeResponseHeaders
	b.ResponseHeaderTimeout = 0 // AnswerTimeout bounds the whole response
	if b.HTTP2 != nil {
		h2 := *b.HTTP2
		h2.SendPingTimeout = 0 // pings could keep the connection open
		b.HTTP2 = &h2
	}
	return b
}

func (o *ProbeOptions) firstMethod() string {
	if o.Method == "" {
		return http.MethodHead
	}
	return o.Method
}

func (p *prober) method() string {
	if p.useGET.Load() {
		return http.MethodGet
	}
	return p.opt.firstMethod()
}

// open dials and sends the first request. row gets what is known, also if it
// fails; then there is no connection, and row.End says why.
func (p *prober) open(ctx context.Context, row *ProbeConn) *probeConn {
	for {
		row.Start = time.Since(p.began)
		c, err := p.dial(ctx)
		if err != nil {
			row.End, row.Detail = ProbeEndUnreachable, err.Error()
			if ctx.Err() != nil && context.Cause(ctx) != errProbeOver {
				row.End = ProbeEndUnfinished // the caller gave up, not the server
				return nil
			}
			p.mu.Lock()
			p.dialErr = cmp.Or(p.dialErr, err)
			p.mu.Unlock()
			return nil
		}
		row.Remote, row.RTT = c.remote, c.rtt
		a, again, err := p.askFirst(ctx, c)
		if again {
			c.close()
			continue
		}
		row.Method, row.Status, row.Proto = p.method(), a.status, a.proto
		row.KeepAlive, row.Hint = a.keepAlive, a.hint.timeout
		switch {
		case errors.Is(err, errProbeSlow), errors.Is(err, errProbeBody), err != nil && ctx.Err() != nil:
			row.End, row.Detail = ProbeEndUnfinished, err.Error()
		case err != nil:
			row.End, row.Detail = ProbeEndNoAnswer, err.Error()
		case a.last:
			row.End = ProbeEndAnnounced
		default:
			return c
		}
		c.close()
		return nil
	}
}

// askFirst sends a connection's first request. again says that the server
// wants another method, which needs another connection.
func (p *prober) askFirst(ctx context.Context, c *probeConn) (a answer, again bool, err error) {
	method := p.method()
	a, err = c.ask(ctx, method, p.opt.AnswerTimeout)
	if err != nil || method != http.MethodHead || p.opt.Method != "" ||
		a.status != http.StatusMethodNotAllowed && a.status != http.StatusNotImplemented {
		return a, false, err
	}
	p.useGET.Store(true) // so that this happens once for each connection at most
	if a.last {
		return a, true, nil
	}
	a, err = c.ask(ctx, http.MethodGet, p.opt.AnswerTimeout)
	return a, false, err
}

// watchAll watches connections to their ends. After a mass close it begins
// anew, once: a restart says nothing of the timeout.
func (p *prober) watchAll(ctx context.Context) {
	p.watchRound(ctx)
	if markMassCloses(p.report.Conns) && ctx.Err() == nil {
		p.watchRound(ctx)
		markMassCloses(p.report.Conns)
	}
}

func (p *prober) watchRound(ctx context.Context) {
	offsets := p.opt.offsets()
	began := time.Now()
	first := len(p.report.Conns) + 1
	var wg sync.WaitGroup
	for i, offset := range offsets {
		wg.Go(func() {
			if !sleepUntil(ctx, began.Add(offset)) {
				return
			}
			p.add(p.watchOne(ctx, first+i))
		})
	}
	wg.Wait()
	slices.SortFunc(p.report.Conns, func(a, b ProbeConn) int { return a.N - b.N })
}

// offsets are the times at which the connections of a round begin. They are
// uneven, so that they do not fall into step with a server that looks at its
// connections now and then.
func (o *ProbeOptions) offsets() []time.Duration {
	offsets := make([]time.Duration, o.Connections)
	step := max(0, o.Stagger)
	if steps := o.Connections * (o.Connections - 1) / 2; steps > 0 {
		step = min(step, o.Timeout/4/time.Duration(steps))
	}
	for i := range offsets {
		offsets[i] = step * time.Duration(i*(i+1)/2)
	}
	return offsets
}

func (p *prober) watchOne(ctx context.Context, n int) ProbeConn {
	row := ProbeConn{N: n}
	if c := p.open(ctx, &row); c != nil {
		row.End, row.Age = c.watch(ctx)
		row.note(c)
		c.close()
	}
	row.Ended = time.Since(p.began)
	return row
}

// note takes over what is worth telling of a connection that has ended or was
// given up.
func (c *ProbeConn) note(of *probeConn) {
	c.Suspended = of.suspended(time.Now())
	if s := of.wire.state(); s.raw && !s.h2 && len(s.burst) > 0 {
		c.Detail = fmt.Sprintf("%q", shorten(string(s.burst)))
	}
}

func (p *prober) add(row ProbeConn) {
	p.mu.Lock()
	p.report.Conns = append(p.report.Conns, row)
	p.mu.Unlock()
	if p.opt.OnConn != nil {
		p.telling.Lock()
		defer p.telling.Unlock()
		p.opt.OnConn(row)
	}
}

// sleepUntil reports false if ctx ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// dialRemedy says what to do about a dial's error.
func (p *prober) dialRemedy(err error) string {
	var viaProxy *net.OpError
	atProxy := p.proxy != nil && errors.As(err, &viaProxy) && viaProxy.Op == "proxyconnect"
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var noTLS tls.RecordHeaderError
	switch {
	case atProxy && errors.As(err, &dns):
		return fmt.Sprintf(" (check the name of the proxy %s, or go without it)", p.proxy.Redacted())
	case errors.As(err, &dns):
		return " (check the host's name)"
	case errors.As(err, &authority):
		return " (give the server's CA in the Base's TLSClientConfig.RootCAs)"
	case errors.As(err, &hostname), errors.As(err, &invalid):
		return " (use the name that the server's certificate is for, or renew the certificate)"
	case errors.As(err, &noTLS):
		return " (the server does not speak TLS here: try http:// or another port)"
	case atProxy:
		return fmt.Sprintf(" (is the proxy %s running, and is its port right? Else go without it)", p.proxy.Redacted())
	case p.proxy != nil:
		return fmt.Sprintf(" (are the server and the proxy %s running, and may the proxy reach the server?)", p.proxy.Redacted())
	}
	return " (is the server running, and is the port right?)"
}
