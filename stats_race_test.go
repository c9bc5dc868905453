package idlewise

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// It is for the race detector: what the server announces is the caller's to read
// while its request is under way.
func TestStatsCanBeAskedWhileAResponseAnnouncesATimeout(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{KeepAlive: "timeout=5"}}, func(t *testing.T, w *world) {
		done := make(chan struct{})
		var asking sync.WaitGroup
		asking.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					w.tr.Stats()
				}
			}
		})
		for range 200 {
			_, err := w.do(t.Context(), "GET", "/", "")
			require.NoError(t, err)
		}
		close(done)
		asking.Wait()
		require.Equal(t, DeadlineHint, w.only().Source)
	})
}
