package idlewise

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// A drainWorld is a server whose streams to /hold… last until they are released.
type drainWorld struct {
	*world
	release chan struct{} // ends one of them
}

func inDrainWorld(t *testing.T, pol Policy, streams uint32, faults []faultserver.Fault, f func(t *testing.T, w *drainWorld)) {
	release := new(chan struct{}) // made in the bubble, as what waits in virtual time must be
	held := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/hold") {
			return
		}
		io.WriteString(rw, "begun")
		http.NewResponseController(rw).Flush()
		select {
		case <-*release:
		case <-r.Context().Done():
		}
	})
	inWorld(t, worldConfig{
		latency: time.Millisecond,
		server:  faultserver.Config{TLS: true, Handler: held, MaxConcurrentStreams: streams, Faults: faults},
		client:  Config{Policies: Policies{Default: pol}},
	}, func(t *testing.T, w *world) {
		*release = make(chan struct{})
		f(t, &drainWorld{w, *release})
	})
}

// hold begins a stream that lasts, and returns what ends it.
func (w *drainWorld) hold(path string) (end func()) {
	w.Helper()
	resp, err := w.tr.RoundTrip(request(w.T, "GET", w.url(path), nil))
	require.NoError(w, err)
	synctest.Wait() // for what the server says beside it
	time.Sleep(10 * time.Millisecond)
	return func() {
		w.Helper()
		w.release <- struct{}{}
		_, err := io.ReadAll(resp.Body)
		require.NoError(w, err)
		resp.Body.Close()
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
	}
}

// soon sends a request that must not wait for a stream to end.
func (w *drainWorld) soon() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := w.do(ctx, "GET", "/", "")
	require.NoError(w, err)
}

// later sends a request that may have to wait, a minute at most.
func (w *drainWorld) later() <-chan error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
		defer cancel()
		_, err := w.do(ctx, "GET", "/", "")
		done <- err
	}()
	return done
}

func (w *drainWorld) requireConns(open, draining, dials int) {
	w.Helper()
	u := w.only()
	require.Equal(w, []int{open, draining, dials}, []int{u.Open, u.Draining, int(w.dials.Load())}, "open, draining, dials: %+v", u)
}

var goAwayAtHold = []faultserver.Fault{{Kind: faultserver.GoAway, Path: "/hold"}}

func TestNobodyWaitsForTheStreamsOfAConnectionThatDrains(t *testing.T) {
	for _, c := range []struct {
		why    CloseReason
		pol    Policy
		faults []faultserver.Fault
	}{
		{ClosedGoAway, Policy{MaxConns: 1}, goAwayAtHold},
		{ClosedMaxAge, Policy{MaxConns: 1, MaxConnAge: 10 * time.Second}, nil},
	} {
		t.Run(c.why.String(), func(t *testing.T) {
			inDrainWorld(t, c.pol, 0, c.faults, func(t *testing.T, w *drainWorld) {
				w.soon() // it permits 100 streams, then
				end := w.hold("/hold")
				if c.why == ClosedMaxAge {
					w.soon()
					w.requireConns(1, 0, 1)
					time.Sleep(12 * time.Second)
				}
				w.soon()
				w.requireConns(2, 1, 2)
				w.soon()
				w.requireConns(2, 1, 2)
				pol := c.pol
				pol.MaxIdleTime = 30 * time.Second
				w.setDefault(pol) // which keeps to MaxConns at once
				w.requireConns(2, 1, 2)
				end()
				w.requireConns(1, 0, 2)
				require.EqualValues(t, 1, w.only().Closed[c.why])
				w.soon()
				w.requireConns(1, 0, 2)
			})
		})
	}
}

// Also if the request wants a newer connection than that one, and so never asks it.
func TestAFreshConnectionDoesNotWaitForOneThatDrains(t *testing.T) {
	for _, why := range []CloseReason{ClosedGoAway, ClosedMaxAge} {
		t.Run(why.String(), func(t *testing.T) {
			inDrainWorld(t, Policy{MaxConns: 1, MaxConnAge: 10 * time.Second}, 0, nil, func(t *testing.T, w *drainWorld) {
				w.soon()
				end := w.hold("/hold")
				if why == ClosedGoAway {
					w.server.Restart()
					time.Sleep(10 * time.Millisecond)
				} else {
					time.Sleep(12 * time.Second)
				}
				ctx, cancel := context.WithTimeout(WithFreshConn(w.Context()), 100*time.Millisecond)
				defer cancel()
				_, err := w.do(ctx, "GET", "/", "")
				require.NoError(t, err)
				w.requireConns(2, 1, 2)
				end()
				w.requireConns(1, 0, 2)
			})
		})
	}
}

// How many streams there are is known with the first answer.
func TestTheFirstStreamCanBeTheOneThatDrains(t *testing.T) {
	inDrainWorld(t, Policy{MaxConns: 1}, 0, nil, func(t *testing.T, w *drainWorld) {
		end := w.hold("/hold")
		w.server.Restart()
		time.Sleep(10 * time.Millisecond)
		w.soon()
		w.requireConns(2, 1, 2)
		end()
	})
}

// What was seen in a busy moment may be too much, and must not make a full connection
// one that drains.
func TestOnlyTheFewestStreamsThatWereSeenAreExpected(t *testing.T) {
	c := &conn{pool: &pool{}}
	require.Zero(t, c.leastPermitsLocked())
	c.pool.streamLimit = 250
	require.Equal(t, 100, c.leastPermitsLocked(), "as net/http does before the SETTINGS come")
	c.pool.streamLimit = 8
	require.Equal(t, 8, c.leastPermitsLocked())
	for _, seen := range []int{12, 10, 11} {
		c.permitLocked(seen-2, 2)
	}
	require.Equal(t, 10, c.leastPermitsLocked())
	require.Equal(t, 11, c.pool.streamLimit)
}

// A request that crosses the GOAWAY is resent, for which that connection is too old.
func TestAResendDoesNotWaitForTheConnectionThatRefusedIt(t *testing.T) {
	crossed := []faultserver.Fault{{Kind: faultserver.GoAwayBelow, Path: "/crosses", Times: 1}}
	inDrainWorld(t, Policy{MaxConns: 1}, 0, crossed, func(t *testing.T, w *drainWorld) {
		w.soon()
		end := w.hold("/hold")
		ctx, cancel := context.WithTimeout(w.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := w.do(ctx, "POST", "/crosses", "x")
		require.NoError(t, err)
		w.requireConns(2, 1, 2)
		require.EqualValues(t, 1, w.only().Resent[Refused])
		end()
		w.requireConns(1, 0, 2)
	})
}

// Nor does it matter whether the stream has brought anything.
func TestNobodyWaitsForALongPollOnAConnectionThatDrains(t *testing.T) {
	bye := []faultserver.Fault{{Kind: faultserver.GoAway, Path: "/poll"}}
	inWorld(t, worldConfig{
		latency: time.Millisecond,
		server: faultserver.Config{TLS: true, Faults: bye, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/poll" {
				<-r.Context().Done()
			}
		})},
		client: Config{Policies: Policies{Default: Policy{MaxConns: 1}}},
	}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		ctx, cancel := context.WithCancel(t.Context())
		polled := make(chan error, 1)
		go func() {
			_, err := w.do(ctx, "GET", "/poll", "")
			polled <- err
		}()
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		dw := &drainWorld{world: w}
		dw.soon()
		dw.requireConns(2, 1, 2)
		cancel()
		require.ErrorIs(t, <-polled, context.Canceled)
		time.Sleep(10 * time.Millisecond)
		dw.requireConns(1, 0, 2)
	})
}

// Those who wait since all streams are in use are told as well.
func TestThoseWhoWaitDoNotWaitForAConnectionThatDrains(t *testing.T) {
	for _, c := range []struct {
		why    CloseReason
		pol    Policy
		faults []faultserver.Fault
	}{
		{ClosedGoAway, Policy{MaxConns: 1}, []faultserver.Fault{{Kind: faultserver.GoAway, Path: "/hold/bye"}}},
		{ClosedMaxAge, Policy{MaxConns: 1, MaxConnAge: 10 * time.Second}, nil},
	} {
		t.Run(c.why.String(), func(t *testing.T) {
			inDrainWorld(t, c.pol, 2, c.faults, func(t *testing.T, w *drainWorld) {
				ends := []func(){w.hold("/hold"), w.hold("/hold/bye")}
				var waiting []<-chan error
				for range 5 {
					waiting = append(waiting, w.later())
				}
				synctest.Wait()
				require.Equal(t, 5, w.only().Waiting)
				time.Sleep(12 * time.Second)
				if c.why == ClosedGoAway {
					require.Equal(t, 5, w.only().Waiting, "without a stream left, GOAWAY cannot be seen")
					ends[0]()
				}
				for _, done := range waiting {
					require.NoError(t, <-done)
				}
				w.requireConns(2, 1, 2)
				if c.why == ClosedMaxAge {
					ends[0]()
				}
				ends[1]()
				w.requireConns(1, 0, 2)
			})
		})
	}
}

func TestAFullConnectionDoesNotDrain(t *testing.T) {
	inDrainWorld(t, Policy{MaxConns: 1}, 2, nil, func(t *testing.T, w *drainWorld) {
		ends := []func(){w.hold("/hold"), w.hold("/hold")}
		done := w.later()
		time.Sleep(time.Second)
		w.requireConns(1, 0, 1)
		require.Equal(t, 1, w.only().Waiting)
		ends[0]()
		require.NoError(t, <-done)
		w.requireConns(1, 0, 1)
		ends[1]()
	})
}

// A server that takes back streams looks like one that is going away, until it has
// one again.
func TestAConnectionWithFewerStreamsThanThoughtIsUsedAgain(t *testing.T) {
	lower := []faultserver.Fault{{Kind: faultserver.ChangeMaxStreams, Count: 2, Path: "/hold/lower"}}
	inDrainWorld(t, Policy{MaxConns: 2}, 8, lower, func(t *testing.T, w *drainWorld) {
		ends := []func(){w.hold("/hold"), w.hold("/hold"), w.hold("/hold/lower")}
		w.soon()
		w.requireConns(2, 1, 2)
		ends[0]()
		ends[1]()
		w.requireConns(2, 0, 2)
		ends[2]()
		require.Zero(t, w.only().Closed[ClosedGoAway])
		w.requireConns(2, 0, 2)
	})
}

// Else there would be a connection for each few streams, however many there are.
func TestConnectionsThatHadTheirRequestsCount(t *testing.T) {
	inDrainWorld(t, Policy{MaxConns: 2, MaxRequestsPerConn: 1}, 0, nil, func(t *testing.T, w *drainWorld) {
		ends := []func(){w.hold("/hold"), w.hold("/hold")}
		done := w.later()
		time.Sleep(time.Second)
		w.requireConns(2, 0, 2)
		ends[0]()
		require.NoError(t, <-done)
		ends[1]()
		require.EqualValues(t, 2, w.most.Load())
	})
}

// A connection that drains takes no place, and gives none back.
func TestTheLimitHoldsBesideConnectionsThatDrain(t *testing.T) {
	inDrainWorld(t, Policy{MaxConns: 2}, 0, goAwayAtHold, func(t *testing.T, w *drainWorld) {
		w.soon()
		var ends []func()
		for i := range 3 {
			ends = append(ends, w.hold("/hold"))
			w.soon()
			w.requireConns(i+2, i+1, i+2)
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := w.do(w.Context(), "POST", "/", "x")
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		require.LessOrEqual(t, w.only().Open, 3+2)
		require.LessOrEqual(t, w.most.Load(), int64(3+2))
		for _, end := range ends {
			end()
		}
		require.Zero(t, w.only().Draining)
		require.LessOrEqual(t, w.only().Open, 2)
	})
}

// Until it is known how many streams the server permits, a connection without one
// left may be full.
func TestASingleStreamPerConnectionIsNoGoAway(t *testing.T) {
	inDrainWorld(t, Policy{MaxConns: 1}, 1, nil, func(t *testing.T, w *drainWorld) {
		var wg sync.WaitGroup
		for range 3 {
			end := w.hold("/hold")
			for range 5 {
				wg.Go(func() {
					_, err := w.do(w.Context(), "GET", "/", "")
					assert.NoError(t, err)
				})
			}
			time.Sleep(time.Second)
			end()
			wg.Wait()
		}
		w.requireConns(1, 0, 1)
	})
}
