package idlewise

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// everyName dials the world's server whatever the host is called.
func everyName(t *http.Transport) {
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, worldAddr)
	}
}

// get asks the host with that number.
func (w *world) get(host int) {
	w.Helper()
	req, err := http.NewRequest("GET", fmt.Sprintf("http://upstream%d.test/", host), nil)
	require.NoError(w, err)
	_, err = w.send(req)
	require.NoError(w, err)
}

// A timer would hold the record until the time that its connection would have
// been retired at, and so would those of all the upstreams dropped until then.
func TestNoTimerHoldsARecordThatWasDropped(t *testing.T) {
	cfg := worldConfig{client: Config{MaxUpstreams: 16, MaxIdleConns: 1}, base: everyName}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		var records []*upstream
		for i := range 64 {
			w.get(i) // closes the last one's connection, long before its time
			synctest.Wait()
			records = append(records, w.newestUpstream())
		}
		kept := w.tr.registry.all()
		require.LessOrEqual(t, len(kept), 16)
		for _, u := range records {
			if !slices.Contains(kept, u) {
				require.Nil(t, u.pool.timer, u.name)
				require.Nil(t, u.pool.vigil.timer, u.name)
			}
		}
	})
}

func (w *world) newestUpstream() *upstream {
	all := w.tr.registry.all()
	return slices.MaxFunc(all, func(a, b *upstream) int { return a.since.Compare(b.since) })
}

func TestUpstreamsThatAreAllInUseAreNotSearchedAtEachNewOne(t *testing.T) {
	const limit, hosts = 64, 200
	cfg := worldConfig{client: Config{MaxUpstreams: limit}, base: everyName}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		searches, crowded := 0, 0
		for i := range hosts {
			w.get(i)
			if w.tr.registry.crowded != crowded {
				searches++
				crowded = w.tr.registry.crowded
			}
		}
		require.Len(t, w.tr.registry.upstreams, hosts, "each holds a connection")
		require.LessOrEqual(t, searches, (hosts-limit)/(limit/16)+1)
		require.Positive(t, searches)

		w.tr.CloseIdleConnections()
		time.Sleep(time.Second)
		for i := range limit/16 + 1 {
			w.get(hosts + i)
		}
		require.LessOrEqual(t, len(w.tr.registry.upstreams), limit, "once they are unused they are dropped")
	})
}

func TestTheConnectionsIdleForLongestAreClosedWithoutASearchForEach(t *testing.T) {
	const limit, hosts = 10, 100
	inWorld(t, worldConfig{client: Config{MaxIdleConns: limit}, base: everyName}, func(t *testing.T, w *world) {
		searches, asOf := 0, int64(0)
		for i := range hosts {
			w.get(i)
			synctest.Wait()
			if now := w.tr.idlers.asOf; now != asOf {
				searches++
				asOf = now
			}
			time.Sleep(time.Millisecond)
		}
		require.LessOrEqual(t, searches, hosts/limit)
		require.Positive(t, searches)
		for _, u := range w.tr.Stats().Upstreams {
			var host int
			_, err := fmt.Sscanf(u.Name, "http://upstream%d.test:80", &host)
			require.NoError(t, err)
			want := 0
			if host >= hosts-limit {
				want = 1
			}
			require.Equal(t, want, u.Idle, u.Name)
		}

		w.get(hosts - limit) // no longer the one idle for longest
		time.Sleep(time.Millisecond)
		w.get(hosts)
		synctest.Wait()
		for _, u := range w.tr.Stats().Upstreams {
			switch u.Name {
			case fmt.Sprintf("http://upstream%d.test:80", hosts-limit):
				require.Equal(t, 1, u.Idle)
			case fmt.Sprintf("http://upstream%d.test:80", hosts-limit+1):
				require.Zero(t, u.Idle)
			}
		}
	})
}
