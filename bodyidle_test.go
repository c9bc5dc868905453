package idlewise

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// dribble sends n parts with a pause before each, after the header.
func dribble(parts int, pause time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		for range parts {
			select {
			case <-time.After(pause):
			case <-r.Context().Done():
				return
			}
			io.WriteString(w, "part ")
			http.NewResponseController(w).Flush()
		}
	})
}

func TestABodyThatStandsStillEndsTheCall(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			cfg := func(h http.Handler) worldConfig {
				return worldConfig{
					server: faultserver.Config{Handler: h, Protocols: protocols(h2)},
					base:   func(b *http.Transport) { b.Protocols = protocols(h2) },
					client: Config{Policies: Policies{Default: Policy{BodyIdleTimeout: time.Second}}},
				}
			}
			inWorld(t, cfg(dribble(5, 900*time.Millisecond)), func(t *testing.T, w *world) {
				require.Equal(t, "part part part part part ", w.mustDo("GET", "/", ""), "each part comes in time")
				w.mustDo("HEAD", "/", "")
				if !h2 {
					require.EqualValues(t, 1, w.dials.Load())
				}
			})
			inWorld(t, cfg(dribble(2, 1100*time.Millisecond)), func(t *testing.T, w *world) {
				req, err := http.NewRequest("GET", w.url("/"), nil)
				require.NoError(t, err)
				resp, err := w.tr.RoundTrip(req)
				require.NoError(t, err)
				require.Same(t, req, resp.Request)
				time.Sleep(time.Minute) // nobody reads: no time runs, and both parts have come
				_, err = io.ReadFull(resp.Body, make([]byte, 5))
				require.NoError(t, err)
				time.Sleep(time.Minute) // nor now
				b, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Len(t, b, 5)
				resp.Body.Close()

				resp, err = w.tr.RoundTrip(req)
				require.NoError(t, err)
				began := time.Now()
				_, err = io.ReadAll(resp.Body)
				require.ErrorContains(t, err, "Policy.BodyIdleTimeout")
				var timeout net.Error
				require.True(t, errors.As(err, &timeout) && timeout.Timeout())
				require.Equal(t, time.Second, time.Since(began))
				_, err = resp.Body.Read(make([]byte, 1))
				require.Error(t, err)
				resp.Body.Close()
				synctest.Wait()
				if !h2 {
					require.Equal(t, 1, w.closed(ClosedCanceled))
				}
			})
		})
	}
}

// A context that ends much later, such as a server's, is not to collect what was
// derived from it.
func TestNothingOfACallStaysWithItsContext(t *testing.T) {
	upgrade := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			io.WriteString(w, "done")
			return
		}
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
		nc.Close()
	})
	for _, asked := range []bool{false, true} {
		for _, limit := range []time.Duration{-1, time.Second} {
			t.Run(fmt.Sprint(asked, limit), func(t *testing.T) {
				s := httptest.NewServer(upgrade)
				defer s.Close()
				tr, err := New(Config{Base: &http.Transport{}, Policies: Policies{Default: Policy{BodyIdleTimeout: limit}}})
				require.NoError(t, err)
				defer tr.Close()
				parent, cancel := context.WithCancel(context.Background())
				defer cancel()
				ctx := &countingContext{Context: parent}
				req, err := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
				require.NoError(t, err)
				if asked {
					req.Header.Set("Connection", "Upgrade")
					req.Header.Set("Upgrade", "test")
				}
				resp, err := tr.RoundTrip(req)
				require.NoError(t, err)
				require.Equal(t, asked, resp.StatusCode == http.StatusSwitchingProtocols)
				io.ReadAll(resp.Body)
				resp.Body.Close()
				require.NoError(t, tr.Close())
				eventually(t, func() bool { return ctx.children.Load() == 0 }, "children of the context are left")
			})
		}
	}
}

func TestTheGoodbyeOfTLSKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := testTLS()
		ours, theirs := net.Pipe() // which takes nothing that is not read
		wrapped, tr := track(ours)
		shaken := make(chan error)
		go func() { shaken <- tls.Server(theirs, server).Handshake() }()
		c := tls.Client(wrapped, client)
		require.NoError(t, c.Handshake())
		require.NoError(t, <-shaken)
		tr.setUp(false)
		began := time.Now()
		c.Close()
		require.Equal(t, goodbyeWait, time.Since(began), "crypto/tls would wait for 5 s")
		theirs.Close()
	})
}
