package idlewise

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func breaking(b *Breaker) Config { return Config{Policies: Policies{Default: Policy{Breaker: b}}} }

func TestABreakerOpensAfterFailedConnectsAndLetsATrialThroughAfterItsTime(t *testing.T) {
	var changes []string
	b := &Breaker{Settings: gobreaker.Settings{
		Timeout: 10 * time.Second,
		OnStateChange: func(name string, from, to gobreaker.State) {
			changes = append(changes, name+" "+from.String()+" "+to.String())
		},
	}}
	inWorld(t, worldConfig{latency: time.Millisecond, client: breaking(b)}, func(t *testing.T, w *world) {
		require.Equal(t, "", w.breaker())
		w.refuse.Store(6)
		for range 6 {
			_, err := w.do(t.Context(), "GET", "/", "")
			require.ErrorIs(t, err, errRefused)
		}
		require.Equal(t, "open", w.breaker())
		opened := time.Now()
		time.Sleep(3 * time.Second)
		began, dials := time.Now(), w.dials.Load()
		body := newWatchedBody("payment")
		_, err := w.send(request(t, "POST", w.url("/"), body))
		var open *CircuitOpenError
		require.ErrorAs(t, err, &open)
		require.ErrorIs(t, err, ErrCircuitOpen)
		require.ErrorIs(t, err, gobreaker.ErrOpenState)
		require.Equal(t, opened.Add(10*time.Second), time.Now().Add(open.Left))
		require.Equal(t, "idlewise: the circuit breaker is open, request not sent", err.Error())
		require.Zero(t, time.Since(began), "at once")
		require.Equal(t, dials, w.dials.Load())
		require.EqualValues(t, 1, body.closed.Load())
		require.EqualValues(t, 1, w.only().CircuitOpen)

		time.Sleep(7*time.Second + 1)
		require.Equal(t, "half-open", w.breaker())
		w.mustDo("GET", "/", "")
		require.Equal(t, "closed", w.breaker())
		name := w.only().Name
		require.Equal(t, []string{name + " closed open", name + " open half-open", name + " half-open closed"}, changes)
	})
}

func (w *world) breaker() string {
	for _, u := range w.tr.Stats().Upstreams {
		return u.Breaker
	}
	return ""
}

func newWatchedBody(s string) *watchedBody { return &watchedBody{Reader: strings.NewReader(s)} }

func TestAHalfOpenBreakerLetsFewThrough(t *testing.T) {
	b := &Breaker{Settings: gobreaker.Settings{MaxRequests: 3, Timeout: time.Second}, Statuses: []int{500}}
	h := &scripted{f: func(n int, w http.ResponseWriter, r *http.Request) {
		if n <= 6 {
			w.WriteHeader(500)
			return
		}
		time.Sleep(time.Second)
	}}
	inWorld(t, worldConfig{server: faultserver.Config{Handler: h}, client: breaking(b)}, func(t *testing.T, w *world) {
		for range 6 {
			_, err := w.do(t.Context(), "GET", "/", "")
			require.NoError(t, err, "the response is the caller's")
		}
		require.Equal(t, "open", w.breaker())
		time.Sleep(time.Second + 1)
		var all sync.WaitGroup
		var served, refused atomic.Int64
		for range 50 {
			all.Go(func() {
				switch _, err := w.do(t.Context(), "GET", "/", ""); {
				case err == nil:
					served.Add(1)
				case errors.Is(err, ErrCircuitOpen) && errors.Is(err, gobreaker.ErrTooManyRequests):
					refused.Add(1)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 3, served.Load())
		require.EqualValues(t, 47, refused.Load())
		require.Equal(t, "closed", w.breaker())
	})
}

func TestABreakerNeverCountsTheKeepAliveRace(t *testing.T) {
	hair := &Breaker{Settings: gobreaker.Settings{ReadyToTrip: func(c gobreaker.Counts) bool { return c.TotalFailures > 0 }}}
	inWorld(t, worldConfig{latency: time.Millisecond, server: onReuse(faultserver.FinAfterRequest), client: breaking(hair)}, func(t *testing.T, w *world) {
		for range 20 {
			w.mustDo("GET", "/", "")
		}
		_, err := w.do(t.Context(), "POST", "/", "payment")
		require.Error(t, err, "nobody knows whether it was executed")
		require.NotZero(t, w.only().StaleIdempotent)
		require.Equal(t, "closed", w.breaker())
		w.tr.CloseIdleConnections()
		w.refuse.Store(1)
		_, err = w.do(t.Context(), "GET", "/", "")
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, "open", w.breaker(), "but one refused connection")
	})
}

func TestABreakersSettingsAreAskedAboutFailures(t *testing.T) {
	var asked []error
	b := &Breaker{Statuses: []int{500}, Settings: gobreaker.Settings{
		IsSuccessful: func(err error) bool { asked = append(asked, err); return true },
		ReadyToTrip:  func(gobreaker.Counts) bool { return true },
	}}
	inWorld(t, worldConfig{server: faultserver.Config{Handler: failing(1, 500)}, client: breaking(b)}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.mustDo("GET", "/", "")
		w.tr.CloseIdleConnections()
		w.refuse.Store(1)
		_, err := w.do(t.Context(), "GET", "/", "")
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, "closed", w.breaker())
		require.Equal(t, []error{&StatusError{500}, nil, errRefused}, asked)
	})
}

func tripAtOnce(gobreaker.Counts) bool { return true }

func TestABreakersStateOutlivesPoliciesUnlessItsSettingsChange(t *testing.T) {
	hair := func() *Breaker {
		return &Breaker{Settings: gobreaker.Settings{Timeout: time.Hour, ReadyToTrip: tripAtOnce}}
	}
	inWorld(t, worldConfig{client: breaking(hair())}, func(t *testing.T, w *world) {
		w.refuse.Store(1)
		_, err := w.do(t.Context(), "GET", "/", "")
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, "open", w.breaker())
		require.NoError(t, w.tr.SetPolicies(Policies{Default: Policy{MaxConns: 5, Breaker: hair()}}))
		require.Equal(t, "open", w.breaker())
		other := hair()
		other.Settings.Timeout = time.Minute
		require.NoError(t, w.tr.SetPolicies(Policies{Default: Policy{Breaker: other}}))
		require.Equal(t, "closed", w.breaker())
		require.NoError(t, w.tr.SetPolicies(Policies{Default: Policy{Breaker: other}, Upstreams: map[string]Policy{"*": {Breaker: NoBreaker}}}))
		require.Equal(t, "", w.breaker())
	})
}

func TestAnOpenBreakerKeepsTheStormFromAServerAndLetsItRecover(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	h := &scripted{f: func(_ int, w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(503)
		}
	}}
	b := &Breaker{Settings: gobreaker.Settings{Timeout: 5 * time.Second}, Statuses: []int{503}}
	cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: h},
		client: Config{Policies: Policies{Default: Policy{Breaker: b, Retry: Retry{Max: 3}}}}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		began := time.Now()
		const storm = 30 * time.Second
		time.AfterFunc(storm, func() { down.Store(false) })
		var calls, turnedAway atomic.Int64
		var recovered atomic.Pointer[time.Time]
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				for time.Since(began) < storm+10*time.Second {
					calls.Add(1)
					resp, err := w.tr.RoundTrip(request(t, "GET", w.url("/"), nil))
					switch {
					case errors.Is(err, ErrCircuitOpen):
						turnedAway.Add(1)
					case err == nil:
						resp.Body.Close()
						if now := time.Now(); resp.StatusCode == 200 {
							recovered.CompareAndSwap(nil, &now)
						}
					}
					time.Sleep(time.Second)
				}
			})
		}
		time.Sleep(storm)
		atStorm := h.n.Load()
		dialsAtStorm := w.dials.Load()
		all.Wait()
		t.Logf("%d calls, %d turned away; %d attempts and %d connects while the server was down", calls.Load(), turnedAway.Load(), atStorm, dialsAtStorm)
		require.Less(t, atStorm, int64(50), "of 30,000 calls")
		require.Less(t, dialsAtStorm, int64(50))
		require.NotNil(t, recovered.Load())
		require.Less(t, recovered.Load().Sub(began.Add(storm)), 5*time.Second+time.Second, "one half-open period")
		require.Equal(t, "closed", w.breaker())
	})
}

func TestAHookThatPanicsDoesNotKeepTheTrialOfAHalfOpenBreaker(t *testing.T) {
	b := &Breaker{Settings: gobreaker.Settings{Timeout: time.Second, ReadyToTrip: tripAtOnce}}
	inWorld(t, worldConfig{client: breaking(b)}, func(t *testing.T, w *world) {
		w.refuse.Store(1)
		_, err := w.do(t.Context(), "GET", "/", "")
		require.ErrorIs(t, err, errRefused)
		time.Sleep(time.Second + 1)
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GetConn: func(string) { panic("the hook") }})
		require.PanicsWithValue(t, "the hook", func() { w.do(ctx, "GET", "/", "") })
		require.Equal(t, "half-open", w.breaker(), "that says nothing of the server")
		w.mustDo("GET", "/", "")
		require.Equal(t, "closed", w.breaker())
	})
}

func TestNoBreakerCountsWhatCloseInterrupted(t *testing.T) {
	cfg := worldConfig{latency: time.Millisecond, gated: true, client: breaking(&Breaker{Settings: gobreaker.Settings{ReadyToTrip: tripAtOnce}})}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		time.AfterFunc(time.Second, func() { w.tr.Close() })
		_, err := w.do(t.Context(), "GET", "/", "")
		require.ErrorIs(t, err, ErrClosed)
		require.Equal(t, "closed", w.breaker())
	})
}

func TestAnExplanationIsJSONWhateverItsPolicyHolds(t *testing.T) {
	p := Policy{
		Retry:   Retry{CheckRetry: DefaultCheckRetry, Backoff: DefaultBackoff},
		Breaker: &Breaker{Settings: gobreaker.Settings{Timeout: time.Second, ReadyToTrip: tripAtOnce}, Statuses: []int{503}},
	}
	inWorld(t, worldConfig{client: Config{Policies: Policies{Default: p}}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		b, err := json.Marshal(w.tr.Explain(w.url("/")))
		require.NoError(t, err)
		require.Contains(t, string(b), `"statuses":[503],"timeout_ns":1000000000`)
		require.NoError(t, w.tr.SetPolicies(Policies{}))
		b, err = json.Marshal(w.tr.Explain(w.url("/")))
		require.NoError(t, err)
		require.Contains(t, string(b), `"Breaker":null`)
	})
}
