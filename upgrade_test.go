package idlewise

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// An upgraded connection outlives its upstream's record, which makes room for
// others.
func TestTheEndOfAnUpgradedConnectionCountsThoughItsUpstreamIsForgotten(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			shoutingBack(w, r)
		}
	})
	cfg := worldConfig{server: faultserver.Config{Handler: h}, client: Config{MaxUpstreams: 1}, base: anyName}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		req := request(t, "GET", "http://a.example/", nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "shout")
		resp, err := w.tr.RoundTrip(req)
		require.NoError(t, err)
		synctest.Wait() // until net/http has let go of it, after RoundTrip
		w.mustPost("b.example")
		require.Equal(t, "http://b.example:80", w.only().Name)
		time.Sleep(time.Minute)
		requireShout(t, resp)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, map[EndedBy]uint64{EndedByProgram: 1}, w.tr.Stats().Total.UpgradesEnded)
	})
}
