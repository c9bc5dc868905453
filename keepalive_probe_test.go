package idlewise

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
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

func TestAProbeOfAServerThatNeverClosesGivesALowerBound(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{})
		require.Equal(t, ProbeOutlasted, r.Finding)
		require.Equal(t, 2*time.Minute, r.Took)
		require.Equal(t, 2*time.Minute, r.AtLeast)
		require.False(t, r.Cut)
		require.Zero(t, r.SuggestedPolicy())
		require.Contains(t, r.String(), "still open after 2m0s")
	})
}

func TestAProbeEndsWithItsContextAndTellsWhatItKnows(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(context.Background(), 47*time.Second)
		defer cancel()
		r, err := w.tr.Probe(ctx, w.url("/"), ProbeOptions{})
		require.NoError(t, err)
		require.True(t, r.Cut)
		require.Equal(t, 47*time.Second, r.Took)
		require.Equal(t, ProbeOutlasted, r.Finding)
		require.Contains(t, r.String(), "still open after 47s")
		require.Equal(t, 47*time.Second, r.AtLeast)
	})
}

func TestAProbeThatIsCanceledBeforeItBeganKnowsNothing(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r, err := w.tr.Probe(ctx, w.url("/"), ProbeOptions{})
		require.NoError(t, err)
		require.True(t, r.Cut)
		require.Equal(t, ProbeInconclusive, r.Finding)
	})
}

func TestAProbeOfAServerThatClosesBehindEachResponseSaysSo(t *testing.T) {
	cfg := worldConfig{latency: 5 * time.Millisecond, server: faultserver.Config{
		Faults: []faultserver.Fault{{Kind: faultserver.SilentClose}},
	}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{})
		require.Equal(t, ProbeClosesAtOnce, r.Finding, r.String())
		require.Equal(t, Policy{MaxRequestsPerConn: 1}, r.SuggestedPolicy())
	})
}

func TestAProbeOfAServerThatAnnouncesTheEndSaysSo(t *testing.T) {
	cfg := worldConfig{server: faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.AnnounceClose}}}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{})
		require.Equal(t, ProbeNotKept, r.Finding, r.String())
		require.Zero(t, r.SuggestedPolicy())
	})
}

func TestAProbeOfAServerThatDoesNotAnswerEndsInTime(t *testing.T) {
	for name, c := range map[string]struct {
		fault faultserver.Fault
		end   ProbeEnd
	}{
		"silence": {faultserver.Fault{Kind: faultserver.NeverAnswer}, ProbeEndUnfinished},
		"closed":  {faultserver.Fault{Kind: faultserver.FinAfterRequest}, ProbeEndNoAnswer},
		"reset":   {faultserver.Fault{Kind: faultserver.RstAfterRequest}, ProbeEndNoAnswer},
		"cut":     {faultserver.Fault{Kind: faultserver.CloseInHeaders}, ProbeEndNoAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := worldConfig{server: faultserver.Config{Faults: []faultserver.Fault{c.fault}}}
			inWorld(t, cfg, func(t *testing.T, w *world) {
				r := w.probe(ProbeOptions{})
				require.Equal(t, ProbeUnanswered, r.Finding, r.String())
				require.Equal(t, c.end, r.Conns[0].End, r.String())
				require.LessOrEqual(t, r.Took, 12*time.Second)
			})
		})
	}
}

func TestAProbeOfAServerThatTricklesAHeaderEndsInTime(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		trickler, err := w.net.Listen("trickler:80")
		require.NoError(t, err)
		go serveRaw(trickler, func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Slow: ")
			for {
				if _, err := io.WriteString(c, "a"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		r, err := w.tr.Probe(context.Background(), "http://trickler/", ProbeOptions{})
		require.NoError(t, err)
		require.Equal(t, ProbeUnanswered, r.Finding, r.String())
		require.Contains(t, r.Summary(), "no complete response after 10s")
		require.LessOrEqual(t, r.Took, 12*time.Second)
		trickler.Close()
		time.Sleep(2 * time.Second) // until its handlers notice
	})
}

// serveRaw gives each connection to serve once a request's bytes have come.
func serveRaw(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if n, _ := c.Read(make([]byte, 4096)); n > 0 {
				serve(c)
			}
		}()
	}
}

func TestAProbeReadsNoMoreOfAResponseThanItMay(t *testing.T) {
	const body = 300 << 10
	var sent int
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			rw.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		rw.WriteHeader(http.StatusOK)
		for range body >> 10 {
			n, err := rw.Write(make([]byte, 1<<10))
			sent += n
			if err != nil {
				return
			}
		}
	})
	inWorld(t, worldConfig{server: faultserver.Config{Handler: handler}}, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{Connections: 1, MaxBody: 1 << 10})
		require.Equal(t, ProbeUnanswered, r.Finding, r.String())
		require.Contains(t, r.Summary(), "MaxBody")
		require.Less(t, sent, body)
	})
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
		if r.Method != "OPTIONS" || r.Host != "other" || r.Header.Get("X-A") != "b" || user != "me" || password != "secret" {
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

func TestAProbeOfAServerThatRefusesReportsAndFails(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		r, err := w.tr.Probe(context.Background(), "http://10.0.0.9/", ProbeOptions{})
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.ErrorContains(t, err, "is the server running")
		require.Equal(t, ProbeUnreachable, r.Finding)
		require.Len(t, r.Conns, 3)
		require.Contains(t, r.String(), "connection refused")
	})
}

func TestAProbeWhoseDialHangsEndsInTime(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		w.net.Cut(worldAddr, true)
		r, err := w.tr.Probe(context.Background(), w.url("/"), ProbeOptions{})
		require.ErrorContains(t, err, "no connection after 10s (AnswerTimeout)")
		require.LessOrEqual(t, r.Took, 12*time.Second)
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
		require.Equal(t, 65*time.Second, r.Lower)
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

func TestAProbeCountsTheRequestsThatAConnectionMayCarry(t *testing.T) {
	for name, c := range map[string]struct {
		server    faultserver.Config
		announced bool
		ends      []ProbeEnd
	}{
		"announced": {faultserver.Config{MaxRequestsPerConn: 100}, true, []ProbeEnd{ProbeEndAnnounced}},
		"GOAWAY":    {faultserver.Config{MaxRequestsPerConn: 100, TLS: true}, true, []ProbeEnd{ProbeEndGoAway}},
		// The next request may cross the FIN, and is answered with a RST.
		"unannounced": {faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.CloseAfterRequests, Requests: 100}}}, false, []ProbeEnd{ProbeEndFIN, ProbeEndRST}},
	} {
		t.Run(name, func(t *testing.T) {
			c.server.Personality = "uvicorn"
			inWorld(t, worldConfig{server: c.server}, func(t *testing.T, w *world) {
				r := w.probe(ProbeOptions{MaxRequests: 500})
				require.Equal(t, 5*time.Second, r.Lower, r.String())
				require.Equal(t, 100, r.Requests.Limit, r.String())
				require.Equal(t, 100, r.Requests.Answered)
				require.Equal(t, c.announced, r.Requests.Announced, "%+v", *r.Requests)
				require.Contains(t, c.ends, r.Requests.End)
				if !c.announced {
					require.Equal(t, 100, r.SuggestedPolicy().MaxRequestsPerConn)
				}
			})
		})
	}
}

func TestAProbeSendsNoMoreRequestsThanItMay(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{Personality: "uvicorn"}}, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{MaxRequests: 50})
		require.Zero(t, r.Requests.Limit)
		require.Equal(t, 50, r.Requests.Answered)
		require.Len(t, w.server.Journal().Requests(), 53)
	})
}

func TestBisectFindsASilentDrop(t *testing.T) {
	const drop = 23 * time.Second
	cfg := worldConfig{latency: 5 * time.Millisecond, server: faultserver.Config{
		Faults: []faultserver.Fault{{Kind: faultserver.NeverAnswer, IdleAtLeast: drop}},
	}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{Bisect: true, Timeout: 10 * time.Minute})
		require.Equal(t, ProbeTimeout, r.Finding, r.String())
		require.Equal(t, ProbeEndSilent, r.End)
		require.LessOrEqual(t, r.Lower, drop)
		require.GreaterOrEqual(t, r.Upper, drop)
		require.LessOrEqual(t, r.Upper-r.Lower, drop/50)
		require.False(t, r.Reuse.Inconsistent)
		require.Less(t, len(r.Reuse.Tries), 40)
		require.InDelta(t, drop, r.SuggestedPolicy().ServerKeepAlive, float64(drop/50))
		require.LessOrEqual(t, r.SuggestedPolicy().ServerKeepAlive, drop)
	})
}

func TestBisectStopsWhenItsTimeIsOver(t *testing.T) {
	cfg := worldConfig{server: faultserver.Config{
		Faults: []faultserver.Fault{{Kind: faultserver.NeverAnswer, IdleAtLeast: 50 * time.Second}},
	}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{Bisect: true})
		require.Equal(t, ProbeTimeout, r.Finding, r.String())
		require.LessOrEqual(t, r.Lower, 50*time.Second)
		require.GreaterOrEqual(t, r.Upper, 50*time.Second)
		require.LessOrEqual(t, r.Upper-r.Lower, 4*time.Second)
	})
}

func TestBisectSaysWhenNothingIsDropped(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{Bisect: true})
		require.Equal(t, ProbeOutlasted, r.Finding, r.String())
		require.Equal(t, time.Minute, r.AtLeast)
		require.Zero(t, r.SuggestedPolicy())
	})
}

func TestBisectMeasuresACloseThatShows(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{Personality: "node"}}, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{Bisect: true})
		require.Equal(t, ProbeTimeout, r.Finding, r.String())
		require.Equal(t, 6030*time.Millisecond, r.Lower)
		require.Equal(t, ProbeEndFIN, r.End)
		require.Equal(t, 5*time.Second, r.Announced)
	})
}

func TestAProbeRefusesWhatItCannotDo(t *testing.T) {
	tr, err := New(Config{Base: &http.Transport{}})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		url  string
		opt  ProbeOptions
		want string
	}{
		"scheme":       {"ftp://a", ProbeOptions{}, "begin it with http://"},
		"no scheme":    {"example.com", ProbeOptions{}, "begin it with http://"},
		"no host":      {"http://", ProbeOptions{}, "names no host"},
		"junk":         {"http://a b:secret@x\x7f", ProbeOptions{}, "the URL is invalid"},
		"unit":         {"http://a", ProbeOptions{Timeout: 120}, "ProbeOptions.Timeout: 120ns is under a millisecond"},
		"negative":     {"http://a", ProbeOptions{Timeout: -1}, "ProbeOptions.Timeout"},
		"too long":     {"http://a", ProbeOptions{Timeout: 48 * time.Hour}, "at most 24h"},
		"too many":     {"http://a", ProbeOptions{Connections: 33}, "ProbeOptions.Connections"},
		"too few":      {"http://a", ProbeOptions{Connections: -1}, "ProbeOptions.Connections"},
		"requests":     {"http://a", ProbeOptions{MaxRequests: -1}, "ProbeOptions.MaxRequests"},
		"unsafe":       {"http://a", ProbeOptions{Method: "POST", Bisect: true}, "use GET, HEAD"},
		"bad method":   {"http://a", ProbeOptions{Method: "A B"}, "ProbeOptions.Method or Header"},
		"bad header":   {"http://a", ProbeOptions{Header: http.Header{"A\n": {"b"}}}, "ProbeOptions.Method or Header"},
		"both at once": {"ftp://a", ProbeOptions{Connections: 33}, "ProbeOptions.Connections"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := tr.Probe(context.Background(), c.url, c.opt)
			require.Nil(t, r)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "secret")
		})
	}
	require.NoError(t, tr.Close())
	_, err = tr.Probe(context.Background(), "http://a", ProbeOptions{})
	require.True(t, errors.Is(err, ErrClosed))
}
