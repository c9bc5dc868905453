package idlewise

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cutAll lets everything vanish that is sent on a connection that is open now.
func (w *world) cutAll() {
	p := w.pool()
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := p.first; c != nil; c = c.newer {
		w.cutConn(c)
	}
}

func TestALinkThatIsCutUnderLoadCostsNoGET(t *testing.T) {
	for name, c := range map[string]struct {
		run   func(t *testing.T, f func(t *testing.T, w *world))
		limit time.Duration
	}{
		"HTTP/1": {func(t *testing.T, f func(t *testing.T, w *world)) {
			inBookedWorld(t, worldConfig{latency: 5 * time.Millisecond}, func(t *testing.T, w *world, _ *atomic.Int64) { f(t, w) })
		}, defaultUnacked + time.Second},
		"HTTP/2": {func(t *testing.T, f func(t *testing.T, w *world)) { inWorld(t, overHTTP2, f) },
			defaultPingAfter + defaultPingTimeout + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			c.run(t, func(t *testing.T, w *world) {
				const callers, impatient = 16, 2 * time.Second
				end := time.Now().Add(70 * time.Second)
				var wg sync.WaitGroup
				var longest, given atomic.Int64
				for caller := range callers {
					wg.Go(func() {
						for time.Now().Before(end) {
							time.Sleep(250 * time.Millisecond)
							ctx, cancel := context.WithCancel(context.Background())
							if caller%4 == 0 {
								ctx, cancel = context.WithTimeout(ctx, impatient)
							}
							began := time.Now()
							_, err := w.do(ctx, "GET", "/", "")
							took := time.Since(began)
							cancel()
							if caller%4 == 0 && took >= impatient {
								require.Error(t, err)
								require.Equal(t, impatient, took)
								given.Add(1)
								continue
							}
							require.NoError(t, err)
							longest.Store(max(longest.Load(), int64(took)))
						}
					})
				}
				time.Sleep(10 * time.Second)
				w.cutAll()
				wg.Wait()
				require.LessOrEqual(t, time.Duration(longest.Load()), c.limit)
				require.Greater(t, time.Duration(longest.Load()), c.limit/2, "some did wait")
				require.NotZero(t, given.Load())
			})
		})
	}
}
