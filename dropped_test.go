package idlewise

import (
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestATransportDroppedWithoutCloseIsCollectedOnceItsConnectionsIdledOut(t *testing.T) {
	protocols := map[string]func(*http.Protocols){
		"HTTP/1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"h2c":    func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	}
	for name, set := range protocols {
		t.Run(name, func(t *testing.T) {
			p := new(http.Protocols)
			set(p)
			synctest.Test(t, func(t *testing.T) {
				network := memnet.New(memnet.Options{})
				ln, err := network.Listen(worldAddr)
				require.NoError(t, err)
				s, err := faultserver.New(faultserver.Config{Protocols: p, Listener: ln})
				require.NoError(t, err)
				defer s.Close()

				var collected atomic.Bool // set outside the bubble
				useOnce(t, &http.Transport{Protocols: p, DialContext: network.DialContext}, s.URL, &collected)
				runtime.GC()
				require.False(t, collected.Load(), "a connection is idle")
				// Also past the 5 s for which net/http remembers an HTTP/2
				// connection that closed early. Its timer for the next PING runs on
				// for PingAfter, and must not hold the Transport.
				time.Sleep(defaultMaxIdleTime + defaultPingAfter/2)
				synctest.Wait()
				for range 1000 { // the cleanup is outside of virtual time
					if collected.Load() {
						return
					}
					runtime.GC()
				}
				t.Fatal("something still holds it")
			})
		})
	}
}

// useOnce makes a Transport, sends requests through it and forgets it.
func useOnce(t *testing.T, base *http.Transport, url string, collected *atomic.Bool) {
	tr, err := New(Config{Base: base})
	require.NoError(t, err)
	runtime.AddCleanup(tr, func(b *atomic.Bool) { b.Store(true) }, collected)
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), "POST", url, nil)
		require.NoError(t, err)
		resp, err := tr.RoundTrip(req)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
	}
}
