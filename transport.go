package idlewise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
)

// DefaultTransport is a Transport with default settings, like
// http.DefaultTransport, whose settings it copies when it is first used. It
// cannot be closed.
var DefaultTransport = &Transport{}

// Defaults of Config's fields.
const (
	defaultMaxUpstreams   = 4096
	defaultTotalIdleConns = 1024
	defaultMaxCanaries    = 32
	defaultReplayBytes    = 64 << 20
)

// A Config says how a Transport is made. The zero value is a good one.
type Config struct {
	// Base gives the dialer and the TLS, proxy and HTTP/2 settings. It is
	// cloned; later changes to it have no effect. nil: a copy of
	// http.DefaultTransport.
	//
	// Its limits are respected: MaxConnsPerHost is Policies.Default.MaxConns
	// where that is unset, MaxIdleConnsPerHost is MaxIdleConns where it is
	// larger than the default, and IdleConnTimeout is MaxIdleTime where that
	// is unset, as are HTTP2's SendPingTimeout and PingTimeout PingAfter and
	// PingTimeout. Its MaxIdleConns is that of this Config where that is unset,
	// but not where Base is nil: http.DefaultTransport's 100 was chosen for
	// two connections a host. DisableKeepAlives is honoured. Requests with a scheme other
	// than http and https go to Base itself.
	Base *http.Transport

	// Policies say how the connections to each upstream are kept.
	Policies Policies

	// Passthrough switches idlewise off: every request goes to Base, or the
	// RoundTripper that was wrapped, untouched. No policy is in force, and Stats
	// count nothing. Shutdown and Close close the connections that are idle there,
	// and new requests get ErrClosed as ever, so that a program ends the same way
	// with and without it; but requests that run are neither waited for nor cut
	// off, since nothing is known of them.
	Passthrough bool

	// MaxUpstreams is how many upstreams are remembered. Those without
	// connections are forgotten first, the ones unused for longest before
	// others; those that have some are remembered beyond it. One without takes
	// about 7 KB. Default: 4096.
	MaxUpstreams int

	// MaxIdleConns is how many connections may be idle in the whole
	// Transport; beyond it, the one idle for longest is closed. Negative: no
	// limit. Default: the Base's MaxIdleConns, also that of a transport that was
	// wrapped; 1024 where that is 0, no limit, or Base is nil.
	MaxIdleConns int

	// Learned is what another Transport had learned, perhaps in an earlier
	// process: see Knowledge. It is copied. nil: nothing is known.
	Learned *Knowledge

	// MaxCanaries is how many connections in the whole Transport may be kept
	// open past their deadline to see when the server closes them; see
	// Policy.Canary. Negative: none. Default: 32.
	MaxCanaries int

	// MaxReplayBytes bounds what is kept of request bodies for Retry.MaxReplayBody,
	// in the whole Transport. Negative: nothing. Default: 64 MiB.
	MaxReplayBytes int64

	// OnEvent is told what happens to connections and what was learned: see
	// Event. It is called in a goroutine of its own a moment after the event,
	// never twice at a time, in the order in which things happened. No request
	// waits for it; but if it blocks, more than 8192 events that wait are
	// dropped (Stats.EventsDropped). It may use the Transport. Close does not
	// wait for it. Nil: nobody is told, and nothing is spent on it.
	OnEvent func(Event)

	// Logger gets the events as records: requests that were lost at level
	// Warn; resends, failed dials and changed deadlines at Info; connections
	// opened and closed at Debug. Of each kind at most 10 a second are logged
	// at Warn and Info, 100 at Debug, after 20 (200) at once; the attribute
	// "suppressed" of the next one says how many were left out. Nil: silent.
	Logger *slog.Logger
}

// A Transport is an http.RoundTripper that does not send requests on
// connections that the server is about to close.
//
// Its zero value is ready to use and is what New(Config{}) returns. A
// Transport is safe for concurrent use, must not be copied after its first
// use, and should be reused, since it holds the connections. One that is
// dropped without Close leaves nothing running once its connections have
// idled out.
type Transport struct {
	setUp    sync.Once
	setUpErr error

	// Assigned by setUp, never reassigned.
	base         *base
	validator    validator
	keepAlive    http.RoundTripper // what Wrap was given
	passthrough  http.RoundTripper // not nil: it gets every request
	policies     atomic.Pointer[policyTable]
	defaults     Policy // what Policies.Default inherits
	baseMaxConns int    // the Base's MaxConnsPerHost
	maxUpstreams int
	maxIdle      int64 // not positive: no limit
	maxCanaries  int64
	learned      map[string]UpstreamKnowledge // by an earlier process, by the upstream's name

	policyMu sync.Mutex // held while policies are replaced
	given    Policies   // guarded by it

	registry   registry
	groups     groups
	idleConns  atomic.Int64
	canaries   atomic.Int64
	replays    byteStore
	probes     probeSeats
	news       *news // nil: nobody wants any; assigned by setUp
	recent     recent
	capping    sync.Mutex // held while idle connections beyond maxIdle are closed
	idlers     idlers     // guarded by it
	lastConnID atomic.Uint64

	ending   atomic.Bool   // no new requests
	cut      atomic.Bool   // connections in use were closed, too
	cutNow   chan struct{} // closed by then
	quietNow chan struct{} // has room for one; told when a connection or request ends while ending
}

// New makes a Transport. All mistakes in cfg are reported, each by the name of
// its field; errors.Join's Unwrap lists them.
func New(cfg Config) (*Transport, error) {
	if cfg.Base == nil {
		return build(cfg, nil, nil, nil) // not a typed nil
	}
	return build(cfg, cfg.Base, cfg.Base, nil)
}

// build makes a Transport on from, which outer leads to; both may be nil.
func build(cfg Config, from *http.Transport, outer http.RoundTripper, errs []error) (*Transport, error) {
	t := &Transport{}
	t.setUp.Do(func() { t.setUpErr = t.init(cfg, from, outer, errs) })
	if t.setUpErr != nil {
		return nil, t.setUpErr
	}
	return t, nil
}

// ready makes a zero Transport usable.
func (t *Transport) ready() error {
	t.setUp.Do(func() { t.setUpErr = t.init(Config{}, nil, nil, nil) })
	return t.setUpErr
}

func (t *Transport) init(cfg Config, from *http.Transport, outer http.RoundTripper, errs []error) error {
	idleInAll := defaultTotalIdleConns
	if from != nil && from.MaxIdleConns > 0 {
		idleInAll = from.MaxIdleConns
	}
	if from == nil && len(errs) == 0 {
		var err error
		if from, err = defaultBase(); err != nil {
			errs = append(errs, err)
		}
	}
	if cfg.MaxUpstreams < 0 {
		errs = append(errs, fmt.Errorf("Config.MaxUpstreams: %d is negative; records must be bounded, give a number or 0 for %d", cfg.MaxUpstreams, defaultMaxUpstreams))
	}
	t.defaults = defaultPolicy
	if from != nil {
		t.defaults, t.baseMaxConns = respectBase(t.defaults, from), from.MaxConnsPerHost
	}
	if cfg.Learned != nil {
		if err := cfg.Learned.validate(); err != nil {
			errs = append(errs, fmt.Errorf("Config.Learned: %w; leave it nil to start without", err))
		}
	}
	table, err := t.compile(cfg.Policies)
	if err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return fmt.Errorf("idlewise: %w", errors.Join(errs...))
	}

	t.news = newNews(cfg.OnEvent, cfg.Logger)
	t.base = newBase(from)
	t.validator = newValidator()
	t.keepAlive = outer
	if cfg.Passthrough {
		t.passthrough = from
		if outer != nil {
			t.passthrough = outer
		}
	}
	t.given = cfg.Policies.clone()
	t.policies.Store(table)
	t.maxUpstreams = cfg.MaxUpstreams
	fill(&t.maxUpstreams, defaultMaxUpstreams)
	t.maxIdle = int64(cfg.MaxIdleConns)
	fill(&t.maxIdle, int64(idleInAll))
	t.maxCanaries = int64(cfg.MaxCanaries)
	fill(&t.maxCanaries, defaultMaxCanaries)
	t.replays.limit = cfg.MaxReplayBytes
	fill(&t.replays.limit, defaultReplayBytes)
	if cfg.Learned != nil {
		t.learned = make(map[string]UpstreamKnowledge, len(cfg.Learned.Upstreams))
		for _, k := range cfg.Learned.Upstreams {
			k.Timeouts = slices.Clone(k.Timeouts)
			t.learned[k.Name] = k
		}
	}
	t.registry.spelled = make(map[spelling]*spelt)
	t.registry.upstreams = make(map[upstreamKey]*upstream)
	t.quietNow = make(chan struct{}, 1)
	t.cutNow = make(chan struct{})
	return nil
}

// respectBase returns the defaults that hold where the Base sets limits.
func respectBase(p Policy, b *http.Transport) Policy {
	if b.MaxConnsPerHost > 0 {
		p.MaxConns = b.MaxConnsPerHost
	}
	p.MaxIdleConns = max(p.MaxIdleConns, b.MaxIdleConnsPerHost)
	if b.IdleConnTimeout > 0 {
		p.MaxIdleTime = b.IdleConnTimeout
	}
	if b.HTTP2 != nil {
		if b.HTTP2.SendPingTimeout > 0 {
			p.PingAfter = b.HTTP2.SendPingTimeout
		}
		if b.HTTP2.PingTimeout > 0 {
			p.PingTimeout = b.HTTP2.PingTimeout
		}
	}
	return p
}

// RoundTrip sends a request, as http.RoundTripper demands it.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.ready(); err != nil {
		closeBody(req)
		return nil, err
	}
	if t.passthrough != nil {
		if t.ending.Load() {
			closeBody(req)
			return nil, ErrClosed
		}
		return t.passthrough.RoundTrip(req)
	}
	switch {
	case req.URL == nil:
		closeBody(req)
		return nil, errors.New("http: nil Request.URL")
	case req.Header == nil:
		closeBody(req)
		return nil, errors.New("http: nil Request.Header")
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		// Registered with the Base, or unknown, as it will say. (Its own
		// clone has lost what was registered.)
		return t.base.original.RoundTrip(req)
	case req.URL.Host == "":
		closeBody(req)
		return nil, errors.New("http: no Host in request URL")
	}
	if err := canceled(req); err != nil {
		closeBody(req)
		awaitCancel(req)
		return nil, err
	}
	proxy, err := t.proxyFor(req)
	if err != nil {
		if invalid := t.validator.check(req); invalid != nil {
			err = invalid
		}
		closeBody(req)
		return nil, err
	}
	u := t.upstreamFor(req.URL, proxy, t.base.http2 && needsHTTP1(req))
	defer u.returned() // also if a hook of the program's panics
	return u.roundTrip(req)
}

// returned says that a RoundTrip is over.
func (u *upstream) returned() {
	u.inFlight.Add(-1)
	u.t.noteQuiet()
}

func (t *Transport) proxyFor(req *http.Request) (*url.URL, error) {
	if t.base.proxy == nil {
		return nil, nil
	}
	return t.base.proxy(req)
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// CloseIdleConnections closes the connections that are idle and cancels dials
// that no request waits for. It does not interrupt anything in use.
func (t *Transport) CloseIdleConnections() {
	if t.ready() != nil {
		return // there are none
	}
	if c, ok := t.passthrough.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	for _, u := range t.registry.all() {
		u.pool.closeIdle(ClosedShutdown)
	}
}

// Shutdown ends the Transport gracefully: new requests get ErrClosed, running
// ones are waited for until their responses are read to the end and their
// connections closed, and may still dial for a resend. If ctx ends before they do, Shutdown closes what is left,
// as Close does, and returns ctx's error.
//
// A service that drains shuts its servers down first and its transports
// afterwards.
func (t *Transport) Shutdown(ctx context.Context) error {
	if t == DefaultTransport {
		return errDefaultTransport
	}
	if err := t.ready(); err != nil {
		return err
	}
	t.ending.Store(true)
	for {
		t.CloseIdleConnections()
		if !t.busy() {
			return t.Close()
		}
		select {
		case <-t.quietNow:
		case <-ctx.Done():
			t.Close()
			return ctx.Err()
		}
	}
}

// Close ends the Transport at once: all connections are closed, running
// requests fail, and new ones get ErrClosed. It does not wait for TLS
// connections to say goodbye, which takes up to 5 s if a peer has vanished.
// Closing again is no error.
func (t *Transport) Close() error {
	if t == DefaultTransport {
		return errDefaultTransport
	}
	if err := t.ready(); err != nil {
		return err
	}
	t.ending.Store(true)
	if !t.cut.Swap(true) {
		close(t.cutNow)
	}
	if t.passthrough != nil {
		t.CloseIdleConnections()
	}
	for _, u := range t.registry.all() {
		u.pool.shutNow(ErrClosed)
	}
	return nil
}

func (t *Transport) busy() bool {
	for _, u := range t.registry.all() {
		if u.inFlight.Load() > 0 || u.pool.busy() {
			return true
		}
	}
	return false
}

// noteQuiet tells a Shutdown that waits to look again. It may be called with
// any lock held.
func (t *Transport) noteQuiet() {
	if !t.ending.Load() {
		return
	}
	select {
	case t.quietNow <- struct{}{}:
	default:
	}
}
