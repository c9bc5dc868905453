package idlewise

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
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
