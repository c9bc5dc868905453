package idlewise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// A booked connection answers for its kernel, and counts how often it is asked.
type booked struct {
	*countedConn
	tcpinfo.Accountant
	asked *atomic.Int64
}

func (b booked) TCPInfo() (tcpinfo.Info, bool) {
	b.asked.Add(1)
	return b.Accountant.TCPInfo()
}

// inBookedWorld runs f in a world whose connections answer for their kernels.
func inBookedWorld(t *testing.T, cfg worldConfig, f func(t *testing.T, w *world, asked *atomic.Int64)) {
	t.Helper()
	var asked atomic.Int64
	base := cfg.base
	cfg.base = func(b *http.Transport) {
		dial := b.DialContext
		b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			counted := c.(*countedConn)
			return booked{counted, counted.Conn.(tcpinfo.Accountant), &asked}, nil
		}
		if base != nil {
			base(b)
		}
	}
	inWorld(t, cfg, func(t *testing.T, w *world) { f(t, w, &asked) })
}

// cutConn lets everything vanish that is sent on the connection from here on.
// New ones are well.
func (w *world) cutConn(c *conn) { w.net.Cut(c.local.String(), true) }

func (w *world) pool() *pool { return &w.tr.registry.all()[0].pool }

// oldestConn returns the connection opened first of those in the pool.
func (w *world) oldestConn() *conn {
	p := w.pool()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first
}

// cutOnce returns a context that cuts the first connection that its request
// gets, and then a moment passes.
func (w *world) cutOnce(ctx context.Context) context.Context {
	var once sync.Once
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		once.Do(func() {
			p := w.pool()
			p.mu.Lock()
			c := p.last
			p.mu.Unlock()
			w.cutConn(c)
		})
	}})
}

// took runs f and returns how long that took.
func took(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// plainAndTLS runs a test over HTTP/1 in the clear and over TLS.
func plainAndTLS(t *testing.T, latency time.Duration, f func(t *testing.T, w *world)) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	for name, cfg := range map[string]faultserver.Config{
		"plain": {}, "TLS": {TLS: true, Protocols: protocols},
	} {
		t.Run(name, func(t *testing.T) {
			inBookedWorld(t, worldConfig{latency: latency, server: cfg}, func(t *testing.T, w *world, _ *atomic.Int64) { f(t, w) })
		})
	}
}

func TestAGETSucceedsOnAFreshConnectionWhenItsPeerHasVanished(t *testing.T) {
	plainAndTLS(t, 20*time.Millisecond, func(t *testing.T, w *world) {
		for i, idle := range []time.Duration{0, 0, 65 * time.Second} { // the first is on a new connection
			time.Sleep(idle)
			synctest.Wait()
			for range i {
				w.mustDo("GET", "/", "")
			}
			d := took(func() {
				_, err := w.do(w.cutOnce(context.Background()), "GET", "/", "")
				require.NoError(t, err)
			})
			require.GreaterOrEqual(t, d, defaultUnacked)
			require.LessOrEqual(t, d, defaultUnacked+time.Second)
			require.Equal(t, i+1, w.closed(ClosedVanished))
			require.EqualValues(t, i+1, w.only().Resent[Unknown])
			time.Sleep(time.Minute + 29*time.Second)
			w.tr.CloseIdleConnections()
		}
	})
}

func TestAPOSTWhosePeerHasVanishedGetsItsErrorInTimeAndIsNotRepeated(t *testing.T) {
	plainAndTLS(t, 20*time.Millisecond, func(t *testing.T, w *world) {
		for _, idle := range []bool{false, true} {
			if idle {
				w.mustDo("GET", "/", "")
				time.Sleep(time.Minute)
			}
			before := w.executions()
			d := took(func() {
				_, err := w.do(w.cutOnce(context.Background()), "POST", "/", "pay")
				var e *Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, Unknown, e.Evidence)
				require.True(t, e.Timeout())
				require.ErrorIs(t, err, syscall.ETIMEDOUT)
				var op *net.OpError
				require.ErrorAs(t, err, &op)
				require.Equal(t, "read", op.Op)
				require.Equal(t, w.server.Addr().String(), op.Addr.String())
				require.Len(t, e.Attempts, 1)
				text := "idlewise: connection lost, "
				if idle {
					text = "idlewise: stale connection, "
				}
				require.EqualError(t, err, text+"delivery unknown, not repeated (send an Idempotency-Key or use WithIdempotent): "+op.Error())
				require.Contains(t, op.Error(), "read: connection timed out")
			})
			require.GreaterOrEqual(t, d, defaultUnacked)
			require.LessOrEqual(t, d, defaultUnacked+time.Second)
			require.Equal(t, before, w.executions())
		}
		require.Equal(t, 2, w.closed(ClosedVanished))
		require.EqualValues(t, 2, w.only().Failed[Unknown])
		require.EqualValues(t, 1, w.only().StaleOther)
	})
}

func TestACallerWithLessPatienceThanUnackedTimeoutEndsOnTime(t *testing.T) {
	plainAndTLS(t, 20*time.Millisecond, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		for _, method := range []string{"GET", "POST"} {
			ctx, cancel := context.WithTimeout(w.cutOnce(context.Background()), 15*time.Second)
			defer cancel()
			d := took(func() {
				_, err := w.do(ctx, method, "/", "x")
				require.ErrorIs(t, err, context.DeadlineExceeded)
			})
			require.Equal(t, 15*time.Second, d)
		}
		require.Equal(t, 2, w.closed(ClosedCanceled))
	})
}

// A closed window is no silence, however long: the peer goes on confirming it.
// At these distances a look often falls between a probe and its answer.
func TestAServerThatReadsAnUploadLateGetsAllOfIt(t *testing.T) {
	for _, latency := range []time.Duration{0, 50 * time.Millisecond, 4 * time.Second} {
		for _, pause := range []time.Duration{3 * defaultUnacked, 40 * defaultUnacked} {
			got := make(map[string]int64)
			handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				time.Sleep(pause)
				got[r.Method], _ = io.Copy(io.Discard, r.Body)
			})
			cfg := worldConfig{latency: latency, server: faultserver.Config{Handler: handler}}
			size := 32 << 20
			if latency > time.Second {
				size = 1 << 20 // a window each 8 s
			}
			inBookedWorld(t, cfg, func(t *testing.T, w *world, asked *atomic.Int64) {
				w.mustDo("POST", "/", strings.Repeat("x", size))
				require.EqualValues(t, size, got["POST"])
				require.Zero(t, w.closed(ClosedVanished))
				require.NotZero(t, asked.Load(), "it was looked at")
			})
		}
	}
}

func TestAServerThatThinksForLongIsNotDisturbed(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(10 * defaultUnacked)
		io.WriteString(w, "news")
	})
	inBookedWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: handler}}, func(t *testing.T, w *world, asked *atomic.Int64) {
		require.Equal(t, "news", w.mustDo("POST", "/", "x"))
		require.Zero(t, w.closed(ClosedVanished))
		require.LessOrEqual(t, asked.Load(), int64(20), "two looks in UnackedTimeout")
	})
}

// What the kernel says of the time since anything was acknowledged begins with
// the idle time.
func TestARequestOnAConnectionThatWasIdleForLongIsNotGivenUpEarly(t *testing.T) {
	for _, oneWay := range []time.Duration{4 * time.Second, 8 * time.Second} {
		inBookedWorld(t, worldConfig{latency: oneWay}, func(t *testing.T, w *world, asked *atomic.Int64) {
			w.mustDo("GET", "/", "")
			time.Sleep(70 * time.Second)
			d := took(func() { w.mustDo("POST", "/", "x") })
			require.Equal(t, 2*oneWay, d)
			require.EqualValues(t, 1, w.dials.Load())
			require.Zero(t, w.closed(ClosedVanished))
		})
	}
}

// The header of a request goes out at once; its body may take longer. Nothing was
// heard of the peer since then, only because there was nothing to be acknowledged.
func TestPatienceBeginsWhenSomethingIsWritten(t *testing.T) {
	for _, latency := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond} {
		for _, after := range []time.Duration{9900 * time.Millisecond, 25 * time.Second} {
			inBookedWorld(t, worldConfig{latency: latency}, func(t *testing.T, w *world, _ *atomic.Int64) {
				r, body := io.Pipe()
				req, err := http.NewRequest("POST", w.url("/"), r)
				require.NoError(t, err)
				var c *conn
				began := time.Now()
				wrote := time.AfterFunc(after, func() {
					c = w.oldestConn()
					w.cutConn(c)
					body.Write([]byte("x"))
				})
				defer wrote.Stop()
				// net/http waits for the body before it tells.
				ends := time.AfterFunc(time.Minute, func() { body.Close() })
				defer ends.Stop()
				_, err = w.send(req)
				require.ErrorIs(t, err, syscall.ETIMEDOUT)
				d := c.tcp.closedAt.Load().Sub(began)
				require.GreaterOrEqual(t, d, after+defaultUnacked)
				require.LessOrEqual(t, d, after+defaultUnacked+defaultUnacked/2+time.Second)
			})
		}
	}
}

func TestAnUploadThatIsCutShortIsGivenUp(t *testing.T) {
	for _, method := range []string{"PUT", "POST"} {
		stall := func(_ http.ResponseWriter, r *http.Request) {
			// Slowly, so that the cut is in the middle of it.
			for buf := make([]byte, 8<<10); ; time.Sleep(100 * time.Millisecond) {
				if _, err := io.ReadFull(r.Body, buf); err != nil {
					return
				}
			}
		}
		cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: http.HandlerFunc(stall)}}
		inBookedWorld(t, cfg, func(t *testing.T, w *world, _ *atomic.Int64) {
			const cutAt = 7 * time.Second
			time.AfterFunc(cutAt, func() { w.cutConn(w.oldestConn()) })
			alone := took(func() { w.mustDo("PUT", "/alone", "") })
			var err error
			d := took(func() { _, err = w.do(context.Background(), method, "/", strings.Repeat("x", 1<<20)) }) - alone
			if method == "PUT" {
				require.NoError(t, err, "its body is in memory")
				require.EqualValues(t, 1, w.only().Resent[Unknown])
			} else {
				require.ErrorIs(t, err, syscall.ETIMEDOUT)
				require.GreaterOrEqual(t, d, cutAt+defaultUnacked)
				require.LessOrEqual(t, d, cutAt+defaultUnacked+defaultUnacked/2+time.Second)
			}
			require.Equal(t, 1, w.closed(ClosedVanished))
		})
	}
}

func TestAfterAPeerHasVanishedIdleConnectionsThatWereNotHeardOfSinceAreClosed(t *testing.T) {
	inBookedWorld(t, worldConfig{latency: time.Millisecond, gated: true}, func(t *testing.T, w *world, _ *atomic.Int64) {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				_, err := w.do(context.Background(), "GET", "/", "")
				require.NoError(t, err)
			})
		}
		for range 4 {
			<-w.gate.arrived
		}
		for range 4 {
			w.gate.open <- struct{}{}
		}
		all.Wait()
		time.Sleep(time.Second)

		// One is cut, another in use meanwhile.
		all.Go(func() {
			_, err := w.do(w.cutNewest(context.Background()), "POST", "/", "x")
			require.ErrorIs(t, err, syscall.ETIMEDOUT)
		})
		time.Sleep(time.Second)
		w.gate.open <- struct{}{}
		w.mustDo("GET", "/", "")
		all.Wait()
		require.Equal(t, 1, w.closed(ClosedVanished))
		require.Equal(t, 2, w.closed(ClosedSibling))
		require.Equal(t, 1, w.only().Idle, "of this one something was heard")
	})
}

// cutNewest is cutOnce for the connection that a request will get, the one that
// was used last.
func (w *world) cutNewest(ctx context.Context) context.Context {
	p := w.pool()
	p.mu.Lock()
	defer p.mu.Unlock()
	w.cutConn(p.newest)
	return ctx
}

func TestWhatTheKernelGivesUpIsResentLikewise(t *testing.T) {
	cfg := worldConfig{latency: time.Millisecond, client: Config{Policies: Policies{Default: Policy{UnackedTimeout: -1}}}}
	inBookedWorld(t, cfg, func(t *testing.T, w *world, asked *atomic.Int64) {
		const kernels = 924600 * time.Millisecond // tcp_retries2
		d := took(func() {
			_, err := w.do(w.cutOnce(context.Background()), "GET", "/", "")
			require.NoError(t, err)
		})
		require.InDelta(t, kernels.Seconds(), d.Seconds(), 1)
		require.EqualValues(t, 1, w.only().Resent[Unknown], "though it was a new connection")
		require.Equal(t, 1, w.closed(ClosedVanished))
		require.Zero(t, asked.Load(), "off is off")

		_, err := w.do(w.cutOnce(context.Background()), "POST", "/", "x")
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, Unknown, e.Evidence)
		require.True(t, e.Timeout())
		require.Equal(t, 2, w.closed(ClosedVanished))
	})
}

// A deaf connection is one whose kernel gives the peer up when it is told to, as
// by keep-alive probes.
type deaf struct {
	net.Conn
	gaveUp *atomic.Bool
}

func (d deaf) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && d.gaveUp.Load() {
		err = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}
	}
	return n, err
}

// deafBase makes deaf connections; last is the last one.
func deafBase(last *deaf) func(*http.Transport) {
	return func(b *http.Transport) {
		dial := b.DialContext
		b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			*last = deaf{c, new(atomic.Bool)}
			return *last, err
		}
	}
}

func TestNothingIsLearnedFromAnIdleConnectionWhosePeerHasVanished(t *testing.T) {
	var last deaf
	cfg := worldConfig{base: deafBase(&last)}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		for range 5 {
			w.mustDo("GET", "/", "")
			time.Sleep(30 * time.Second)
			last.gaveUp.Store(true)
			last.SetReadDeadline(time.Now())
			synctest.Wait()
		}
		require.Equal(t, 5, w.closed(ClosedVanished))
		e := w.tr.Explain(w.url("/"))
		require.Equal(t, DeadlineMaxIdleTime, e.Source)
		require.Equal(t, defaultMaxIdleTime, e.IdleLimit)
	})
}

func TestACanaryWhosePeerHasVanishedTeachesNothing(t *testing.T) {
	var last deaf
	cfg := worldConfig{server: faultserver.Config{KeepAlive: "timeout=5"}, base: deafBase(&last)}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(10 * time.Second)
		require.Equal(t, 1, w.only().Canaries)
		last.gaveUp.Store(true)
		last.SetReadDeadline(time.Now())
		synctest.Wait()
		require.Zero(t, w.only().Canaries)
		p := w.pool()
		p.mu.Lock()
		defer p.mu.Unlock()
		require.Nil(t, p.u.own.learned)
	})
}

func TestAnErrorIsATimeoutHoweverNetHTTPWrapsIt(t *testing.T) {
	op := &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.ETIMEDOUT)}
	for _, err := range []error{op, fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", op)} {
		require.True(t, judged(nil, nil, err, Unknown, notIdempotent).Timeout())
		require.True(t, judged(nil, []Attempt{{Err: io.EOF}}, err, Unknown, notIdempotent).Timeout())
	}
	require.False(t, judged(nil, nil, io.EOF, Unknown, notIdempotent).Timeout())
}
