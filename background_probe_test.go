package idlewise

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// probing6h is what most of these tests use.
var probing6h = Policy{Probe: ProbePolicy{Every: 6 * time.Hour}}

func withDefault(p Policy) Config { return Config{Policies: Policies{Default: p}} }

// heads counts the HEAD requests that the server got.
func (w *world) heads() int {
	n := 0
	for _, q := range w.server.Journal().Requests() {
		if q.Method == http.MethodHead {
			n++
		}
	}
	return n
}

func TestABackgroundProbeConfirmsTheTimeoutBeforeAnyPOSTMeetsIt(t *testing.T) {
	cfg := worldConfig{latency: 10 * time.Millisecond, server: faultserver.Config{IdleTimeout: 5 * time.Second}, client: withDefault(probing6h)}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("POST", "/", "x")
		require.Equal(t, 3, w.only().Probing)
		require.Equal(t, 1, w.only().Open, "its connections are not in the pool")
		require.True(t, w.tr.Explain(w.server.URL).Probe.Running)
		time.Sleep(10 * time.Second)
		require.Equal(t, 3, w.heads())

		e := w.tr.Explain(w.server.URL)
		require.Equal(t, DeadlineLearned, e.Source)
		require.Equal(t, 5*time.Second, e.ServerKeepAlive)
		require.False(t, e.Probe.Running)
		require.Empty(t, e.Probe.Problem)
		require.Equal(t, 3, e.Probe.Report.Measured)
		require.InDelta(t, 6, time.Until(e.Probe.Next).Hours(), 0.7)
		require.Contains(t, e.String(), "probe: idle connections end after 5s, by FIN (measured ")
		require.Equal(t, "confirmed", w.tr.Knowledge().Upstreams[0].Confidence)

		for gap := 4 * time.Second; gap < 6*time.Second; gap += 10 * time.Millisecond {
			w.mustDo("POST", "/", "x")
			time.Sleep(gap)
		}
		s := w.only()
		require.Zero(t, s.StaleOther)
		require.EqualValues(t, 1, s.Probes)
		require.Zero(t, s.ProbesFailed)
		require.Zero(t, s.Probing)
	})
}

func TestTwoCloseSamplesOfAProbeConfirmEachOther(t *testing.T) {
	cfg := worldConfig{server: faultserver.Config{IdleTimeout: 5 * time.Second}, client: withDefault(probing6h)}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(5600 * time.Millisecond) // two have ended, the third has not
		w.tr.CloseIdleConnections()
		synctest.Wait()
		require.Equal(t, "confirmed", w.tr.Knowledge().Upstreams[0].Confidence)
		p := w.tr.Explain(w.server.URL).Probe
		require.Empty(t, p.Problem, "what was measured counts, though it ended early")
		require.Equal(t, 2, p.Report.Measured)
	})
}

func TestNothingIsProbedUnlessAskedForNorByExplain(t *testing.T) {
	for name, pol := range map[string]Policy{
		"by default":          {},
		"off":                 {Probe: ProbePolicy{Every: -1, Path: "/health"}},
		"learning off":        {Probe: probing6h.Probe, Learning: Off},
		"never asked, though": probing6h,
	} {
		inWorld(t, worldConfig{client: withDefault(pol)}, func(t *testing.T, w *world) {
			if name != "never asked, though" {
				w.mustDo("GET", "/", "")
			}
			require.Nil(t, w.tr.Explain(w.server.URL).Probe, name)
			time.Sleep(time.Minute)
			require.Zero(t, w.heads(), name)
		})
	}
}

func TestAnUpstreamIsProbedAtItsIntervalWhileItIsInUse(t *testing.T) {
	pol := Policy{Probe: ProbePolicy{Every: time.Hour, Path: "/health"}}
	cfg := worldConfig{server: faultserver.Config{IdleTimeout: 5 * time.Second}, client: withDefault(pol)}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		for range 10 * 60 {
			w.mustDo("GET", "/", "")
			time.Sleep(time.Minute)
		}
		n := int(w.only().Probes)
		require.InDelta(t, 10, n, 1, "±10 %%")
		time.Sleep(24 * time.Hour)
		require.EqualValues(t, n, w.only().Probes, "it is not in use")
		w.mustDo("GET", "/", "")
		time.Sleep(time.Minute)
		require.EqualValues(t, n+1, w.only().Probes)
		for _, q := range w.server.Journal().Requests() {
			if q.Method == http.MethodHead {
				require.Equal(t, "/health", q.Path)
			}
		}
	})
}

func TestABackgroundProbeOfAServerThatNeverClosesEndsInTime(t *testing.T) {
	inWorld(t, worldConfig{client: withDefault(probing6h)}, func(t *testing.T, w *world) {
		for range 5 {
			w.mustDo("GET", "/", "")
			time.Sleep(30 * time.Second)
		}
		e := w.tr.Explain(w.server.URL)
		require.Equal(t, ProbeOutlasted, e.Probe.Report.Finding)
		require.Equal(t, 2*time.Minute, e.Probe.Report.Took)
		require.Empty(t, e.Probe.Problem)
		require.Equal(t, DeadlineMaxIdleTime, e.Source)
		require.Zero(t, w.only().ProbesFailed)
	})
}

func TestABackgroundProbeEndsWhenTheUpstreamIsNotInUseAnyMore(t *testing.T) {
	cfg := withDefault(Policy{MaxIdleTime: 10 * time.Second, Probe: ProbePolicy{Every: time.Hour}})
	inWorld(t, worldConfig{client: cfg}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(8 * time.Second)
		w.mustDo("GET", "/", "")
		time.Sleep(8 * time.Second)
		require.Equal(t, 3, w.only().Probing, "it was used since")
		time.Sleep(3 * time.Second)
		require.Zero(t, w.only().Probing)
		require.Zero(t, w.open.Load())
		p := w.tr.Explain(w.server.URL).Probe
		require.Contains(t, p.Problem, "not in use any more")
		require.InDelta(t, 6*time.Minute-19*time.Second, time.Until(p.Next), float64(time.Minute), "sooner than in an hour")
		require.Zero(t, w.only().ProbesFailed)
	})
}

func TestWhateverClosesIdleConnectionsEndsTheProbeToo(t *testing.T) {
	for name, end := range map[string]func(*Transport){
		"Close":                func(tr *Transport) { tr.Close() },
		"Shutdown":             func(tr *Transport) { tr.Shutdown(context.Background()) },
		"CloseIdleConnections": (*Transport).CloseIdleConnections,
	} {
		inWorld(t, worldConfig{client: withDefault(probing6h)}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			time.Sleep(5 * time.Second)
			require.EqualValues(t, 4, w.open.Load())
			end(w.tr)
			if name == "Shutdown" {
				require.Zero(t, w.open.Load(), "it waits for the probe")
			}
			synctest.Wait()
			require.Zero(t, w.open.Load(), name)
			require.Zero(t, w.only().Probing, name)
			require.Contains(t, w.tr.Explain(w.server.URL).Probe.Problem, "idle connections were closed")
		})
	}
}

func TestAtMostFourUpstreamsAreProbedAtATimeAndAllInTheEnd(t *testing.T) {
	const upstreams = 100
	cfg := worldConfig{server: faultserver.Config{IdleTimeout: 2 * time.Second}, client: withDefault(probing6h)}
	cfg.client.Policies.Upstreams = map[string]Policy{"h0.test": {ServerKeepAlive: time.Second}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		for i := range upstreams {
			ln, err := w.net.Listen(fmt.Sprintf("h%d.test:80", i))
			require.NoError(t, err)
			s, err := faultserver.New(faultserver.Config{Listener: ln, IdleTimeout: 2 * time.Second})
			require.NoError(t, err)
			defer s.Close()
		}
		probing := func() (upstreams, conns int) {
			for _, u := range w.tr.Stats().Upstreams {
				if conns += u.Probing; u.Probing > 0 {
					upstreams++
				}
			}
			return upstreams, conns
		}
		for minute := range 3 {
			for i := range upstreams {
				req, err := http.NewRequestWithContext(context.Background(), "GET", fmt.Sprintf("http://h%d.test/", i), nil)
				require.NoError(t, err)
				_, err = w.send(req)
				require.NoError(t, err)
			}
			for range 60 {
				time.Sleep(time.Second)
				synctest.Wait() // Stats are not of one instant
				n, conns := probing()
				require.LessOrEqual(t, n, maxProbes)
				require.LessOrEqual(t, conns, 3*maxProbes)
			}
			if minute == 0 {
				require.NotZero(t, w.tr.Stats().Total.Probes)
			}
		}
		require.EqualValues(t, upstreams, w.tr.Stats().Total.Probes)
		for _, k := range w.tr.Knowledge().Upstreams {
			require.Equal(t, "confirmed", k.Confidence, k.Name)
		}
		require.LessOrEqual(t, w.most.Load(), int64(upstreams+3*maxProbes))
		require.Zero(t, w.tr.probes.inUse())
	})
}

func TestWhyAProbeFailedIsTellableAndNoRequestsConcern(t *testing.T) {
	for _, c := range []struct {
		problem string
		handler http.HandlerFunc
	}{
		{"no connection could be opened (is the server running, and is the port right?): refused by the test", nil},
		{"no complete response", func(_ http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				panic(http.ErrAbortHandler)
			}
		}},
	} {
		cfg := worldConfig{client: withDefault(probing6h)}
		if c.handler != nil {
			cfg.server.Handler = c.handler
		}
		inWorld(t, cfg, func(t *testing.T, w *world) {
			if c.handler == nil {
				w.refuse.Store(100)
				_, err := w.do(context.Background(), "GET", "/", "")
				require.ErrorIs(t, err, errRefused)
				time.Sleep(time.Minute)
				w.refuse.Store(0)
			}
			w.mustDo("GET", "/", "")
			time.Sleep(time.Minute)
			w.mustDo("GET", "/", "")
			e := w.tr.Explain(w.server.URL)
			require.Contains(t, e.Probe.Problem, c.problem)
			require.Contains(t, e.String(), c.problem)
			require.EqualValues(t, 1, w.only().Probes, "it is not tried again at once")
			require.EqualValues(t, 1, w.only().ProbesFailed)
			time.Sleep(40 * time.Minute)
			w.mustDo("GET", "/", "")
			time.Sleep(3 * time.Minute)
			require.EqualValues(t, 2, w.tr.Stats().Total.Probes, "but sooner than in six hours")
		})
	}
}

func TestAProbeKeepsToMaxConnsAndMakesWayForRequests(t *testing.T) {
	cfg := worldConfig{client: withDefault(Policy{MaxConns: 4, Probe: probing6h.Probe})}
	var g *gate
	cfg.server.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			g.ServeHTTP(rw, r)
		}
	})
	inWorld(t, cfg, func(t *testing.T, w *world) {
		g = newGate()
		done := make(chan error, 4)
		get := func() {
			_, err := w.do(context.Background(), "GET", "/", "")
			done <- err
		}
		go get()
		time.Sleep(3 * time.Second)
		require.EqualValues(t, 4, w.open.Load())
		require.Equal(t, 3, w.only().Probing)
		for range 3 {
			go get()
		}
		synctest.Wait()
		require.Zero(t, w.only().Probing, "requests go first")
		require.Equal(t, 4, w.only().Open)
		for range 4 {
			g.open <- struct{}{}
			require.NoError(t, <-done)
		}
		require.EqualValues(t, 4, w.most.Load())
		require.Contains(t, w.tr.Explain(w.server.URL).Probe.Problem, "requests needed its room")
	})
}

func TestAProbeThatFindsNoRoomSaysSo(t *testing.T) {
	inWorld(t, worldConfig{client: withDefault(Policy{MaxConns: 2, Probe: probing6h.Probe})}, func(t *testing.T, w *world) {
		for range 5 {
			w.mustDo("GET", "/", "")
			time.Sleep(time.Minute)
		}
		p := w.tr.Explain(w.server.URL)
		require.Contains(t, p.Probe.Problem, "no room within MaxConns")
		require.Contains(t, p.String(), "raise MaxConns")
		require.Zero(t, w.only().Probes)
		require.LessOrEqual(t, w.most.Load(), int64(2))
	})
}

func TestARestartInMidProbeTeachesNothing(t *testing.T) {
	cfg := worldConfig{server: faultserver.Config{Personality: "puma"}, client: withDefault(probing6h)} // 65 s
	inWorld(t, cfg, func(t *testing.T, w *world) {
		time.AfterFunc(12*time.Second, w.server.Restart)
		for range 20 {
			w.mustDo("GET", "/", "")
			time.Sleep(10 * time.Second)
		}
		e := w.tr.Explain(w.server.URL)
		require.Equal(t, 3, e.Probe.Report.Measured, "it began anew")
		require.InDelta(t, 65, e.ServerKeepAlive.Seconds(), 0.6)
		require.Equal(t, DeadlineLearned, e.Source)
	})
}

func TestWhatAProbeFindsStillOpenDisprovesAnOldDeadline(t *testing.T) {
	known, err := json.Marshal(Knowledge{Version: 1, Upstreams: []UpstreamKnowledge{{
		Name: "http://10.0.0.1:80", Timeouts: []Timeout{{Lower: 5 * time.Second, Upper: 5 * time.Second, Closes: 9, Weight: 2}},
	}}})
	require.NoError(t, err)
	learned, err := ParseKnowledge(known)
	require.NoError(t, err)
	cfg := withDefault(probing6h)
	cfg.Learned = learned
	inWorld(t, worldConfig{client: cfg}, func(t *testing.T, w *world) {
		require.Equal(t, DeadlineProvisional, w.tr.Explain(w.server.URL).Source)
		for range 13 {
			w.mustDo("GET", "/", "")
			time.Sleep(10 * time.Second)
		}
		require.Equal(t, DeadlineMaxIdleTime, w.tr.Explain(w.server.URL).Source)
	})
}

func TestATransportWithProbesDroppedWithoutCloseIsCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(memnet.Options{})
		ln, err := network.Listen(worldAddr)
		require.NoError(t, err)
		s, err := faultserver.New(faultserver.Config{Listener: ln}) // it never closes
		require.NoError(t, err)
		defer s.Close()

		var collected atomic.Bool // set outside the bubble
		func() {
			tr, err := New(Config{Base: &http.Transport{DialContext: network.DialContext}, Policies: Policies{Default: probing6h}})
			require.NoError(t, err)
			runtime.AddCleanup(tr, func(b *atomic.Bool) { b.Store(true) }, &collected)
			resp, err := (&http.Client{Transport: tr}).Get(s.URL)
			require.NoError(t, err)
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}()
		time.Sleep(time.Second)
		runtime.GC()
		require.False(t, collected.Load(), "a probe runs")
		time.Sleep(91 * time.Second)
		synctest.Wait()
		for range 1000 {
			if collected.Load() {
				return
			}
			runtime.GC()
		}
		t.Fatal("something still holds it")
	})
}
