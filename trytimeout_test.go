package idlewise

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// pausing lets so much time pass between the end of a request's first attempt and
// what is made of it.
func pausing(ctx context.Context, pause time.Duration) context.Context {
	return WithTrace(ctx, &Trace{AttemptDone: func(a Attempt) {
		if a.Number == 1 {
			time.Sleep(pause)
		}
	}})
}

// Its body could not be read any more.
func TestAResponseThatComesAsItsTryEndsIsNotReturned(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			h := failing(0, 0)
			cfg := worldConfig{
				latency: time.Millisecond, server: faultserver.Config{Handler: h, TLS: h2},
				client: retrying(Retry{Max: 1, PerTryTimeout: time.Second, WaitMin: time.Millisecond, WaitMax: time.Millisecond}),
			}
			inWorld(t, cfg, func(t *testing.T, w *world) {
				s, err := w.do(pausing(t.Context(), time.Second), "GET", "/", "")
				require.NoError(t, err)
				require.Equal(t, "well", s)
				require.EqualValues(t, 1, w.only().Retries)
				_, err = w.do(pausing(t.Context(), time.Second), "POST", "/", "payment")
				require.Equal(t, errTryTimeout, err)
				require.EqualValues(t, 3, h.n.Load())
			})
		})
	}
}

func TestWhereTheCallersTimeIsUpItsTryIsNotToBlame(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			asked := 0
			check := func(context.Context, *http.Response, error) (bool, error) { asked++; return true, nil }
			h := &scripted{f: func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}
			cfg := worldConfig{
				latency: time.Millisecond, server: faultserver.Config{Handler: h, TLS: h2},
				client: retrying(Retry{Max: 3, PerTryTimeout: 2 * time.Second, CheckRetry: check}),
			}
			inWorld(t, cfg, func(t *testing.T, w *world) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := w.do(pausing(ctx, time.Second), "GET", "/", "")
				require.Equal(t, context.DeadlineExceeded, err)
				require.Zero(t, asked, "who has gone wants no retry")
				require.Zero(t, w.only().Retries)
				require.Equal(t, budgetFloor, w.only().Budget)
			})
		})
	}
}

func TestNobodyIsAskedAboutRetriesOfAClosedTransport(t *testing.T) {
	asked := 0
	check := func(context.Context, *http.Response, error) (bool, error) { asked++; return true, nil }
	cfg := worldConfig{latency: time.Millisecond, gated: true, client: retrying(Retry{Max: 3, CheckRetry: check})}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		time.AfterFunc(time.Second, func() { w.tr.Close() })
		_, err := w.do(t.Context(), "GET", "/", "")
		require.ErrorIs(t, err, ErrClosed)
		require.Zero(t, asked)
		require.Zero(t, w.only().Retries)
	})
}
