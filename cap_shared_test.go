package idlewise

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestHTTP2ConnectionsWhoseResponsesWereNotReadCountAmongTheIdleOnes(t *testing.T) {
	cfg := worldConfig{
		server: faultserver.Config{Protocols: protocols(true), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("the beginning"))
			w.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
			w.Write([]byte("and the end"))
		})},
		client: Config{MaxIdleConns: 1},
		base:   func(b *http.Transport) { b.Protocols = protocols(true) },
	}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		// Another name of the same server is another upstream.
		other, err := w.net.Listen("10.0.0.2:80")
		require.NoError(t, err)
		second, err := faultserver.New(faultserver.Config{Protocols: protocols(true), Listener: other, Handler: cfg.server.Handler})
		require.NoError(t, err)
		defer second.Close()
		for _, url := range []string{w.server.URL, second.URL} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
			require.NoError(t, err)
			resp, err := w.tr.RoundTrip(req)
			require.NoError(t, err)
			defer resp.Body.Close()
		}
		time.Sleep(time.Second) // their streams end, and net/http tells
		synctest.Wait()
		idle := 0
		for _, u := range w.tr.Stats().Upstreams {
			idle += u.Idle
		}
		require.Equal(t, 1, idle)
	})
}
