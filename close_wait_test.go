package idlewise

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestCloseEndsACallThatWaitsForItsRetry(t *testing.T) {
	always := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.Status, Code: 503}}}
	inWorld(t, worldConfig{server: always, client: Config{Policies: Policies{Default: Policy{Retry: Retry{Max: 3, WaitMin: 4 * time.Second}}}}}, func(t *testing.T, w *world) {
		time.AfterFunc(time.Second, func() { w.tr.Close() })
		began := time.Now()
		_, err := w.do(t.Context(), "GET", "/", "")
		require.ErrorIs(t, err, ErrClosed)
		require.Equal(t, time.Second, time.Since(began), "at once")
	})
}

func TestCloseEndsAResendThatWaitsToDialAgain(t *testing.T) {
	for range 20 { // the wait is random
		inWorld(t, worldConfig{server: onReuse(faultserver.CloseOnReuse)}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			w.refuse.Store(10)
			began := time.Now()
			time.AfterFunc(time.Nanosecond, func() { w.tr.Close() })
			_, err := w.do(t.Context(), "GET", "/", "")
			require.ErrorIs(t, err, ErrClosed)
			require.Equal(t, time.Nanosecond, time.Since(began), "at once")
		})
	}
}
