package idlewise

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

const defaultPingLoss = defaultPingAfter + defaultPingTimeout

var overHTTP2 = worldConfig{latency: 20 * time.Millisecond, server: faultserver.Config{TLS: true}}

func TestAGETOverHTTP2SucceedsOnAFreshConnectionWhenItsPeerHasVanished(t *testing.T) {
	inWorld(t, overHTTP2, func(t *testing.T, w *world) {
		for i, idle := range []time.Duration{0, 0, 25 * time.Second} { // the first is on a new connection
			if i > 0 {
				w.mustDo("GET", "/", "")
			}
			time.Sleep(idle)
			dials := w.dials.Load()
			d := took(func() {
				_, err := w.do(w.cutOnce(context.Background()), "GET", "/", "")
				require.NoError(t, err)
			})
			require.GreaterOrEqual(t, d, defaultPingLoss-idle-time.Second)
			require.LessOrEqual(t, d, defaultPingLoss+time.Second)
			require.Equal(t, max(dials, 1)+1, w.dials.Load(), "the lost one is not picked again")
			require.Equal(t, i+1, w.closed(ClosedPingTimeout))
			require.EqualValues(t, i+1, w.only().Resent[Unknown])
			w.tr.CloseIdleConnections()
		}
		require.Zero(t, w.closed(ClosedGoAway))
	})
}

func TestAPOSTOverHTTP2WhosePeerHasVanishedGetsItsErrorInTimeAndIsNotRepeated(t *testing.T) {
	inWorld(t, overHTTP2, func(t *testing.T, w *world) {
		for i, reused := range []bool{false, true} {
			if reused {
				w.mustDo("GET", "/", "")
			}
			before := w.executions()
			d := took(func() {
				_, err := w.do(w.cutOnce(context.Background()), "POST", "/", "pay")
				if !reused {
					require.EqualError(t, err, "http2: client connection lost", "net/http's own")
					return
				}
				var e *Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, Unknown, e.Evidence)
				require.EqualError(t, err, "idlewise: stale connection, delivery unknown, not repeated (send an Idempotency-Key or use WithIdempotent): http2: client connection lost")
			})
			require.LessOrEqual(t, d, defaultPingLoss+time.Second)
			require.Equal(t, before, w.executions())
			require.Equal(t, i+1, w.closed(ClosedPingTimeout))
		}
	})
}

func TestACallerWithLessPatienceThanPINGEndsOnTime(t *testing.T) {
	inWorld(t, overHTTP2, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		ctx, cancel := context.WithTimeout(w.cutOnce(context.Background()), 40*time.Second)
		defer cancel()
		d := took(func() {
			_, err := w.do(ctx, "GET", "/", "")
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		require.Equal(t, 40*time.Second, d)
		time.Sleep(10 * time.Second)
		require.Equal(t, 1, w.closed(ClosedPingTimeout))
	})
}

func TestAnIdleHTTP2ConnectionWhosePeerHasVanishedIsClosedAndTeachesNothing(t *testing.T) {
	inWorld(t, overHTTP2, func(t *testing.T, w *world) {
		for i := range 4 {
			w.mustDo("GET", "/", "")
			w.cutConn(w.oldestConn())
			time.Sleep(defaultPingLoss + time.Second)
			require.Equal(t, i+1, w.closed(ClosedPingTimeout))
			require.Zero(t, w.only().Idle)
		}
		require.Nil(t, w.pool().u.own.learned)
		require.Zero(t, w.closed(ClosedGoAway))
	})
}

// A canary that is closed so would look like one that the server closed.
func TestAnHTTP2CanaryWhosePeerHasVanishedTeachesNothing(t *testing.T) {
	cfg := overHTTP2
	cfg.server.IdleTimeout = 5 * time.Second
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(6 * time.Second) // once closed by the server; the next is watched
		synctest.Wait()
		p := w.pool()
		closes := func() uint64 {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.u.own.learned.name.Tally().Closes
		}
		require.EqualValues(t, 1, closes())
		w.mustDo("GET", "/", "")
		c := w.oldestConn()
		w.cutConn(c)
		p.mu.Lock()
		var doomed doomedList
		p.retireLocked(c, time.Now().Add(10*time.Millisecond), &doomed)
		p.canary.watchedUntil = time.Now().Add(time.Hour)
		p.mu.Unlock()
		doomed.shut()
		time.Sleep(defaultPingLoss + time.Second)
		synctest.Wait()
		require.Zero(t, w.only().Canaries)
		require.EqualValues(t, 1, closes())
	})
}

func TestAnAnsweredPINGKeepsAConnection(t *testing.T) {
	cfg := overHTTP2
	cfg.gated = true
	cfg.client.Policies.Default = Policy{MaxIdleTime: 5 * time.Minute, MaxConnAge: -1}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		for range 2 {
			time.AfterFunc(4*time.Minute, func() { w.gate.open <- struct{}{} })
			_, err := w.do(context.Background(), "POST", "/", "x")
			require.NoError(t, err)
			time.Sleep(4 * time.Minute)
		}
		require.EqualValues(t, 1, w.dials.Load())
		require.Empty(t, w.only().Closed)
	})
}

// What net/http closes for other reasons is not taken for a lost PING, however
// old it is.
func TestAnHTTP2ConnectionThatIsClosedForAnotherReasonHasLostNoPING(t *testing.T) {
	inWorld(t, overHTTP2, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(80 * time.Second)
		req, err := http.NewRequest("GET", w.url("/"), nil)
		require.NoError(t, err)
		req.Close = true // net/http closes it with the stream
		_, err = w.send(req)
		require.NoError(t, err)
		require.EqualValues(t, 1, w.dials.Load())
		require.Zero(t, w.closed(ClosedPingTimeout))
		require.Equal(t, 1, w.closed(ClosedGoAway))
	})
}

func TestEachPolicyHasItsPINGs(t *testing.T) {
	for _, test := range []struct {
		base  *http.HTTP2Config
		own   Policy
		loss  time.Duration // 0: no PING
		frame int
	}{
		{nil, Policy{PingAfter: 5 * time.Second}, 20 * time.Second, 0},
		{nil, Policy{PingTimeout: 2 * time.Second}, 32 * time.Second, 0},
		{nil, Policy{PingAfter: -1}, 0, 0},
		{&http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 3 * time.Second, MaxReadFrameSize: 1 << 20}, Policy{}, 13 * time.Second, 1 << 20},
		{&http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 3 * time.Second}, Policy{PingAfter: time.Second}, 4 * time.Second, 0},
		{&http.HTTP2Config{SendPingTimeout: 10 * time.Second}, Policy{PingAfter: -1}, 0, 0},
	} {
		cfg := overHTTP2
		cfg.base = func(b *http.Transport) { b.HTTP2 = test.base }
		cfg.client.Policies.Upstreams = map[string]Policy{"*": test.own}
		inWorld(t, cfg, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			w.cutConn(w.oldestConn())
			if test.loss == 0 {
				time.Sleep(80 * time.Second)
				require.Empty(t, w.only().Closed)
				return
			}
			time.Sleep(test.loss - 100*time.Millisecond)
			require.Zero(t, w.closed(ClosedPingTimeout))
			time.Sleep(200 * time.Millisecond)
			require.Equal(t, 1, w.closed(ClosedPingTimeout))
			if test.frame > 0 {
				require.Equal(t, test.frame, w.tr.base.withPings(w.tr.registry.all()[0].policy().pinging()).HTTP2.MaxReadFrameSize)
			}
		})
	}
}

func TestPoliciesThatPingAlikeShareATransport(t *testing.T) {
	tr, err := New(Config{Base: &http.Transport{ForceAttemptHTTP2: true}})
	require.NoError(t, err)
	defer tr.Close()
	b := tr.base
	a := b.withPings(pinging{time.Second, time.Second})
	require.Same(t, a, b.withPings(pinging{time.Second, time.Second}))
	require.NotSame(t, a, b.withPings(pinging{time.Second, 2 * time.Second}))
	if h := b.http.HTTP2; h != nil { // Go 1.27 makes one
		require.Zero(t, h.SendPingTimeout, "the one that copies are made of stays as it is")
	}
	require.Same(t, b.http, b.forUpstream(upstreamKey{scheme: "http"}, pinging{time.Second, time.Second}), "it will not speak HTTP/2")
	for i := range 1000 {
		b.withPings(pinging{time.Duration(i) * time.Second, time.Second})
	}
	require.LessOrEqual(t, len(b.pings), maxPinging)
}

func TestMistakesInPINGsAndKeepAliveAreReported(t *testing.T) {
	for want, p := range map[string]Policy{
		"Policies.Default.PingTimeout: -1ns is negative; to send no PING set PingAfter to -1":                                                   {PingTimeout: -1},
		"Policies.Default.PingAfter: 30ns is under a millisecond":                                                                               {PingAfter: 30},
		"Policies.Default.TCPKeepAlive.Idle: 15ns is under a millisecond":                                                                       {TCPKeepAlive: net.KeepAliveConfig{Enable: true, Idle: 15}},
		"Policies.Default.TCPKeepAlive.Interval: 5ns is under a millisecond":                                                                    {TCPKeepAlive: net.KeepAliveConfig{Enable: true, Interval: 5}},
		"Policies.Default.TCPKeepAlive.Enable: false, with other parts set; set it to true, or Idle to -1 to leave the dialer's settings alone": {TCPKeepAlive: net.KeepAliveConfig{Count: 5}},
		"Policies.Default.UnackedTimeout: 20ns is under a millisecond; is the unit missing, as in 20 * time.Second?":                            {UnackedTimeout: 20},
	} {
		_, err := New(Config{Base: &http.Transport{}, Policies: Policies{Default: p}})
		require.ErrorContains(t, err, want)
	}
}

func TestPartsOfKeepAliveHaveDefaults(t *testing.T) {
	for _, test := range []struct{ def, own, want net.KeepAliveConfig }{
		{want: defaultKeepAlive},
		{def: net.KeepAliveConfig{Enable: true, Count: 9}, want: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 9}},
		{def: net.KeepAliveConfig{Idle: -1}, own: net.KeepAliveConfig{Enable: true, Idle: time.Minute}, want: net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 5 * time.Second, Count: 3}},
	} {
		p, _ := policyFor(t, Policies{Default: Policy{TCPKeepAlive: test.def}, Upstreams: map[string]Policy{"*": {TCPKeepAlive: test.own}}}, "http://example.com")
		require.Equal(t, test.want, p.TCPKeepAlive)
	}
	p, _ := policyFor(t, Policies{Default: Policy{TCPKeepAlive: net.KeepAliveConfig{Idle: -1}}}, "http://example.com")
	require.Negative(t, p.TCPKeepAlive.Idle)
	require.False(t, p.TCPKeepAlive.Enable)
	require.NotPanics(t, func() { _ = fmt.Sprint(p) })
}
