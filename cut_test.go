package idlewise

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// When the response and the cancellation come at the same moment, either may win,
// but not both: what is got works, and the next request gets a connection that
// nobody closes any more.
func TestTheResponseOrTheCancellationButNotBoth(t *testing.T) {
	const latency = time.Millisecond
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Upgrade") != "":
			shoutingBack(w, r)
		case r.URL.Path == "/body":
			io.WriteString(w, "hello")
		}
	})
	enough := errors.New("enough")
	for _, path := range []string{"/empty", "/body", "/upgrade"} {
		t.Run(path[1:], func(t *testing.T) {
			inWorld(t, worldConfig{latency: latency, server: faultserver.Config{Handler: h}}, func(t *testing.T, w *world) {
				won := map[bool]int{}
				for range 300 {
					w.mustDo("GET", "/", "") // so that no dial comes first
					ctx, cancel := context.WithCancelCause(context.Background())
					timer := time.AfterFunc(2*latency, func() { cancel(enough) })
					req := request(t, "GET", w.url(path), nil).WithContext(ctx)
					if path == "/upgrade" {
						req.Header.Set("Connection", "Upgrade")
						req.Header.Set("Upgrade", "shout")
					}
					resp, err := w.tr.RoundTrip(req)
					won[err == nil]++
					switch {
					case err != nil:
						require.Equal(t, enough, err)
					case path == "/upgrade":
						requireShout(t, resp)
						require.NoError(t, resp.Body.Close())
					default:
						if s, err := io.ReadAll(resp.Body); err != nil {
							require.Equal(t, enough, err)
						} else {
							require.Equal(t, map[string]string{"/body": "hello"}[path], string(s))
						}
						require.NoError(t, resp.Body.Close())
					}
					_, err = w.do(context.Background(), "POST", "/", "x")
					require.NoError(t, err)
					timer.Stop()
					cancel(nil)
				}
				t.Logf("the response won %d times, the cancellation %d", won[true], won[false])
				require.NotZero(t, won[false])
				require.Zero(t, w.closed(ClosedFailed))
			})
		})
	}
}

// Programs cancel a context when they have closed the body. From Go 1.27 on what is
// left of the response may then be being read, for the connection's sake.
func TestACancellationAfterTheBodyWasClosedIsWithoutEffect(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			w.Header().Set("Content-Length", "10000")
			io.CopyN(w, zeros{}, 5000)
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
			io.CopyN(w, zeros{}, 5000)
		}
	})
	dials := map[bool]int64{}
	for _, canceled := range []bool{false, true} {
		inWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: h}}, func(t *testing.T, w *world) {
			ctx, cancel := context.WithCancel(context.Background())
			resp, err := w.tr.RoundTrip(request(t, "GET", w.url("/long"), nil).WithContext(ctx))
			require.NoError(t, err)
			_, err = resp.Body.Read(make([]byte, 1))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			if canceled {
				cancel()
				synctest.Wait()
			}
			time.Sleep(time.Second)
			w.mustDo("GET", "/", "")
			dials[canceled] = w.dials.Load()
			cancel()
		})
	}
	t.Logf("%d connections", dials[false])
	require.Equal(t, dials[false], dials[true])
}

// A slowContext takes its time to tell why it has ended.
type slowContext struct{ context.Context }

func (c slowContext) Value(key any) any {
	if c.Err() != nil {
		time.Sleep(time.Millisecond)
	}
	return c.Context.Value(key)
}

func TestACancellationThatIsToldLateSparesTheNextRequest(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	inWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: h}}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		resp, err := w.tr.RoundTrip(request(t, "GET", w.url("/"), nil).WithContext(slowContext{ctx}))
		require.NoError(t, err)
		cancel()
		s, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "hello", string(s))
		_, err = w.do(context.Background(), "POST", "/", "x")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.EqualValues(t, 1, w.dials.Load())
	})
}

func TestAResponseThatWasReadIsNotMixedUpWithALaterCancellation(t *testing.T) {
	enough := errors.New("enough")
	inWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello")
		if r.URL.Path == "/hangs" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	})}}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancelCause(context.Background())
		first, err := w.tr.RoundTrip(request(t, "GET", w.url("/"), nil).WithContext(ctx))
		require.NoError(t, err)
		_, err = io.ReadAll(first.Body)
		require.NoError(t, err)
		require.NoError(t, first.Body.Close())
		second, err := w.tr.RoundTrip(request(t, "GET", w.url("/hangs"), nil).WithContext(ctx))
		require.NoError(t, err)
		time.AfterFunc(time.Second, func() { cancel(enough) })
		_, err = io.ReadAll(second.Body)
		require.Equal(t, enough, err)
		require.NoError(t, second.Body.Close())
		require.EqualValues(t, 1, w.dials.Load(), "both were on one connection")
		_, err = first.Body.Read(make([]byte, 1))
		require.EqualError(t, err, "http: read on closed response body")
		require.Equal(t, 1, w.closed(ClosedCanceled))
	})
}

func TestAConnectionThatRequestCancelEndsIsCountedAsCanceled(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	inWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: h}}, func(t *testing.T, w *world) {
		req := request(t, "GET", w.url("/"), nil)
		cancel := make(chan struct{})
		req.Cancel = cancel //lint:ignore SA1019 what programs still set must work
		resp, err := w.tr.RoundTrip(req)
		require.NoError(t, err)
		time.AfterFunc(time.Second, func() { close(cancel) })
		_, err = io.ReadAll(resp.Body)
		require.Equal(t, errRequestCanceled, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 1, w.closed(ClosedCanceled))
	})
}
