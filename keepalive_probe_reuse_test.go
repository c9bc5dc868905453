package idlewise

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestAProbeCountsTheRequestsThatAConnectionMayCarry(t *testing.T) {
	for name, c := range map[string]struct {
		server    faultserver.Config
		announced bool
		ends      []ProbeEnd
	}{
		"announced": {faultserver.Config{MaxRequestsPerConn: 100}, true, []ProbeEnd{ProbeEndAnnounced}},
		"GOAWAY":    {faultserver.Config{MaxRequestsPerConn: 100, TLS: true}, true, []ProbeEnd{ProbeEndGoAway}},
		// The next request may cross the FIN, and is answered with a RST.
		"unannounced": {faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.CloseAfterRequests, Requests: 100}}}, false, []ProbeEnd{ProbeEndFIN, ProbeEndRST}},
	} {
		t.Run(name, func(t *testing.T) {
			c.server.Personality = "uvicorn"
			inWorld(t, worldConfig{server: c.server}, func(t *testing.T, w *world) {
				r := w.probe(ProbeOptions{MaxRequests: 500})
				require.Equal(t, 5*time.Second, r.Lower, r.String())
				require.Equal(t, 100, r.Requests.Limit, r.String())
				require.Equal(t, 100, r.Requests.Answered)
				require.Equal(t, c.announced, r.Requests.Announced, "%+v", *r.Requests)
				require.Contains(t, c.ends, r.Requests.End)
				if !c.announced {
					require.Equal(t, 100, r.SuggestedPolicy().MaxRequestsPerConn)
				}
			})
		})
	}
}

func TestAProbeSendsNoMoreRequestsThanItMay(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{Personality: "uvicorn"}}, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{MaxRequests: 50})
		require.Zero(t, r.Requests.Limit)
		require.Equal(t, 50, r.Requests.Answered)
		require.Len(t, w.server.Journal().Requests(), 53)
	})
}

func TestBisectFindsASilentDrop(t *testing.T) {
	const drop = 23 * time.Second
	cfg := worldConfig{latency: 5 * time.Millisecond, server: faultserver.Config{
		Faults: []faultserver.Fault{{Kind: faultserver.NeverAnswer, IdleAtLeast: drop}},
	}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{Bisect: true, Timeout: 10 * time.Minute})
		require.Equal(t, ProbeTimeout, r.Finding, r.String())
		require.Equal(t, ProbeEndSilent, r.End)
		require.LessOrEqual(t, r.Lower, drop)
		require.GreaterOrEqual(t, r.Upper, drop)
		require.LessOrEqual(t, r.Upper-r.Lower, drop/50)
		require.False(t, r.Reuse.Inconsistent)
		require.Less(t, len(r.Reuse.Tries), 40)
		require.Less(t, r.Took, 3*time.Minute, "idle times beyond a deadly one are given up")
		require.InDelta(t, drop, r.SuggestedPolicy().ServerKeepAlive, float64(drop/50))
		require.LessOrEqual(t, r.SuggestedPolicy().ServerKeepAlive, drop)
	})
}

func TestBisectStopsWhenItsTimeIsOver(t *testing.T) {
	cfg := worldConfig{server: faultserver.Config{
		Faults: []faultserver.Fault{{Kind: faultserver.NeverAnswer, IdleAtLeast: 50 * time.Second}},
	}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{Bisect: true})
		require.Equal(t, ProbeTimeout, r.Finding, r.String())
		require.LessOrEqual(t, r.Lower, 50*time.Second)
		require.GreaterOrEqual(t, r.Upper, 50*time.Second)
		require.LessOrEqual(t, r.Upper-r.Lower, 4*time.Second)
	})
}

func TestBisectSaysWhenNothingIsDropped(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{Bisect: true})
		require.Equal(t, ProbeOutlasted, r.Finding, r.String())
		require.Equal(t, time.Minute, r.AtLeast)
		require.Zero(t, r.SuggestedPolicy())
	})
}

func TestBisectMeasuresACloseThatShows(t *testing.T) {
	inWorld(t, worldConfig{server: faultserver.Config{Personality: "node"}}, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{Bisect: true})
		require.Equal(t, ProbeTimeout, r.Finding, r.String())
		require.Equal(t, 6030*time.Millisecond, r.Lower)
		require.Equal(t, ProbeEndFIN, r.End)
		require.Equal(t, 5*time.Second, r.Announced)
	})
}

func TestBisectTellsWhyTheFirstConnectionFailedWhateverBecameOfTheOthers(t *testing.T) {
	var dials atomic.Int64
	cfg := worldConfig{base: func(b *http.Transport) {
		b.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			if dials.Add(1) == 1 {
				return nil, syscall.ECONNREFUSED
			}
			<-ctx.Done() // until the first one's failure has it given up
			return nil, ctx.Err()
		}
	}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		r, err := w.tr.Probe(context.Background(), w.url("/"), ProbeOptions{Bisect: true})
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Equal(t, ProbeUnreachable, r.Finding, r.String())
		require.NotContains(t, r.String(), "canceled")
	})
}

func TestBisectTakesASlowServerForAlive(t *testing.T) {
	slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(2 * time.Second) })
	inWorld(t, worldConfig{server: faultserver.Config{Handler: slow}}, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{Bisect: true})
		require.Equal(t, ProbeOutlasted, r.Finding, r.String())
	})
}
