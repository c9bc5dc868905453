package idlewise

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A hungDial is a SYN that nobody answers, or a server's address that is dead.
type hungDial struct {
	next atomic.Int64 // so many of the next dials hang
	slow atomic.Int64 // for so long the next one takes longer
}

const hungFor = 30 * time.Second

func (h *hungDial) on(b *http.Transport) {
	dial := b.DialContext
	b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		time.Sleep(time.Duration(h.slow.Swap(0)))
		if h.next.Add(-1) < 0 {
			return dial(ctx, network, addr)
		}
		select {
		case <-time.After(hungFor):
			return nil, errRefused
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// start sends a request, which is on its way or waits when start returns.
func (w *world) start() <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := w.do(w.Context(), "GET", "/", "")
		done <- err
	}()
	synctest.Wait()
	return done
}

func TestNobodyWaitsForAHungDialWhoseCallerWasServed(t *testing.T) {
	var h hungDial
	inWorld(t, worldConfig{latency: time.Millisecond, gated: true, base: h.on}, func(t *testing.T, w *world) {
		first := w.start()
		<-w.gate.arrived
		h.next.Store(1)
		second := w.start()
		w.gate.open <- struct{}{}
		require.NoError(t, <-first)
		<-w.gate.arrived // the second one, on the first one's connection

		began := time.Now()
		third := w.start()
		require.Equal(t, 1, w.only().Dialing, "that one may be as fast")
		<-w.gate.arrived
		require.LessOrEqual(t, time.Since(began), leastPatience+3*time.Millisecond)
		began = time.Now()
		fourth := w.start()
		<-w.gate.arrived
		require.Equal(t, 3*time.Millisecond, time.Since(began), "by now nothing is expected of it")
		for range 3 {
			w.gate.open <- struct{}{}
		}
		for _, done := range []<-chan error{second, third, fourth} {
			require.NoError(t, <-done)
		}
		time.Sleep(hungFor)
	})
}

// Else one lost SYN would make others wait for a dead address for minutes.
func TestAHungDialIsNotReliedOnForLongSinceOneWasSlow(t *testing.T) {
	for name, c := range map[string]struct {
		earlier int // dials that were not slow
		most    time.Duration
	}{
		"the first one":         {0, 20*time.Second + mostPatience},
		"one after a quick one": {1, 2 * leastPatience},
	} {
		t.Run(name, func(t *testing.T) {
			var h hungDial
			inWorld(t, worldConfig{latency: time.Millisecond, gated: true, base: h.on}, func(t *testing.T, w *world) {
				for range c.earlier {
					done := w.start()
					<-w.gate.arrived
					w.gate.open <- struct{}{}
					require.NoError(t, <-done)
					w.tr.CloseIdleConnections()
				}
				h.slow.Store(int64(20 * time.Second))
				first := w.start()
				<-w.gate.arrived
				h.next.Store(1)
				second := w.start() // dials
				began := time.Now()
				w.gate.open <- struct{}{}
				require.NoError(t, <-first)
				<-w.gate.arrived // the second one, on the first one's connection
				third := w.start()
				<-w.gate.arrived
				require.InDelta(t, c.most, time.Since(began), float64(10*time.Millisecond))
				for range 2 {
					w.gate.open <- struct{}{}
				}
				require.NoError(t, <-second)
				require.NoError(t, <-third)
				time.Sleep(hungFor)
			})
		})
	}
}

func TestNobodyWaitsForAHungDialInAdvance(t *testing.T) {
	var h hungDial
	inWorld(t, worldConfig{latency: time.Millisecond, gated: true, base: h.on, client: Config{Policies: Policies{Default: Policy{MinIdleConns: 1}}}}, func(t *testing.T, w *world) {
		first := w.start()
		h.next.Store(1)
		<-w.gate.arrived // and one is dialed in advance
		time.Sleep(leastPatience)
		began := time.Now()
		second := w.start()
		<-w.gate.arrived
		require.Equal(t, 3*time.Millisecond, time.Since(began))
		time.Sleep(time.Second)
		require.Equal(t, 1, w.only().Dialing, "what hangs is not dialed again and again")
		w.gate.open <- struct{}{}
		w.gate.open <- struct{}{}
		require.NoError(t, <-first)
		require.NoError(t, <-second)
		w.tr.CloseIdleConnections()
	})
}

// Dials of a server that is far away take long, and none is made for nothing.
func TestASlowDialIsReliedOnForAsLongAsSuchDialsTake(t *testing.T) {
	inWorld(t, worldConfig{latency: 200 * time.Millisecond, gated: true}, func(t *testing.T, w *world) {
		first := w.start()
		<-w.gate.arrived
		second := w.start() // dials
		w.gate.open <- struct{}{}
		require.NoError(t, <-first)
		third := w.start() // relies on that
		<-w.gate.arrived
		<-w.gate.arrived
		w.gate.open <- struct{}{}
		w.gate.open <- struct{}{}
		require.NoError(t, <-second)
		require.NoError(t, <-third)
		require.EqualValues(t, 2, w.dials.Load())
	})
}

// Nor is a dial that was canceled anybody's error.
func TestACanceledDialIsNotTheErrorOfTheCallerItWasMadeFor(t *testing.T) {
	var h hungDial
	inWorld(t, worldConfig{latency: time.Millisecond, gated: true, base: h.on}, func(t *testing.T, w *world) {
		first := w.start()
		<-w.gate.arrived
		w.gate.open <- struct{}{}
		require.NoError(t, <-first)
		synctest.Wait()
		p := &w.tr.registry.all()[0].pool
		var doomed doomedList
		h.next.Store(1)
		caller := newWaiter(t.Context(), time.Now(), time.Time{})
		p.mu.Lock()
		c := p.newest
		p.useLocked(c) // by somebody else
		p.queueLocked(caller, &doomed)
		require.True(t, caller.dialing)
		p.keepLocked(c, time.Now(), &doomed)
		p.mu.Unlock()
		require.Same(t, c, (<-caller.ready).c, "it was faster than the dial")
		synctest.Wait()
		w.tr.CloseIdleConnections() // which cancels the dial
		p.mu.Lock()
		p.queueLocked(caller, &doomed) // c had died
		p.mu.Unlock()
		got := <-caller.ready
		require.NoError(t, got.err)
		p.release(got.c)
		p.release(c)
		require.EqualValues(t, 2, w.dials.Load())
	})
}

// Dials that end in another order than they began, and take longer than anybody relies
// on those of others: each caller has the one that was made for it.
func TestDialsThatOvertakeEachOtherAreNoMoreThanTheirCallers(t *testing.T) {
	const callers = 50
	var number atomic.Int64
	slow := func(b *http.Transport) {
		dial := b.DialContext
		b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			time.Sleep(time.Duration(callers-number.Add(1)) * leastPatience)
			return dial(ctx, network, addr)
		}
	}
	inWorld(t, worldConfig{latency: time.Millisecond, gated: true, base: slow}, func(t *testing.T, w *world) {
		var all []<-chan error
		for range callers {
			all = append(all, w.start())
		}
		for range callers {
			<-w.gate.arrived
		}
		for range callers {
			w.gate.open <- struct{}{}
		}
		for _, done := range all {
			require.NoError(t, <-done)
		}
		require.EqualValues(t, callers, w.dials.Load())
	})
}
