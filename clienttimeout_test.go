package idlewise

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// An outliving context does not end, but forgot to hide that its parent does:
// a mistake that was easy to make before context.WithoutCancel.
type outliving struct{ context.Context }

func (outliving) Done() <-chan struct{} { return nil }
func (outliving) Err() error            { return nil }

func TestRequestCancelEndsACallWhoseDeadlinePassesWithoutEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(context.Background(), time.Millisecond)
		defer stop()
		time.Sleep(time.Second)
		req, err := http.NewRequestWithContext(outliving{ctx}, "GET", "http://example.com/", nil)
		require.NoError(t, err)
		cancel := make(chan struct{})
		req.Cancel = cancel //lint:ignore SA1019 what programs still set must work
		require.NoError(t, canceled(req))
		_, c := attempting(t, req)
		close(cancel)
		require.Equal(t, errCanceledWaiting, canceled(req))
		synctest.Wait()
		time.Sleep(bothSignals) // for the deadline's end, which does not come
		synctest.Wait()
		require.Equal(t, errRequestCanceled, c.wasCut.Load().why)
	})
}
