package idlewise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A ledger is a handler that counts executions by key.
type ledger struct {
	announce string
	mu       sync.Mutex
	executed map[string]int
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	if key := r.Header.Get("X-Key"); key != "" {
		l.mu.Lock()
		l.executed[key]++
		l.mu.Unlock()
	}
	if l.announce != "" {
		w.Header().Set("Keep-Alive", l.announce)
	}
	io.WriteString(w, "done")
}

func (l *ledger) twice() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, times := range l.executed {
		if times > 1 {
			n++
		}
	}
	return n
}

// serveNoting runs a Go server whose idle timeout is idle, and notes when it has
// closed connections, by the client's address.
func serveNoting(t *testing.T, h http.Handler, idle time.Duration, closed *sync.Map) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := &http.Server{Handler: h, IdleTimeout: idle, ConnState: func(c net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed.Store(c.RemoteAddr().String(), time.Now())
		}
	}}
	var done sync.WaitGroup
	done.Go(func() { srv.Serve(l) })
	t.Cleanup(func() {
		srv.Close()
		done.Wait()
	})
	return "http://" + l.Addr().String()
}

// A raceKind is a kind of request in the race against the idle timeout.
type raceKind struct {
	method string
	size   int
}

var raceKinds = []raceKind{{"POST", 100}, {"POST", 64 << 10}, {"PUT", 100}, {"DELETE", 0}}

// A raced says how the requests of a race went.
type raced struct {
	failed  [4]int // by kind
	errs    []error
	excused int
}

// attemptTimes are a request's last attempt's.
type attemptTimes struct {
	conn         uint64
	local        string
	before       time.Duration // took the last request on the connection
	got, written time.Time
}

// stalled reports whether a step took as long as limit, closed being when the
// server closed its connections.
func (a *attemptTimes) stalled(closed *sync.Map, limit time.Duration) bool {
	if a.before >= limit || a.written.Sub(a.got) >= limit {
		return true
	}
	at, ok := closed.Load(a.local)
	return ok && !a.written.IsZero() && at.(time.Time).Sub(a.written) >= limit/2
}

// race sends perKind requests of each kind, callers at a time, at gaps within
// spread of the server's idle timeout.
//
// A margin of a fifth of the timeout is lost on a machine that stands still for
// longer. A failure is excused where the process stood still for a tenth of the
// timeout when its request was sent, or that took so long to be written, or to be
// read by the server, which closed the connection instead, or the connection's last
// response to be read: each needs a millisecond.
func race(client *http.Client, url string, closed *sync.Map, perKind, callers int, idle, spread time.Duration) (out raced) {
	took := map[uint64]time.Duration{} // by the last request on a connection, from when it was got
	beat := newMetronome(idle / 10)
	defer beat.stop()
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	total := int64(perKind * len(raceKinds))
	body := bytes.Repeat([]byte("x"), 64<<10)
	for range callers {
		wg.Go(func() {
			for {
				n := next.Add(1) - 1
				if n >= total {
					return
				}
				i := int(n) % len(raceKinds)
				kind := raceKinds[i]
				req, _ := http.NewRequest(kind.method, url, bytes.NewReader(body[:kind.size]))
				req.Header.Set("X-Key", fmt.Sprint(n))
				at := attemptTimes{got: time.Now()} // guarded by mu; AttemptStart is not called by net/http
				ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) {
					mu.Lock()
					at.written = time.Now()
					mu.Unlock()
				}})
				req = req.WithContext(WithTrace(ctx, &Trace{AttemptStart: func(a Attempt) {
					mu.Lock()
					at = attemptTimes{conn: a.ConnID, local: a.Local.String(), got: time.Now(), before: took[a.ConnID]}
					mu.Unlock()
				}}))
				resp, err := client.Do(req)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				mu.Lock()
				took[at.conn] = time.Since(at.got)
				switch {
				case err == nil:
				case at.stalled(closed, idle/10), beat.missed(at.got, at.got.Add(idle/2)):
					out.excused++
				default:
					out.failed[i]++
					out.errs = append(out.errs, err)
				}
				mu.Unlock()
				// The gap is the scenario: real time has to pass here.
				<-time.After(idle + time.Duration(rand.Int64N(int64(2*spread))) - spread)
			}
		})
	}
	wg.Wait()
	return out
}

// A metronome notes when the process stood still.
type metronome struct {
	mu     sync.Mutex
	stalls [][2]time.Time
	ticker *time.Ticker
	ended  chan struct{}
}

func newMetronome(stall time.Duration) *metronome {
	m := &metronome{ticker: time.NewTicker(time.Millisecond), ended: make(chan struct{})}
	go func() {
		for last := time.Now(); ; {
			select {
			case <-m.ended:
				return
			case <-m.ticker.C:
			}
			now := time.Now()
			if now.Sub(last) >= stall {
				m.mu.Lock()
				m.stalls = append(m.stalls, [2]time.Time{last, now})
				m.mu.Unlock()
			}
			last = now
		}
	}()
	return m
}

func (m *metronome) stop() {
	m.ticker.Stop()
	close(m.ended)
}

func (m *metronome) missed(from, to time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.stalls, func(s [2]time.Time) bool { return s[0].Before(to) && s[1].After(from) })
}

// testIdleRace runs the race through idlewise and through http.Transport at
// the same time, each against a server of its own.
func testIdleRace(t *testing.T, policy Policy, announce string, idle, spread time.Duration, callers int) {
	perKind := 1000
	if testing.Short() {
		perKind = 100
	}
	ours, theirs := &ledger{announce: announce, executed: map[string]int{}}, &ledger{announce: announce, executed: map[string]int{}}
	tr, err := New(Config{Policies: Policies{Default: policy}})
	require.NoError(t, err)
	defer tr.Close()
	std := &http.Transport{MaxIdleConnsPerHost: 1000}
	defer std.CloseIdleConnections()

	var other raced
	var wg sync.WaitGroup
	var closed, theirClosed sync.Map
	theirURL := serveNoting(t, theirs, idle, &theirClosed)
	wg.Go(func() {
		other = race(&http.Client{Transport: std}, theirURL, &theirClosed, perKind, callers, idle, spread)
	})
	got := race(&http.Client{Transport: tr}, serveNoting(t, ours, idle, &closed), &closed, perKind, callers, idle, spread)
	wg.Wait()

	t.Logf("of %d each: errors POST 100 B, POST 64 KiB, PUT, DELETE: idlewise %v, net/http %v; excused %d and %d; idlewise opened %d connections", perKind, got.failed, other.failed, got.excused, other.excused, tr.Stats().Total.Opened)
	for _, err := range got.errs {
		t.Errorf("%+v", errors.Unwrap(err)) // the *url.Error hides the attempts
	}
	require.Zero(t, ours.twice(), "executed twice")
	require.Zero(t, theirs.twice())
}

func TestNoRequestIsLostAroundAConfiguredIdleTimeout(t *testing.T) {
	const idle = 100 * time.Millisecond
	testIdleRace(t, Policy{ServerKeepAlive: idle}, "", idle, 700*time.Microsecond, 64)
}

func TestNoRequestIsLostAroundAnAnnouncedIdleTimeout(t *testing.T) {
	t.Parallel()
	testIdleRace(t, Policy{}, "timeout=1", time.Second, 7*time.Millisecond, 256)
}

// A restartable server is replaced by its successor on the same listening
// socket, as under a supervisor that hands the socket on.
type restartable struct {
	listener net.Listener
	handler  http.Handler
	t        *testing.T
	restart  func() // replaces the running server by a new one

	mu      sync.Mutex
	current *http.Server
	wg      sync.WaitGroup
}

// A borrowedListener survives the server that serves on it: closing it only
// ends the Accept that is running.
type borrowedListener struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
	addr     net.Addr
}

func (l *borrowedListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *borrowedListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *borrowedListener) Addr() net.Addr { return l.addr }

func newRestartable(t *testing.T, h http.Handler, protocols *http.Protocols) *restartable {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &restartable{listener: l, handler: h, t: t}
	accepted, over := make(chan net.Conn), make(chan struct{})
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case accepted <- c:
			case <-over: // a dial that nobody waited for any more
				c.Close()
			}
		}
	})
	r.start(accepted, protocols)
	t.Cleanup(func() {
		l.Close()
		close(over)
		r.current.Close()
		r.wg.Wait()
	})
	return r
}

func (r *restartable) start(accepted chan net.Conn, protocols *http.Protocols) {
	srv := &http.Server{Handler: r.handler, Protocols: protocols}
	l := &borrowedListener{accepted: accepted, closed: make(chan struct{}), addr: r.listener.Addr()}
	r.wg.Go(func() { srv.Serve(l) })
	r.mu.Lock()
	old := r.current
	r.current = srv
	r.mu.Unlock()
	if old != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(r.t, old.Shutdown(ctx))
	}
	r.restart = func() { r.start(accepted, protocols) }
}

func TestGracefulRestartsLoseNoGETAndNoPUT(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			t.Parallel()
			protocols := new(http.Protocols)
			protocols.SetHTTP1(!h2)
			protocols.SetUnencryptedHTTP2(h2)
			l := &ledger{executed: map[string]int{}}
			srv := newRestartable(t, l, protocols)
			base := &http.Transport{Protocols: protocols}
			tr, err := New(Config{Base: base})
			require.NoError(t, err)
			defer tr.Close()

			var stop atomic.Bool
			var sent [2]atomic.Int64
			hundred := make(chan struct{}, 1) // GETs were sent
			var wg sync.WaitGroup
			var mu sync.Mutex
			var errs []error
			for caller := range 16 {
				wg.Go(func() {
					for n := 0; !stop.Load(); n++ {
						method := []string{"GET", "PUT"}[n%2]
						req, _ := http.NewRequest(method, "http://"+srv.listener.Addr().String(), bytes.NewReader([]byte("body")))
						req.Header.Set("X-Key", fmt.Sprint(caller, "-", n))
						resp, err := tr.RoundTrip(req)
						if err == nil {
							_, err = io.Copy(io.Discard, resp.Body)
							resp.Body.Close()
						}
						if err != nil {
							mu.Lock()
							errs = append(errs, fmt.Errorf("%s: %w", method, err))
							mu.Unlock()
						}
						if sent[n%2].Add(1)%100 == 0 && n%2 == 0 {
							select {
							case hundred <- struct{}{}:
							default:
							}
						}
					}
				})
			}
			for range 6 {
				for range 4 { // 200 at least, under load; the first can be of before
					<-hundred
				}
				srv.restart()
			}
			stop.Store(true)
			wg.Wait()
			t.Logf("%d GET and %d PUT, stale hits %d, closed %v", sent[0].Load(), sent[1].Load(), tr.Stats().Total.StaleIdempotent, tr.Stats().Total.Closed)
			require.Empty(t, errs)
		})
	}
}
