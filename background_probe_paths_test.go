package idlewise

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestABackgroundProbeLearnsOfHTTP2ServersToo(t *testing.T) {
	for _, tls := range []bool{false, true} {
		cfg := worldConfig{latency: 10 * time.Millisecond, server: faultserver.Config{Personality: "uvicorn", TLS: tls}, client: withDefault(probing6h)}
		if !tls {
			h2c := new(http.Protocols)
			h2c.SetUnencryptedHTTP2(true)
			cfg.server.Protocols = h2c
			cfg.base = func(b *http.Transport) { b.Protocols = h2c }
		}
		inWorld(t, cfg, func(t *testing.T, w *world) {
			w.mustDo("POST", "/", "x")
			time.Sleep(10 * time.Second)
			e := w.tr.Explain(w.server.URL)
			require.Equal(t, DeadlineLearned, e.Source)
			require.InDelta(t, 5, e.ServerKeepAlive.Seconds(), 0.05)
			require.Equal(t, ProbeEndGoAway, e.Probe.Report.End)
		})
	}
}

func TestABackgroundProbeGoesThroughTheUpstreamsProxyAndAsksForIt(t *testing.T) {
	var asked atomic.Int64
	var mu sync.Mutex
	var seen []string
	cfg := worldConfig{
		server: faultserver.Config{IdleTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, r.Method+" "+r.RequestURI)
		})},
		client: withDefault(Policy{Probe: ProbePolicy{Every: time.Hour, Method: "OPTIONS", Path: "/up?x=y"}}),
		base: func(b *http.Transport) {
			b.Proxy = func(*http.Request) (*url.URL, error) {
				asked.Add(1)
				return url.Parse("http://" + worldAddr)
			}
		},
	}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		req, err := http.NewRequestWithContext(context.Background(), "GET", "http://me:secret@target.test/", nil)
		require.NoError(t, err)
		_, err = w.send(req)
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		require.EqualValues(t, 1, asked.Load(), "the request's answer holds for the probe")
		mu.Lock()
		defer mu.Unlock()
		require.ElementsMatch(t, []string{
			"GET http://target.test/",
			"OPTIONS http://target.test/up?x=y", "OPTIONS http://target.test/up?x=y", "OPTIONS http://target.test/up?x=y",
		}, seen)
		require.Equal(t, DeadlineLearned, w.tr.Explain("http://target.test/").Source)
	})
}

// A dialer need not heed its context.
func TestAProbesRoomIsFreeOnlyWhenItsDialsHaveEnded(t *testing.T) {
	cfg := worldConfig{client: withDefault(Policy{MaxConns: 4, Probe: probing6h.Probe})}
	cfg.base = func(b *http.Transport) {
		dial := b.DialContext
		b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if ctx.Value(probeWireKey{}) == nil {
				return dial(ctx, network, addr)
			}
			time.Sleep(30 * time.Second)
			return dial(context.WithoutCancel(ctx), network, addr)
		}
	}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(5 * time.Second)
		w.tr.CloseIdleConnections()
		synctest.Wait()
		require.Equal(t, 3, w.only().Probing)
		time.Sleep(time.Minute)
		require.Zero(t, w.only().Probing)
		require.Zero(t, w.open.Load())
	})
}

func TestRequestsThatWaitedForAHandshakeDoNotWaitForAProbe(t *testing.T) {
	onlyHTTP1 := new(http.Protocols)
	onlyHTTP1.SetHTTP1(true)
	var g *gate
	cfg := worldConfig{latency: 10 * time.Millisecond, client: withDefault(Policy{MaxConns: 5, Probe: probing6h.Probe})}
	cfg.server.TLS, cfg.server.Protocols = true, onlyHTTP1
	cfg.server.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			g.ServeHTTP(rw, r)
		}
	})
	inWorld(t, cfg, func(t *testing.T, w *world) {
		g = newGate()
		done := make(chan error, 3)
		for range 3 {
			go func() {
				_, err := w.do(context.Background(), "GET", "/", "")
				done <- err
			}()
		}
		time.Sleep(time.Second)
		require.Len(t, g.arrived, 3)
		for range 3 {
			g.open <- struct{}{}
			require.NoError(t, <-done)
		}
		require.LessOrEqual(t, w.most.Load(), int64(5))
	})
}

func TestUpstreamsThatWaitForAProbeAreNotProbedOnceOutOfUse(t *testing.T) {
	inWorld(t, worldConfig{client: withDefault(probing6h)}, func(t *testing.T, w *world) {
		get := func(host string) {
			req, err := http.NewRequestWithContext(context.Background(), "GET", "http://"+host, nil)
			require.NoError(t, err)
			_, err = w.send(req)
			require.NoError(t, err)
			synctest.Wait()
		}
		hosts := []string{"a.test", "b.test", "c.test", "d.test", "e.test", "f.test", "g.test"}
		for _, host := range hosts {
			ln, err := w.net.Listen(host + ":80")
			require.NoError(t, err)
			s, err := faultserver.New(faultserver.Config{Listener: ln}) // it never closes
			require.NoError(t, err)
			defer s.Close()
			get(host)
		}
		require.Equal(t, maxProbes, w.tr.probes.inUse())
		time.Sleep(30 * time.Second)
		for _, host := range hosts[:maxProbes] {
			get(host)
		}
		time.Sleep(70 * time.Second)
		get(hosts[maxProbes])
		time.Sleep(25 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, w.tr.probes.inUse(), "the one that was in use since")
		time.Sleep(70 * time.Second)
		synctest.Wait()
		require.EqualValues(t, maxProbes+1, w.tr.Stats().Total.Probes, "it ended, too")
		require.Zero(t, w.tr.probes.inUse())
		get(hosts[maxProbes+1])
		require.Equal(t, 1, w.tr.probes.inUse(), "it is due with the next request")
	})
}

func TestOfAProbeOnlyWhatTheServerDidForIdlenessIsLearned(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		conns []ProbeConn
		want  string
		at    time.Duration
	}{
		"closes":      {[]ProbeConn{{End: ProbeEndFIN, Age: 8 * s, Ended: 8 * s}, {End: ProbeEndRST, Age: 8 * s, Ended: 9 * s}}, "confirmed", 8 * s},
		"one close":   {[]ProbeConn{{End: ProbeEnd408, Age: 8 * s, Ended: 8 * s}}, "provisional", 8 * s},
		"mass closes": {[]ProbeConn{{End: ProbeEndFIN, Age: 85 * s, Ended: 85 * s, MassClose: true}, {End: ProbeEndFIN, Age: 84 * s, Ended: 85 * s, MassClose: true}}, "", 0},
		"asleep":      {[]ProbeConn{{End: ProbeEndFIN, Age: 8 * s, Ended: 8 * s, Suspended: true}}, "", 0},
		"no answer":   {[]ProbeConn{{End: ProbeEndNoAnswer, Ended: 8 * s}, {End: ProbeEndAnnounced, Ended: 9 * s}, {End: ProbeEndUnreachable}}, "", 0},
		"open":        {[]ProbeConn{{End: ProbeEndOpen, Age: 8 * s, Ended: 8 * s}}, "", 0},
		"open later":  {[]ProbeConn{{End: ProbeEndOpen, Age: 20 * s, Ended: 20 * s}, {End: ProbeEndOpen, Age: 19 * s, Ended: 20 * s}, {End: ProbeEndFIN, Age: 8 * s, Ended: 9 * s}}, "none", 0},
	} {
		tr := &Transport{}
		u, err := url.Parse("http://a.test")
		require.NoError(t, err)
		require.NoError(t, tr.ready())
		up := tr.upstreamFor(u, nil, false)
		up.pool.learnFromProbeLocked(&ProbeReport{Began: time.Now(), Conns: c.conns}, time.Now())
		k := tr.Knowledge().Upstreams
		if c.want == "" {
			require.Empty(t, k, name)
			continue
		}
		require.Len(t, k, 1, name)
		require.Equal(t, c.want, k[0].Confidence, name)
		require.Equal(t, c.at, k[0].Deadline, name)
	}
}

func TestTheRecordOfAnUpstreamThatIsProbedIsKept(t *testing.T) {
	tr := &Transport{}
	require.NoError(t, tr.ready())
	up := tr.upstreamFor(&url.URL{Scheme: "http", Host: "a.test"}, nil, false)
	up.inFlight.Add(-1)
	_, unused := up.unused()
	require.True(t, unused)
	up.pool.probeSlots = 3
	_, unused = up.unused()
	require.False(t, unused)
	require.False(t, up.retire(new(counts)))
}

func TestAProbeLeavesRoomForTheRequestThatItBeganWith(t *testing.T) {
	tr, err := New(withDefault(Policy{MaxConns: 2, Probe: probing6h.Probe}))
	require.NoError(t, err)
	up := tr.upstreamFor(&url.URL{Scheme: "http", Host: "a.test"}, nil, false)
	require.Equal(t, 1, up.pool.probeRoomLocked(up.policy()))
}

func (s *probeSeats) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}
