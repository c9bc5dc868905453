package idlewise

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestACallersNoOutweighsAnAutomaticKey(t *testing.T) {
	h := failing(1, 503)
	inRetryingWorld(t, h, Retry{Max: 3, AutoIdempotencyKey: On}, func(t *testing.T, w *world) {
		_, err := w.do(WithNotIdempotent(t.Context()), "POST", "/", "payment")
		require.NoError(t, err)
		require.EqualValues(t, 1, h.n.Load())
	})
}

func TestTheLastResponseIsReturnedWhereTheBreakerHasOpened(t *testing.T) {
	h := failing(100, 503)
	b := &Breaker{Settings: gobreaker.Settings{ReadyToTrip: tripAtOnce}, Statuses: []int{503}}
	cfg := worldConfig{server: faultserver.Config{Handler: h}, client: Config{Policies: Policies{Default: Policy{Breaker: b, Retry: Retry{Max: 3}}}}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		require.Equal(t, "attempt 1", w.mustDo("GET", "/", ""))
		require.EqualValues(t, 1, h.n.Load())
	})
}

func TestAWaitForARetryEndsWithRequestCancel(t *testing.T) {
	inRetryingWorld(t, failing(100, 503), Retry{Max: 3, WaitMin: time.Minute, WaitMax: time.Minute}, func(t *testing.T, w *world) {
		cancel := make(chan struct{})
		req := request(t, "GET", w.url("/"), nil)
		req.Cancel = cancel //lint:ignore SA1019 programs set it
		time.AfterFunc(time.Second, func() { close(cancel) })
		began := time.Now()
		_, err := w.send(req)
		require.Equal(t, errCanceledWaiting, err)
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestAResponseThatNobodyWantsKeepsNobodyWaiting(t *testing.T) {
	for name, c := range map[string]struct {
		most time.Duration
		rest func(w http.ResponseWriter, r *http.Request)
	}{
		"that does not end": {drainWait + 10*time.Millisecond, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		"that is too long": {drainWait / 2, func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				if _, err := io.WriteString(w, strings.Repeat("x", maxDrain)); err != nil {
					return
				}
				time.Sleep(drainWait / 10)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &scripted{f: func(n int, w http.ResponseWriter, r *http.Request) {
				if n == 1 {
					w.WriteHeader(503)
					w.(http.Flusher).Flush()
					c.rest(w, r)
				}
			}}
			inRetryingWorld(t, h, Retry{Max: 1, WaitMin: time.Millisecond, WaitMax: time.Millisecond}, func(t *testing.T, w *world) {
				began := time.Now()
				w.mustDo("GET", "/", "")
				require.Less(t, time.Since(began), c.most)
				require.EqualValues(t, 2, w.dials.Load())
			})
		})
	}
}

func TestOnlyAnOverloadedServersRetryAfterCounts(t *testing.T) {
	h := &scripted{f: func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(502)
		}
	}}
	inRetryingWorld(t, h, Retry{Max: 1}, func(t *testing.T, w *world) {
		began := time.Now()
		w.mustDo("GET", "/", "")
		require.Less(t, time.Since(began), time.Second)
	})
}

func TestABreakerCountsNeitherImpatientCallersNorTheirMistakes(t *testing.T) {
	b := &Breaker{Settings: gobreaker.Settings{ReadyToTrip: tripAtOnce}}
	cfg := worldConfig{latency: time.Millisecond, gated: true, client: breaking(b)}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := w.do(ctx, "GET", "/", "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, "closed", w.breaker())

		invalid := request(t, "GET", w.url("/"), nil)
		invalid.Header["No such name"] = []string{"x"}
		_, err = w.send(invalid)
		require.ErrorContains(t, err, "invalid header field name")
		_, err = w.send(request(t, "PUT", w.url("/"), io.MultiReader(strings.NewReader("half"), failingReader{errBroken})))
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, "closed", w.breaker())
	})
}
