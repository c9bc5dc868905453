package idlewise

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// overTLS is a world whose callers share a dial, since it may bring HTTP/2.
func overTLS(h2 bool, base func(*http.Transport)) worldConfig {
	p := new(http.Protocols)
	p.SetHTTP1(!h2)
	p.SetHTTP2(h2)
	return worldConfig{latency: time.Millisecond, base: base, server: faultserver.Config{TLS: true, Protocols: p}}
}

// A slowRefusal refuses the next dials, so many, after refusalTook.
type slowRefusal struct{ next atomic.Int64 }

const refusalTook = 50 * time.Millisecond

func (r *slowRefusal) on(b *http.Transport) {
	dial := b.DialContext
	b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if r.next.Add(-1) < 0 {
			return dial(ctx, network, addr)
		}
		time.Sleep(refusalTook)
		return nil, errRefused
	}
}

// burst sends n requests at once, and returns how many failed and when the last
// one ended.
func (w *world) burst(n int) (failed int64, took time.Duration) {
	began := time.Now()
	var errs atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := w.do(w.Context(), "GET", "/", ""); err != nil {
				errs.Add(1)
			}
		})
	}
	wg.Wait()
	return errs.Load(), time.Since(began)
}

func TestAFailedDialIsTheErrorOfTheCallerItWasMadeFor(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			var r slowRefusal
			r.next.Store(1)
			inWorld(t, overTLS(h2, r.on), func(t *testing.T, w *world) {
				failed, took := w.burst(10)
				require.EqualValues(t, 1, failed)
				require.Less(t, took, refusalTook+20*time.Millisecond)
				synctest.Wait()
				if h2 {
					require.Equal(t, 1, w.only().Open, "those that turn out not to be needed are closed")
				}
			})
		})
	}
}

func TestCallersOfAServerThatIsDownLearnItAfterTwoDialsAtMost(t *testing.T) {
	var r slowRefusal
	r.next.Store(1 << 30)
	inWorld(t, overTLS(true, r.on), func(t *testing.T, w *world) {
		failed, took := w.burst(100)
		require.EqualValues(t, 100, failed)
		require.Equal(t, 2*refusalTook, took)
		require.EqualValues(t, 100, w.only().DialErrors, "as many as with net/http")

		// When that is known, a single dial, held back, is for all.
		w.burst(100)
		dials := w.only().DialErrors
		failed, took = w.burst(100)
		require.EqualValues(t, 100, failed)
		require.Less(t, took, maxDialBackoff+refusalTook)
		require.EqualValues(t, 1, w.only().DialErrors-dials)
	})
}

// Not even where it is known to be down: what came later may fare better.
func TestADialIsNotTheErrorOfThoseWhoCameLater(t *testing.T) {
	var r slowRefusal
	r.next.Store(3)
	inWorld(t, overTLS(true, r.on), func(t *testing.T, w *world) {
		for range 2 {
			require.ErrorIs(t, <-w.start(), errRefused)
		}
		waiting, began := w.start(), time.Now()
		for r.next.Load() > 0 { // until its dial was let begin
			time.Sleep(time.Millisecond)
		}
		later := w.start()
		require.ErrorIs(t, <-waiting, errRefused)
		require.NoError(t, <-later)
		require.Less(t, time.Since(began), time.Second)
	})
}

func TestNobodySharesADialForLongThatHangs(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			var h hungDial
			h.next.Store(1)
			inWorld(t, overTLS(h2, h.on), func(t *testing.T, w *world) {
				var all []<-chan error
				began := time.Now()
				for range 10 {
					all = append(all, w.start()) // all with the first one's dial
				}
				for _, done := range all {
					require.NoError(t, <-done)
				}
				require.Greater(t, time.Since(began), leastPatience)
				require.Less(t, time.Since(began), leastPatience+20*time.Millisecond)
				if h2 {
					require.EqualValues(t, 1, w.dials.Load())
				}
				w.tr.CloseIdleConnections() // ends the dial

				h.next.Store(1)
				hung := w.start()
				time.Sleep(leastPatience)
				began = time.Now()
				require.NoError(t, <-w.start())
				require.Less(t, time.Since(began), 20*time.Millisecond, "who comes later does not rely on it at all")
				require.NoError(t, <-hung, "what was dialed serves all who wait")
				w.tr.CloseIdleConnections()
			})
		})
	}
}

// Each may get another address of the server.
func TestCallersOfAServerThatDoesNotAnswerDialOneAfterTheOther(t *testing.T) {
	var h hungDial
	h.next.Store(1 << 30)
	inWorld(t, overTLS(true, h.on), func(t *testing.T, w *world) {
		var all []<-chan error
		for range 20 {
			all = append(all, w.start())
		}
		time.Sleep(leastPatience - 1)
		synctest.Wait()
		require.Equal(t, 1, w.only().Dialing)
		for n := range 3 {
			time.Sleep(leastPatience)
			synctest.Wait()
			require.Equal(t, 2+n, w.only().Dialing)
		}
		h.next.Store(0)
		time.Sleep(leastPatience + 20*time.Millisecond)
		for _, done := range all {
			require.NoError(t, <-done)
		}
		w.tr.CloseIdleConnections()
		synctest.Wait()
		require.Zero(t, w.only().Dialing)
	})
}

func TestAConnectionThatWasNotNeededIsNoFailedDial(t *testing.T) {
	var dials atomic.Int64
	oneAfterTheOther := func(b *http.Transport) {
		b.Protocols = protocols(true)
		dial := b.DialContext
		b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			n := dials.Add(1)
			if n <= 10 {
				time.Sleep(time.Duration(n) * 10 * time.Millisecond)
			}
			if n == 1 || n == 11 {
				return nil, errRefused
			}
			return dial(ctx, network, addr)
		}
	}
	inWorld(t, worldConfig{latency: time.Millisecond, base: oneAfterTheOther, server: faultserver.Config{Protocols: protocols(true)}}, func(t *testing.T, w *world) {
		failed, _ := w.burst(10)
		require.EqualValues(t, 1, failed)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, 8, w.closed(ClosedPoolFull))
		w.tr.CloseIdleConnections()
		_, err := w.do(t.Context(), "GET", "/", "")
		require.ErrorIs(t, err, errRefused)
		w.mustDo("GET", "/", "")
		require.Zero(t, w.only().DialWaits, "a single failure slows nothing down")
	})
}
