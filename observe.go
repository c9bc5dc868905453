package idlewise

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"sync"
	"time"

	"github.com/idlewise/idlewise/internal/deadline"
)

// An ObserveConfig says how Observe watches. The zero value is a good one.
type ObserveConfig struct {
	// MaxUpstreams is how many upstreams are told apart; the requests to all
	// others are reported as one, named "other". Default: 1000.
	MaxUpstreams int
}

const (
	defaultObserved = 1000
	observedOther   = "other"
)

// An Observer is a RoundTripper that hands every request to another one and
// watches, through net/http/httptrace, what becomes of it.
type Observer struct {
	next  http.RoundTripper
	limit int
	since time.Time

	mu        sync.Mutex // guards upstreams
	upstreams map[observedKey]*observed
}

type observedKey struct{ scheme, host string }

// Observe returns an Observer around rt, which works as before: the Observer
// sends, repeats and closes nothing. It reports which requests met a connection
// that the server had closed, and what idlewise would have done about each.
// Nil means http.DefaultTransport.
//
// It sees what httptrace's hooks tell: the RoundTripper must call them as
// http.Transport does, and calls those of the program as well. An upstream is
// scheme, host and port of a request's URL; proxies are not seen.
func Observe(rt http.RoundTripper, cfg ObserveConfig) *Observer {
	if rt == nil {
		rt = http.DefaultTransport
	}
	if cfg.MaxUpstreams <= 0 {
		cfg.MaxUpstreams = defaultObserved
	}
	return &Observer{next: rt, limit: cfg.MaxUpstreams, since: time.Now(), upstreams: make(map[observedKey]*observed)}
}

// Unwrap returns the RoundTripper that is observed, so that Wrap finds what it
// takes over.
func (o *Observer) Unwrap() http.RoundTripper { return o.next }

// CloseIdleConnections passes the call on, if the RoundTripper takes it.
func (o *Observer) CloseIdleConnections() {
	if c, ok := o.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip hands the request on.
func (o *Observer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req == nil || req.URL == nil {
		return o.next.RoundTrip(req) // which says what is wrong
	}
	w := &watch{}
	copied := req.WithContext(httptrace.WithClientTrace(req.Context(), w.trace()))
	resp, err := o.next.RoundTrip(copied)
	if resp != nil && resp.Request == copied {
		resp.Request = req
	}
	before, last := w.end()
	o.at(req).note(req, resp, err, before, last)
	return resp, err
}

// at returns the record for req's upstream.
func (o *Observer) at(req *http.Request) *observed {
	key := observedKey{req.URL.Scheme, req.URL.Host}
	o.mu.Lock()
	defer o.mu.Unlock()
	u := o.upstreams[key]
	if u == nil {
		if len(o.upstreams) >= o.limit {
			key = observedKey{}
			if u = o.upstreams[key]; u != nil {
				return u
			}
		}
		u = &observed{name: observedOther}
		if key.scheme != "" {
			target := hostOf(req.URL)
			u.name = target.scheme + "://" + target.addr()
		}
		o.upstreams[key] = u
	}
	return u
}

// A watched attempt is one connection that a request got.
type watched struct {
	info     httptrace.GotConnInfo
	http2    bool // as negotiated over TLS
	wrote    bool // something of the request was handed to the connection
	answered bool // a byte of a response came
}

// kept reports whether the server had a reason of its own to close the
// connection before the request came.
func (w *watched) kept() bool { return w.info.Reused || w.info.WasIdle }

// maxWatched bounds the attempts of a RoundTripper that repeats for ever.
const maxWatched = 16

// A watch sees one call of RoundTrip.
type watch struct {
	mu       sync.Mutex // hooks come from several goroutines, also after the call
	ended    bool
	attempts []watched // each but the last was followed by another
	between  bool      // the last was too, which has no connection yet
}

func (w *watch) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { w.locked(func() { w.between = true }) },
		GotConn: func(info httptrace.GotConnInfo) {
			now := watched{info: info}
			if c, ok := info.Conn.(*tls.Conn); ok {
				now.http2 = c.ConnectionState().NegotiatedProtocol == "h2"
			}
			w.locked(func() {
				w.between = len(w.attempts) == maxWatched
				if !w.between {
					w.attempts = append(w.attempts, now)
				}
			})
		},
		WroteHeaders:         func() { w.current(func(a *watched) { a.wrote = true }) },
		GotFirstResponseByte: func() { w.current(func(a *watched) { a.answered = true }) },
	}
}

func (w *watch) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		f()
	}
}

// current calls f with the attempt under way.
func (w *watch) current(f func(*watched)) {
	w.locked(func() {
		if n := len(w.attempts); n > 0 && !w.between {
			f(&w.attempts[n-1])
		}
	})
}

// end returns the attempts that were followed by another, and the one that was
// not, if the call ended with one.
func (w *watch) end() (before []watched, last *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	n := len(w.attempts)
	if n == 0 || w.between {
		return w.attempts, nil
	}
	return w.attempts[:n-1], &w.attempts[n-1]
}

// An observed upstream.
type observed struct {
	name string

	mu      sync.Mutex // guards what follows
	counts  ObservedCounters
	byMeth  [len(observedMethods)]uint64
	reuse   idleHistogram
	stale   idleHistogram
	hint    time.Duration // the server's last Keep-Alive: timeout=N
	learner deadline.Learner
}

// note takes in one call of RoundTrip.
func (u *observed) note(req *http.Request, resp *http.Response, err error, before []watched, last *watched) {
	now := time.Now()
	http2 := resp != nil && resp.ProtoMajor == 2
	opt := optionsOf(req.Context())
	u.mu.Lock()
	defer u.mu.Unlock()
	u.counts.Requests++
	for i := range before {
		a := &before[i]
		u.attempt(a)
		switch {
		case a.answered: // and repeated for what the response said
		case a.http2 || http2:
			// Most of them were refused by a server that was well, as at a
			// GOAWAY, and the hooks do not tell them from the rest.
			u.counts.RepeatedHTTP2++
		case a.kept():
			u.staleHit(req, opt, a, now)
			u.counts.Repeated++
		}
	}
	if last == nil {
		return
	}
	u.attempt(last)
	switch {
	case resp != nil && last.kept() && resp.StatusCode == http.StatusRequestTimeout && resp.Close:
		// The server's idle timeout and the request have crossed.
		last.wrote = true
		u.staleHit(req, opt, last, now)
		u.counts.Failed++
	case err == nil:
		if last.info.WasIdle && u.learner.Heeds(last.info.IdleTime) {
			u.learner.Survived(last.info.IdleTime)
		}
		if resp != nil {
			if h := hintOf(resp); h.timeout > 0 {
				u.hint = h.timeout
			}
		}
	case last.kept() && !last.answered && req.Context().Err() == nil && !requestCanceled(req) && isStaleError(err):
		u.staleHit(req, opt, last, now)
		u.counts.Failed++
	}
}

func (u *observed) attempt(a *watched) {
	u.counts.Attempts++
	if a.kept() {
		u.counts.Reused++
	}
	if a.info.WasIdle {
		u.reuse.observe(a.info.IdleTime)
	}
}

// isStaleError reports whether err is one that a request gets that met a
// connection which the server had closed, if no byte of a response came.
func isStaleError(err error) bool {
	if errors.Is(err, io.ErrUnexpectedEOF) { // net/http's of HTTP/2 connections
		return true
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if isClosedConn(e) {
			return true
		}
	}
	return false
}

// staleHit counts a request that met a closed connection, and what idlewise
// would have done. What it had learned by then counts.
func (u *observed) staleHit(req *http.Request, opt options, a *watched, now time.Time) {
	idempotent := isIdempotent(req, opt)
	u.byMeth[methodIndex(req.Method)]++
	u.stale.observe(a.info.IdleTime)
	if idempotent {
		u.counts.StaleIdempotent++
	} else {
		u.counts.StaleOther++
	}
	replayable := req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
	switch {
	case a.info.WasIdle && u.limit().reached(a.info.IdleTime):
		u.counts.WouldAvoid++
	case replayable && (idempotent || !a.wrote):
		u.counts.WouldResend++
	case replayable && provableHere(a.info.Conn):
		u.counts.WouldSeekProof++
	default:
		u.counts.WouldFail++
	}
	if a.info.WasIdle {
		u.learner.Closed(now, a.info.IdleTime)
	}
}

// limit is how long idlewise would let a connection idle, by default and by what
// is known so far.
func (u *observed) limit() idleLimit {
	d, sure := u.learner.Deadline()
	return idleLimitFor(&defaultPolicy, u.hint, 0, lesson{deadline: d, sure: sure})
}

// provableHere reports whether the kernel could be asked what became of a
// request on c.
func provableHere(c net.Conn) bool {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	_, tcp := c.(*net.TCPConn)
	return tcp && runtime.GOOS == "linux"
}
