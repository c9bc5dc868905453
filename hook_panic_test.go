package idlewise

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// recovering calls f as net/http's servers call handlers.
func recovering(f func()) {
	defer func() { recover() }()
	f()
}

// After a hook of the program's has panicked nothing is held: neither the one connection
// there may be, nor the body, nor what was recorded of it, nor Shutdown.
func TestAHookThatPanicsLeavesNothingBehind(t *testing.T) {
	panics := func() { panic("hook") }
	hooks := map[string]func(ctx context.Context) context.Context{
		"GetConn": func(ctx context.Context) context.Context {
			return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(string) { panics() }})
		},
		"GotConn": func(ctx context.Context) context.Context {
			return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { panics() }})
		},
		"AttemptStart": func(ctx context.Context) context.Context {
			return WithTrace(ctx, &Trace{AttemptStart: func(Attempt) { panics() }})
		},
		"AttemptDone": func(ctx context.Context) context.Context {
			return WithTrace(ctx, &Trace{AttemptDone: func(Attempt) { panics() }})
		},
		"CheckRetry": nil,
	}
	for name, hook := range hooks {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s HTTP/2 %v", name, h2), func(t *testing.T) {
				h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 100_000)) })
				cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: h, TLS: h2}}
				cfg.client.Policies.Default = Policy{MaxConns: 1, Retry: Retry{Max: 1, MaxReplayBody: 1000}}
				armed := hook == nil
				cfg.client.Policies.Default.Retry.CheckRetry = func(context.Context, *http.Response, error) (bool, error) {
					if armed {
						armed = false
						panics()
					}
					return false, nil
				}
				inWorld(t, cfg, func(t *testing.T, w *world) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					hooked := ctx
					if hook != nil {
						hooked = hook(ctx)
					}
					body := newWatchedBody("body")
					returned := false
					recovering(func() {
						w.tr.RoundTrip(request(t, "PUT", w.url("/"), body).WithContext(hooked))
						returned = true
					})
					require.False(t, returned, "the panic is the program's")
					synctest.Wait()
					require.Zero(t, entries(ctx))
					require.EqualValues(t, 1, body.closed.Load())
					require.Zero(t, w.tr.replays.held.Load())

					began := time.Now()
					w.mustDo("GET", "/", "")
					require.Less(t, time.Since(began), time.Second)
					require.Zero(t, w.only().InFlight)
					require.Zero(t, w.only().InUse)
					require.NoError(t, w.tr.Shutdown(t.Context()))
				})
			})
		}
	}
}

func TestABreakersSettingsThatPanicDoNotKeepTheTrial(t *testing.T) {
	calls := 0
	b := &Breaker{Statuses: []int{500}, Settings: gobreaker.Settings{Timeout: time.Second, ReadyToTrip: tripAtOnce, IsSuccessful: func(err error) bool {
		if calls++; calls == 2 {
			panic("hook")
		}
		return err == nil
	}}}
	cfg := worldConfig{client: breaking(b), server: faultserver.Config{Handler: failing(2, 500)}}
	cfg.client.Policies.Default.MaxConns = 1
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.do(t.Context(), "GET", "/", "")
		require.Equal(t, "open", w.breaker())
		time.Sleep(time.Second + 1)
		recovering(func() { w.do(t.Context(), "GET", "/", "") })
		require.Equal(t, 2, calls)
		_, err := w.do(t.Context(), "GET", "/", "")
		require.NoError(t, err)
		require.Equal(t, "closed", w.breaker())
	})
}

// A caller's mistake says nothing about the server, and would be one again.
func TestARequestThatContradictsItselfIsNeitherRetriedNorCounted(t *testing.T) {
	length := func(n int64, body func() *http.Request) func() *http.Request {
		return func() *http.Request {
			req := body()
			req.ContentLength = n
			return req
		}
	}
	inMemory := func() *http.Request {
		return request(t, "PUT", "http://"+worldAddr+"/", strings.NewReader("0123456789"))
	}
	other := func() *http.Request { return request(t, "PUT", "http://"+worldAddr+"/", newWatchedBody("0123456789")) }
	header := func(name, value string) func() *http.Request {
		return func() *http.Request {
			req := request(t, "GET", "http://"+worldAddr+"/", nil)
			req.Header.Set(name, value)
			return req
		}
	}
	for _, c := range []struct {
		says  string
		h2    bool
		wrong func() *http.Request
	}{
		{"too long", false, length(3, inMemory)},
		{"too short", false, length(50, inMemory)},
		{"too long, not in memory", false, length(3, other)},
		{"too short, not in memory", false, length(50, other)},
		{"too long", true, length(3, inMemory)},
		{"too short", true, length(50, inMemory)},
		{"too long, not in memory", true, length(3, other)},
		{"too short, not in memory", true, length(50, other)},
		{"Upgrade", true, header("Upgrade", "foo")},
		{"Connection", true, header("Connection", "foo")},
		{"Transfer-Encoding", true, header("Transfer-Encoding", "foo")},
	} {
		t.Run(fmt.Sprintf("%s HTTP/2 %v", c.says, c.h2), func(t *testing.T) {
			cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{TLS: c.h2}, client: breaking(&Breaker{Settings: gobreaker.Settings{ReadyToTrip: tripAtOnce}})}
			cfg.client.Policies.Default.Retry = Retry{Max: 3, MaxReplayBody: 1000}
			inWorld(t, cfg, func(t *testing.T, w *world) {
				w.mustDo("GET", "/", "")
				req := c.wrong()
				if c.h2 {
					req.URL.Scheme = "https"
				}
				req.URL.Host = strings.TrimPrefix(strings.TrimPrefix(w.server.URL, "https://"), "http://")
				_, err := w.send(req)
				require.Error(t, err)
				require.Zero(t, w.only().Retries, err)
				require.Equal(t, "closed", w.breaker(), err)
			})
		})
	}
}
