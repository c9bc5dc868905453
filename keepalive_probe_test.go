package idlewise

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// probe runs a probe that must not fail, and checks what holds for all.
func (w *world) probe(opt ProbeOptions) *ProbeReport {
	w.Helper()
	began := time.Now()
	r, err := w.tr.Probe(context.Background(), w.url("/health"), opt)
	require.NoError(w, err)
	o := opt.withDefaults()
	require.LessOrEqual(w, time.Since(began), o.Timeout+time.Second)
	require.Empty(w, w.tr.Stats().Upstreams, "a probe's connections are in no pool")
	synctest.Wait()
	require.Zero(w, w.open.Load(), "a probe leaves no socket open")
	require.LessOrEqual(w, w.most.Load(), int64(o.Connections+1))
	return r
}

func ages(r *ProbeReport) []time.Duration {
	var a []time.Duration
	for _, c := range r.Conns {
		a = append(a, c.Age)
	}
	return a
}

func TestProbeMeasuresASilentTimeoutExactly(t *testing.T) {
	cfg := worldConfig{latency: 10 * time.Millisecond, server: faultserver.Config{Personality: "uvicorn"}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{})
		require.Equal(t, ProbeTimeout, r.Finding, r.String())
		require.Equal(t, []time.Duration{5 * time.Second, 5 * time.Second, 5 * time.Second}, ages(r))
		require.Equal(t, 3, r.Measured)
		require.Equal(t, ProbeEndFIN, r.End)
		require.Zero(t, r.Announced)
		require.Less(t, r.Took, 7*time.Second, "it ends when the last connection has")
		require.Equal(t, Policy{ServerKeepAlive: 5 * time.Second}, r.SuggestedPolicy())
		for _, q := range w.server.Journal().Requests() {
			require.Equal(t, "HEAD", q.Method)
			require.Equal(t, "/health", q.Path)
		}
	})
}

func TestProbeTellsTheAnnouncedTimeoutFromTheTrueOne(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{Personality: "node"}}, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{})
		require.Equal(t, 5*time.Second, r.Announced)
		require.Equal(t, 6030*time.Millisecond, r.Lower)
		require.Equal(t, 6030*time.Millisecond, r.Upper)
		require.Equal(t, "timeout=5", r.Conns[0].KeepAlive)
		require.Equal(t, 6030*time.Millisecond, r.SuggestedPolicy().ServerKeepAlive)
	})
}

func TestProbeElicitsTheHintWhereItIsAskedTo(t *testing.T) {
	for elicit, want := range map[bool]time.Duration{false: 0, true: 5 * time.Second} {
		inWorld(t, worldConfig{server: faultserver.Config{Personality: "apache"}}, func(t *testing.T, w *world) {
			r := w.probe(ProbeOptions{ElicitHint: elicit})
			require.Equal(t, want, r.Announced)
			require.Equal(t, 5*time.Second, r.Lower)
		})
	}
}

func TestProbeSeesHowAnIdleConnectionEnds(t *testing.T) {
	const at = 7 * time.Second
	h2c := new(http.Protocols)
	h2c.SetUnencryptedHTTP2(true)
	onlyHTTP1 := new(http.Protocols)
	onlyHTTP1.SetHTTP1(true)
	for _, c := range []struct {
		name  string
		fault faultserver.Fault
		tls   bool
		proto *http.Protocols
		end   ProbeEnd
	}{
		{"a FIN", faultserver.Fault{Kind: faultserver.IdleClose}, false, nil, ProbeEndFIN},
		{"a RST", faultserver.Fault{Kind: faultserver.IdleReset}, false, nil, ProbeEndRST},
		{"a 408", faultserver.Fault{Kind: faultserver.Idle408}, false, nil, ProbeEnd408},
		{"junk", faultserver.Fault{Kind: faultserver.IdleBytes, Value: "bye"}, false, nil, ProbeEndUnasked},
		{"TLS's goodbye", faultserver.Fault{Kind: faultserver.IdleClose}, true, onlyHTTP1, ProbeEndCloseNotify},
		{"a RST under TLS", faultserver.Fault{Kind: faultserver.IdleReset}, true, onlyHTTP1, ProbeEndRST},
		{"a 408 under TLS", faultserver.Fault{Kind: faultserver.Idle408}, true, onlyHTTP1, ProbeEnd408},
		{"GOAWAY", faultserver.Fault{Kind: faultserver.IdleGoAway}, true, nil, ProbeEndGoAway},
		{"TLS's goodbye on HTTP/2", faultserver.Fault{Kind: faultserver.IdleClose}, true, nil, ProbeEndCloseNotify},
		{"a RST on HTTP/2", faultserver.Fault{Kind: faultserver.IdleReset}, true, nil, ProbeEndRST},
		{"GOAWAY in cleartext", faultserver.Fault{Kind: faultserver.IdleGoAway}, false, h2c, ProbeEndGoAway},
		{"a FIN on HTTP/2 in cleartext", faultserver.Fault{Kind: faultserver.IdleClose}, false, h2c, ProbeEndFIN},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.fault.After = at
			cfg := worldConfig{latency: 5 * time.Millisecond, server: faultserver.Config{
				Faults: []faultserver.Fault{c.fault}, TLS: c.tls, Protocols: c.proto,
			}}
			if c.proto == h2c {
				cfg.base = func(b *http.Transport) { b.Protocols = h2c }
			}
			inWorld(t, cfg, func(t *testing.T, w *world) {
				r := w.probe(ProbeOptions{Timeout: time.Minute})
				require.Equal(t, ProbeTimeout, r.Finding, r.String())
				require.Equal(t, 3, r.Measured)
				for _, row := range r.Conns {
					require.Equal(t, c.end, row.End, r.String())
					require.InDelta(t, at, row.Age, float64(100*time.Millisecond), r.String())
				}
			})
		})
	}
}

func TestProbeSeesGoAwayThatIsFollowedByTheEndAtOnce(t *testing.T) {
	for _, tls := range []bool{false, true} {
		cfg := worldConfig{server: faultserver.Config{Personality: "uvicorn", TLS: tls}}
		if !tls {
			h2c := new(http.Protocols)
			h2c.SetUnencryptedHTTP2(true)
			cfg.server.Protocols = h2c
			cfg.base = func(b *http.Transport) { b.Protocols = h2c }
		}
		inWorld(t, cfg, func(t *testing.T, w *world) {
			r := w.probe(ProbeOptions{})
			require.Equal(t, ProbeEndGoAway, r.End, r.String())
			require.Equal(t, 5*time.Second, r.Lower)
			require.Equal(t, "HTTP/2.0", r.Conns[0].Proto)
		})
	}
}

func TestAProbeUsesGETWhereTheServerDoesNotKnowHEAD(t *testing.T) {
	for _, last := range []bool{false, true} {
		var methods []string
		handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			methods = append(methods, r.Method)
			if r.Method == http.MethodHead {
				if last {
					rw.Header().Set("Connection", "close")
				}
				rw.WriteHeader(http.StatusNotImplemented)
			}
		})
		cfg := worldConfig{server: faultserver.Config{Handler: handler, Personality: "uvicorn"}}
		inWorld(t, cfg, func(t *testing.T, w *world) {
			r := w.probe(ProbeOptions{})
			require.Equal(t, []string{"HEAD", "GET", "GET", "GET"}, methods)
			require.Equal(t, 5*time.Second, r.Lower)
			require.Equal(t, "GET", r.Conns[0].Method)
		})
	}
}

func TestAProbeSendsWhatItIsAskedTo(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{Personality: "uvicorn", Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if r.Method != "OPTIONS" || r.Host != "other" || len(r.Header["Host"]) > 0 || r.Header.Get("X-A") != "b" || user != "me" || password != "secret" {
			rw.WriteHeader(http.StatusTeapot)
		}
	})}}, func(t *testing.T, w *world) {
		r, err := w.tr.Probe(context.Background(), "http://me:secret@10.0.0.1/x?y", ProbeOptions{
			Method: "OPTIONS", Header: http.Header{"Host": {"other"}, "X-A": {"b"}},
		})
		require.NoError(t, err)
		require.Equal(t, 200, r.Conns[0].Status)
		require.NotContains(t, r.String(), "secret")
	})
}

func TestARestartInMidProbeIsNotTakenForATimeout(t *testing.T) {
	cfg := worldConfig{server: faultserver.Config{Personality: "puma"}} // 65 s
	inWorld(t, cfg, func(t *testing.T, w *world) {
		time.AfterFunc(12*time.Second, w.server.Restart)
		r, err := w.tr.Probe(context.Background(), w.url("/"), ProbeOptions{})
		require.NoError(t, err)
		require.Len(t, r.Conns, 6, "it begins anew")
		for _, c := range r.Conns[:3] {
			require.True(t, c.MassClose, r.String())
		}
		require.Equal(t, ProbeTimeout, r.Finding, r.String())
		require.InDelta(t, 65, r.Lower.Seconds(), 0.5, "Puma's timer is a little late")
		require.Equal(t, 3, r.Measured)
	})
}

func TestRestartsLeaveTheTimeoutUnknown(t *testing.T) {
	cfg := worldConfig{server: faultserver.Config{Personality: "puma"}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		time.AfterFunc(12*time.Second, w.server.Restart)
		time.AfterFunc(32*time.Second, w.server.Kill)
		r := w.probe(ProbeOptions{})
		require.Equal(t, ProbeMassClose, r.Finding, r.String())
		require.Equal(t, 20*time.Second, r.AtLeast.Round(time.Second))
		require.Zero(t, r.SuggestedPolicy())
	})
}

func TestAProbeSendsNoPings(t *testing.T) {
	base := &http.Transport{HTTP2: &http.HTTP2Config{SendPingTimeout: time.Second, MaxReadFrameSize: 1 << 20}}
	tr, err := New(Config{Base: base})
	require.NoError(t, err)
	defer tr.Close()
	probing := tr.probeBase(nil)
	require.Zero(t, probing.HTTP2.SendPingTimeout, "a server may take them for use")
	require.Equal(t, 1<<20, probing.HTTP2.MaxReadFrameSize)
	require.Equal(t, time.Second, tr.base.http.HTTP2.SendPingTimeout, "the pool's stay as they are")
}
