package idlewise

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

func TestRequestsThatAreAnsweredSoonAreNotLookedAt(t *testing.T) {
	inBookedWorld(t, worldConfig{latency: time.Millisecond}, func(t *testing.T, w *world, asked *atomic.Int64) {
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for range 10_000 {
					_, err := w.do(context.Background(), "GET", "/", "")
					require.NoError(t, err)
				}
			})
		}
		all.Wait()
		require.Zero(t, asked.Load())
	})
}

// vigilRuns reports whether the timer runs that looks for vanished peers.
func (w *world) vigilRuns() bool {
	p := w.pool()
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.vigil.at.IsZero()
}

func TestNothingLooksForVanishedPeersWhileNoRequestIsInFlight(t *testing.T) {
	inBookedWorld(t, worldConfig{latency: time.Millisecond, gated: true}, func(t *testing.T, w *world, asked *atomic.Int64) {
		get := func(d time.Duration) {
			done := make(chan struct{})
			go func() { w.mustDo("GET", "/", ""); close(done) }()
			<-w.gate.arrived
			require.True(t, w.vigilRuns())
			time.Sleep(d)
			require.True(t, w.vigilRuns())
			w.gate.open <- struct{}{}
			<-done
		}
		get(0)
		time.Sleep(defaultUnacked/2 + time.Second)
		require.False(t, w.vigilRuns(), "the connection is idle")
		require.Zero(t, asked.Load())

		get(10 * defaultUnacked)
		time.Sleep(defaultUnacked/2 + time.Second)
		require.False(t, w.vigilRuns())

		get(0)
		w.tr.CloseIdleConnections()
		require.False(t, w.vigilRuns(), "there is no connection")

		req, err := http.NewRequest("GET", w.url("/"), nil)
		require.NoError(t, err)
		req.Close = true
		w.gate.open <- struct{}{}
		_, err = w.send(req)
		require.NoError(t, err)
		synctest.Wait()
		require.False(t, w.vigilRuns(), "nor here")
	})
}

func TestPatienceCanBeChangedWhileARequestWaits(t *testing.T) {
	inBookedWorld(t, worldConfig{latency: time.Millisecond}, func(t *testing.T, w *world, asked *atomic.Int64) {
		w.mustDo("GET", "/", "")
		failed := make(chan time.Time, 1)
		began := time.Now()
		ctx := w.cutNewest(context.Background())
		go func() {
			_, err := w.do(ctx, "POST", "/", "x")
			require.ErrorIs(t, err, syscall.ETIMEDOUT)
			failed <- time.Now()
		}()
		time.Sleep(time.Second)
		require.NoError(t, w.tr.SetPolicies(Policies{Default: Policy{UnackedTimeout: -1}}))
		time.Sleep(time.Minute)
		require.Zero(t, asked.Load())
		require.False(t, w.vigilRuns())
		require.NoError(t, w.tr.SetPolicies(Policies{Default: Policy{UnackedTimeout: 5 * time.Second}}))
		w.mustDo("GET", "/", "") // starts the timer
		require.LessOrEqual(t, (<-failed).Sub(began), time.Minute+10*time.Second)
	})
}

// A staged connection answers for its kernel what the test wants.
type staged struct {
	booked
	look func() tcpinfo.Info
}

func (s staged) TCPInfo() (tcpinfo.Info, bool) { return s.look(), true }

// A look takes its time, and under it the request may be answered and the
// connection get another.
func TestARequestIsNotGivenUpForTheSilenceBeforeIt(t *testing.T) {
	looks := 0
	var w *world
	var first, second chan error
	look := func() tcpinfo.Info {
		if looks++; looks == 2 {
			<-w.gate.arrived
			w.gate.open <- struct{}{}
			require.NoError(w, <-first)
			go func() {
				_, err := w.do(context.Background(), "POST", "/second", "x")
				second <- err
			}()
			<-w.gate.arrived
		}
		return tcpinfo.Info{Unacked: 1, Acked: 1, SinceAck: time.Hour}
	}
	base := func(b *http.Transport) {
		dial := b.DialContext
		b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			return staged{c.(booked), look}, err
		}
	}
	inBookedWorld(t, worldConfig{gated: true, base: base}, func(t *testing.T, is *world, _ *atomic.Int64) {
		w, first, second = is, make(chan error), make(chan error, 1)
		_, err := w.do(context.Background(), "POST", "/first", "x")
		first <- err
		time.Sleep(time.Second)
		require.Equal(t, 2, looks)
		w.gate.open <- struct{}{}
		require.NoError(t, <-second)
		require.EqualValues(t, 1, w.dials.Load())
	})
}

// The answer may come at the very moment at which the peer is given up.
func TestAConnectionWhosePeerWasGivenUpIsNotUsedAgain(t *testing.T) {
	inBookedWorld(t, worldConfig{gated: true}, func(t *testing.T, w *world, _ *atomic.Int64) {
		done := make(chan error)
		go func() {
			_, err := w.do(context.Background(), "POST", "/", "x")
			done <- err
		}()
		<-w.gate.arrived
		w.oldestConn().tcp.vanished.Store(true)
		w.gate.open <- struct{}{}
		require.NoError(t, <-done)
		require.Equal(t, 1, w.closed(ClosedVanished))
		require.Zero(t, w.only().Idle)
	})
}

func TestALookKnowsSilenceFromPatience(t *testing.T) {
	const limit = 20 * time.Second
	begun := time.Now()
	type lookAt struct {
		at, heard time.Duration // since the attempt began
		unacked   uint32
		probes    uint32
		acked     uint64
		broken    bool
	}
	for name, looks := range map[string][]lookAt{
		"silence from the beginning":              {{10 * time.Second, -time.Minute, 1, 0, 7, false}, {20 * time.Second, -time.Minute, 1, 0, 7, true}},
		"not before its time":                     {{10 * time.Second, -time.Minute, 1, 0, 7, false}, {20*time.Second - 1, -time.Minute, 1, 0, 7, false}},
		"never at the first look":                 {{time.Minute, -time.Minute, 1, 0, 7, false}, {time.Minute + 2500*time.Millisecond, -time.Minute, 1, 0, 7, true}},
		"silence from the first look on":          {{10 * time.Second, 9 * time.Second, 1, 0, 7, false}, {20 * time.Second, 9 * time.Second, 1, 0, 7, false}, {30 * time.Second, 9 * time.Second, 1, 0, 7, true}},
		"something was acknowledged":              {{10 * time.Second, 9 * time.Second, 1, 0, 7, false}, {30 * time.Second, 9 * time.Second, 1, 0, 8, false}},
		"something was acknowledged again":        {{10 * time.Second, 9 * time.Second, 1, 0, 7, false}, {30 * time.Second, 29 * time.Second, 1, 0, 7, false}},
		"all was acknowledged in between":         {{10 * time.Second, 9 * time.Second, 1, 0, 7, false}, {20 * time.Second, 9 * time.Second, 0, 0, 7, false}, {30 * time.Second, 9 * time.Second, 1, 0, 7, false}},
		"probes that nobody answers":              {{10 * time.Second, 9 * time.Second, 0, 1, 7, false}, {30 * time.Second, 9 * time.Second, 0, 3, 7, true}},
		"a look between probe and answer":         {{10 * time.Second, -time.Minute, 0, 1, 7, false}, {20 * time.Second, 10 * time.Second, 0, 0, 7, false}, {150 * time.Second, 30 * time.Second, 0, 1, 7, false}, {160 * time.Second, 150 * time.Second, 0, 0, 7, false}},
		"two looks between a probe and an answer": {{10 * time.Second, 9 * time.Second, 0, 1, 7, false}, {130 * time.Second, 11 * time.Second, 0, 1, 7, false}},
	} {
		s := silence{begun: begun}
		for _, l := range looks {
			info := tcpinfo.Info{Unacked: l.unacked, Probes: l.probes, Acked: l.acked, SinceAck: l.at - l.heard}
			require.Equal(t, l.broken, s.broken(info, begun.Add(l.at), false, limit), "%s, at %v", name, l.at)
			if !l.broken {
				require.LessOrEqual(t, s.next.Sub(begun), l.at+limit/2, name)
				require.GreaterOrEqual(t, s.next.Sub(begun), l.at+limit/confirmAfter, name)
			}
		}
	}
}
