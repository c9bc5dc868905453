package idlewise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// inObserved gives an Observer around net/http's transport a server in virtual
// time.
func inObserved(t *testing.T, latency time.Duration, cfg faultserver.Config, f func(t *testing.T, w *watching)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(memnet.Options{Latency: latency})
		listener, err := network.Listen(worldAddr)
		require.NoError(t, err)
		cfg.Listener = listener
		server, err := faultserver.New(cfg)
		require.NoError(t, err)
		inner := &http.Transport{DialContext: network.DialContext, Protocols: cfg.Protocols}
		w := &watching{T: t, server: server, inner: inner, o: Observe(inner, ObserveConfig{})}
		defer func() {
			inner.CloseIdleConnections()
			server.Close()
			time.Sleep(2*latency + time.Second)
		}()
		f(t, w)
	})
}

type watching struct {
	*testing.T
	server *faultserver.Server
	inner  *http.Transport
	o      *Observer
	failed map[string]int // calls, by method
}

func (w *watching) do(ctx context.Context, method, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, w.server.URL, strings.NewReader(body))
	require.NoError(w, err)
	resp, err := w.o.RoundTrip(req)
	if err != nil {
		if w.failed == nil {
			w.failed = make(map[string]int)
		}
		w.failed[method]++
		return err
	}
	require.Same(w, req, resp.Request)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (w *watching) only() ObservedUpstream {
	r := w.o.Report()
	require.Len(w, r.Upstreams, 1)
	require.Equal(w, r.Total, r.Upstreams[0].ObservedCounters)
	return r.Upstreams[0]
}

var someMethods = []string{"GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"}

func TestTheObserverReportsExactlyTheStaleHitsThatTheJournalHolds(t *testing.T) {
	for _, fault := range []faultserver.Fault{
		{Kind: faultserver.FinAfterRequest, ReusedOnly: true, Probability: 0.2},
		{Kind: faultserver.RstAfterRequest, ReusedOnly: true, Probability: 0.2, Executed: true},
	} {
		inObserved(t, time.Millisecond, faultserver.Config{Faults: []faultserver.Fault{fault}, Seed: 5}, func(t *testing.T, w *watching) {
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range 600 {
				w.do(t.Context(), someMethods[i%len(someMethods)], "x")
				time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Second))))
			}
			synctest.Wait()
			journal, ages := make(map[string]uint64), []time.Duration(nil)
			total, idempotent := uint64(0), uint64(0)
			for _, r := range w.server.Journal().Requests() {
				if slices.Contains(r.Faults, fault.Kind) {
					journal[r.Method]++
					ages = append(ages, r.IdleBefore)
					total++
					if r.Method != "POST" && r.Method != "PATCH" {
						idempotent++
					}
				}
			}
			u := w.only()
			require.Greater(t, total, uint64(50))
			require.Equal(t, journal, u.StaleByMethod)
			require.Equal(t, total, u.Stale())
			require.Equal(t, idempotent, u.StaleIdempotent)
			require.Equal(t, total, u.IdleAtStaleHit.Count())
			lateness := 2 * time.Millisecond // the client's clock starts one flight later and stops one earlier
			for i := range ages {
				ages[i] -= lateness
			}
			require.Equal(t, counted(ages), u.IdleAtStaleHit.Counts)
			require.EqualValues(t, 600, u.Requests)
			require.EqualValues(t, len(w.server.Journal().Requests()), u.Attempts)

			errs := uint64(0)
			for _, n := range w.failed {
				errs += uint64(n)
			}
			require.Equal(t, errs, u.Failed, "of PUT, DELETE, POST and PATCH")
			require.Equal(t, total-errs, u.Repeated, "net/http repeats GET and HEAD")
			require.Equal(t, total, u.WouldAvoid+u.WouldResend+u.WouldSeekProof+u.WouldFail)
			require.NotZero(t, u.WouldResend)
			require.NotZero(t, u.WouldFail, "there is no kernel to be asked in memory")
		})
	}
}

func TestTheObserverCountsRequestsThatCrossAFINAndFindsTheTimeout(t *testing.T) {
	inObserved(t, 10*time.Millisecond, faultserver.Config{IdleTimeout: 5 * time.Second}, func(t *testing.T, w *watching) {
		for range 20 {
			w.do(t.Context(), "POST", "x")
			time.Sleep(5*time.Second - 15*time.Millisecond) // the next one crosses the FIN
		}
		u := w.only()
		require.EqualValues(t, 10, u.Stale(), "every other one, since the next is on a new connection")
		require.Len(t, w.server.Journal().Requests(), 10)
		require.EqualValues(t, 10, u.Failed)
		require.Equal(t, map[string]uint64{"POST": 10}, u.StaleByMethod)
		require.Equal(t, DeadlineLearned, u.Source)
		require.InDelta(t, 5, u.ServerKeepAlive.Seconds(), 0.05)
		require.EqualValues(t, 9, u.WouldAvoid, "after the first it would have been careful")
		require.EqualValues(t, 1, u.WouldFail)
		text := w.o.Report().String()
		require.Contains(t, text, "10 met a connection that the server had closed; the program got an error for 10 of them.")
		require.Contains(t, text, "stale hits: 10 in 20 requests, 10 errors; POST 10")
		require.Contains(t, text, "(learned); idlewise would retire at 4.7")
	})
}

func TestAnAnnouncedTimeoutIsOneThatIdlewiseWouldHaveKept(t *testing.T) {
	inObserved(t, 10*time.Millisecond, faultserver.Config{IdleTimeout: 5 * time.Second, KeepAlive: "timeout=5"}, func(t *testing.T, w *watching) {
		for range 4 {
			w.do(t.Context(), "POST", "x")
			time.Sleep(5*time.Second - 15*time.Millisecond)
		}
		u := w.only()
		require.EqualValues(t, 2, u.Stale())
		require.EqualValues(t, 2, u.WouldAvoid)
	})
}

func TestWhatIsNoStaleHitIsNotReported(t *testing.T) {
	for name, fault := range map[string]faultserver.Fault{
		"broken response":  {Kind: faultserver.CloseInHeaders, ReusedOnly: true},
		"new connection":   {Kind: faultserver.FinAfterRequest, NthOnConn: 1},
		"announced":        {Kind: faultserver.AnnounceClose},
		"idle, not in use": {Kind: faultserver.IdleClose, After: time.Second},
		"no answer":        {Kind: faultserver.NeverAnswer, ReusedOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			inObserved(t, time.Millisecond, faultserver.Config{Faults: []faultserver.Fault{fault}}, func(t *testing.T, w *watching) {
				for range 10 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					w.do(ctx, "POST", "x")
					cancel()
					time.Sleep(3 * time.Second)
				}
				u := w.only()
				require.Zero(t, u.Stale(), "%+v", u)
				require.EqualValues(t, 10, u.Requests)
				require.Contains(t, w.o.Report().String(), "None met a connection that the server had closed.")
			})
		})
	}
}

func TestRequestsThatNetHTTPRepeatsOnHTTP2AreSetApart(t *testing.T) {
	cfg := faultserver.Config{Protocols: protocols(true), Faults: []faultserver.Fault{{Kind: faultserver.ResetStream, Code: codeRefusedStream, Nth: 3}}}
	inObserved(t, time.Millisecond, cfg, func(t *testing.T, w *watching) {
		for range 5 {
			require.NoError(t, w.do(t.Context(), "POST", "x"))
		}
		u := w.only()
		require.Zero(t, u.Stale())
		require.EqualValues(t, 1, u.RepeatedHTTP2)
	})
}

// given is a RoundTripper that shows what it was given.
type given struct {
	got  *http.Request
	resp *http.Response
	err  error
}

func (r *given) RoundTrip(req *http.Request) (*http.Response, error) {
	r.got = req
	return r.resp, r.err
}

func TestTheObserverChangesNothingAboutTheRequestAndTheResponse(t *testing.T) {
	want := &http.Response{StatusCode: 200, Header: http.Header{}}
	inner := &given{resp: want}
	o := Observe(inner, ObserveConfig{})
	req, err := http.NewRequest("POST", "http://a.test/", strings.NewReader("x"))
	require.NoError(t, err)
	before := *req
	resp, err := o.RoundTrip(req)
	require.NoError(t, err)
	require.Same(t, want, resp)
	after := *req
	before.GetBody, after.GetBody = nil, nil // functions cannot be compared
	require.Equal(t, before, after)
	require.Equal(t, req.Header, inner.got.Header)
	require.Equal(t, req.Body, inner.got.Body)
	require.Same(t, req.URL, inner.got.URL)

	inner.resp, inner.err = nil, errors.New("mine")
	_, err = o.RoundTrip(req)
	require.Same(t, inner.err, err)
	require.Same(t, inner, o.Unwrap())
	o.CloseIdleConnections() // it has none, and no such method
}

func TestTheProgramsOwnHooksAreCalledAsBefore(t *testing.T) {
	hooks := func(rt http.RoundTripper, url string) (calls []string) {
		note := func(what string) { calls = append(calls, what) }
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
			GetConn:              func(string) { note("GetConn") },
			GotConn:              func(i httptrace.GotConnInfo) { note(fmt.Sprint("GotConn ", i.Reused)) },
			WroteHeaders:         func() { note("WroteHeaders") },
			WroteRequest:         func(httptrace.WroteRequestInfo) { note("WroteRequest") },
			GotFirstResponseByte: func() { note("GotFirstResponseByte") },
		})
		for range 2 {
			req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
			require.NoError(t, err)
			resp, err := rt.RoundTrip(req)
			require.NoError(t, err)
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			synctest.Wait()
		}
		return calls
	}
	inObserved(t, time.Millisecond, faultserver.Config{}, func(t *testing.T, w *watching) {
		observed := hooks(w.o, w.server.URL)
		w.inner.CloseIdleConnections()
		require.Equal(t, hooks(w.inner, w.server.URL), observed)
	})
}

func TestTheObserverTellsOnlySoManyUpstreamsApart(t *testing.T) {
	inner := &given{resp: &http.Response{StatusCode: 200}}
	o := Observe(inner, ObserveConfig{MaxUpstreams: 3})
	for i := range 10 {
		req, err := http.NewRequest("GET", fmt.Sprintf("http://host%d.test/", i), nil)
		require.NoError(t, err)
		o.RoundTrip(req)
	}
	r := o.Report()
	require.Len(t, r.Upstreams, 4)
	require.EqualValues(t, 10, r.Total.Requests)
	require.True(t, slices.ContainsFunc(r.Upstreams, func(u ObservedUpstream) bool { return u.Name == "other" && u.Requests == 7 }))
}

func TestTheReportIsJSON(t *testing.T) {
	inObserved(t, 0, faultserver.Config{}, func(t *testing.T, w *watching) {
		require.NoError(t, w.do(t.Context(), "GET", ""))
		text, err := json.Marshal(w.o.Report())
		require.NoError(t, err)
		require.Contains(t, string(text), `"upstreams":[{"name":"http://10.0.0.1:80","requests":1,"attempts":1,"reused":0,`)
		require.Contains(t, string(text), `"source":"max_idle_time"`)
	})
}

func TestATransportOfIdlewiseCanBeObservedToo(t *testing.T) {
	inWorld(t, lossy, func(t *testing.T, w *world) {
		o := Observe(w.tr, ObserveConfig{})
		for range 5 {
			req, err := http.NewRequest("GET", w.server.URL, nil)
			require.NoError(t, err)
			resp, err := o.RoundTrip(req)
			require.NoError(t, err)
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			synctest.Wait()
		}
		require.Equal(t, w.only().StaleIdempotent, o.Report().Total.Stale())
		require.EqualValues(t, 4, o.Report().Total.Repeated)
	})
}

func TestWrapFindsTheTransportThatIsObserved(t *testing.T) {
	inner := &http.Transport{}
	got, err := underlying(Observe(inner, ObserveConfig{}))
	require.NoError(t, err)
	require.Same(t, inner, got)
}

func TestOnRealSocketsTheObserverReportsWhatTheJournalHolds(t *testing.T) {
	for _, tls := range []bool{false, true} {
		s := faultserver.Start(t, faultserver.Config{
			TLS: tls, Protocols: protocols(false), Seed: 3,
			Faults: []faultserver.Fault{{Kind: faultserver.CloseOnReuse, Probability: 0.3}},
		})
		inner := &http.Transport{TLSClientConfig: s.TLSClientConfig()}
		o := Observe(inner, ObserveConfig{})
		for i := range 200 {
			req, err := http.NewRequest([]string{"GET", "POST"}[i%2], s.URL, strings.NewReader("x"))
			require.NoError(t, err)
			resp, err := o.RoundTrip(req)
			if err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
		inner.CloseIdleConnections()
		closed := uint64(0)
		for _, c := range s.Journal().Conns() {
			if c.Fault == faultserver.CloseOnReuse {
				closed++
			}
		}
		u := o.Report().Total
		require.Greater(t, closed, uint64(20))
		require.Equal(t, closed, u.Stale())
		require.Equal(t, u.StaleIdempotent, u.WouldResend)
		require.Equal(t, u.StaleOther, u.WouldSeekProof+u.WouldFail)
		if runtime.GOOS == "linux" {
			require.Zero(t, u.WouldFail)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	for _, observed := range []bool{false, true} {
		b.Run(fmt.Sprint("observed=", observed), func(b *testing.B) {
			s := faultserver.Start(b, faultserver.Config{})
			inner := &http.Transport{}
			defer inner.CloseIdleConnections()
			rt := http.RoundTripper(inner)
			if observed {
				rt = Observe(inner, ObserveConfig{})
			}
			req, err := http.NewRequest("GET", s.URL, nil)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				resp, err := rt.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}

// A script is a RoundTripper that calls hooks.
type script func(*httptrace.ClientTrace) (*http.Response, error)

func (s script) RoundTrip(req *http.Request) (*http.Response, error) {
	return s(httptrace.ContextClientTrace(req.Context()))
}

func TestWhatIdlewiseWouldHaveDoneDependsOnWhatWasWritten(t *testing.T) {
	reused := httptrace.GotConnInfo{Reused: true, WasIdle: true, IdleTime: time.Second}
	for name, c := range map[string]struct {
		script script
		want   ObservedCounters
	}{
		"nothing written": {func(h *httptrace.ClientTrace) (*http.Response, error) {
			h.GotConn(reused)
			return nil, io.EOF
		}, ObservedCounters{Attempts: 1, Reused: 1, StaleOther: 1, Failed: 1, WouldResend: 1}},
		"written": {func(h *httptrace.ClientTrace) (*http.Response, error) {
			h.GotConn(reused)
			h.WroteHeaders()
			return nil, fmt.Errorf("wrapped: %w", io.EOF)
		}, ObservedCounters{Attempts: 1, Reused: 1, StaleOther: 1, Failed: 1, WouldFail: 1}},
		"no dial after it": {func(h *httptrace.ClientTrace) (*http.Response, error) {
			h.GotConn(reused)
			h.GetConn("a.test:80")
			h.GotFirstResponseByte() // of nothing
			return nil, io.EOF
		}, ObservedCounters{Attempts: 1, Reused: 1, StaleOther: 1, Repeated: 1, WouldResend: 1}},
		"a 408": {func(h *httptrace.ClientTrace) (*http.Response, error) {
			h.GotConn(reused)
			h.WroteHeaders()
			h.GotFirstResponseByte()
			return &http.Response{StatusCode: http.StatusRequestTimeout, Close: true}, nil
		}, ObservedCounters{Attempts: 1, Reused: 1, StaleOther: 1, Failed: 1, WouldFail: 1}},
		"another error": {func(h *httptrace.ClientTrace) (*http.Response, error) {
			h.GotConn(reused)
			return nil, errors.New("mine")
		}, ObservedCounters{Attempts: 1, Reused: 1}},
		"repeated for its answer": {func(h *httptrace.ClientTrace) (*http.Response, error) {
			h.GotConn(reused)
			h.GotFirstResponseByte()
			h.GotConn(reused)
			h.GotFirstResponseByte()
			return &http.Response{StatusCode: 200}, nil
		}, ObservedCounters{Attempts: 2, Reused: 2}},
		"repeated for ever": {func(h *httptrace.ClientTrace) (*http.Response, error) {
			for range 10 * maxWatched {
				h.GotConn(reused)
			}
			return nil, io.EOF
		}, ObservedCounters{Attempts: maxWatched, Reused: maxWatched, StaleOther: maxWatched, Repeated: maxWatched, WouldResend: 1, WouldAvoid: maxWatched - 1}},
	} {
		t.Run(name, func(t *testing.T) {
			o := Observe(c.script, ObserveConfig{})
			req, err := http.NewRequest("POST", "http://a.test/", nil)
			require.NoError(t, err)
			o.RoundTrip(req)
			c.want.Requests = 1
			require.Equal(t, c.want, o.Report().Total)
		})
	}
}
