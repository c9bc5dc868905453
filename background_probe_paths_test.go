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
	var n atomic.Int64
	cfg := worldConfig{client: withDefault(Policy{MaxConns: 4, Probe: probing6h.Probe})}
	cfg.base = func(b *http.Transport) {
		dial := b.DialContext
		b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if n.Add(1) == 1 {
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
