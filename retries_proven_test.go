package idlewise

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// spendBudget leaves nothing of the upstream's budget for this second.
func (w *world) spendBudget() {
	for w.tr.registry.all()[0].group().budget.withdraw(time.Now()) {
	}
}

// refusing is a server that refuses so many POSTs.
func refusing(times int) faultserver.Config {
	return faultserver.Config{TLS: true, Faults: []faultserver.Fault{
		{Kind: faultserver.ResetStream, Code: codeRefusedStream, Method: "POST", Times: times},
	}}
}

func TestAPOSTThatWasRefusedWhateverItsResendsIsRetried(t *testing.T) {
	cfg := worldConfig{latency: time.Millisecond, server: refusing(maxProvenResends + 1), client: retrying(Retry{Max: 1})}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("POST", "/", "payment")
		require.EqualValues(t, 1, w.only().Retries)
		require.Equal(t, 1, w.executions())
	})
}

// The server closes its first two connections before a request can reach it. For
// another resend there is no budget until the policy is asked.
func TestAPOSTThatWasNotDeliveredIsRetried(t *testing.T) {
	patient := func(context.Context, *http.Response, error) (bool, error) {
		time.Sleep(time.Second)
		return true, nil
	}
	inWorld(t, crossing(protocols(false), Policy{Retry: Retry{Max: 1, CheckRetry: patient}}), func(t *testing.T, w *world) {
		const addr = "10.0.0.2:80"
		ln, err := w.net.Listen(addr)
		require.NoError(t, err)
		defer ln.Close()
		go func() {
			for n := 1; ; n++ {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				if n > 2 {
					nc.Read(make([]byte, 1000))
					io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
				nc.Close()
			}
		}()
		target, err := url.Parse("http://" + addr)
		require.NoError(t, err)
		w.tr.upstreamFor(target, nil, false).inFlight.Add(-1)
		w.spendBudget()
		var got []Evidence
		ctx := WithTrace(t.Context(), &Trace{
			AttemptStart: func(Attempt) { time.Sleep(15 * time.Millisecond) }, // the FIN is on its way
			AttemptDone:  func(a Attempt) { got = append(got, a.Evidence) },
		})
		_, err = w.send(request(t, "POST", target.String(), strings.NewReader("payment")).WithContext(ctx))
		require.NoError(t, err)
		require.Equal(t, []Evidence{Undelivered, Undelivered, NoEvidence}, got)
		require.EqualValues(t, 1, w.only().Retries)
	})
}

func TestEachRetryMayMeetAStaleConnectionAgain(t *testing.T) {
	cfg := worldConfig{
		latency: time.Millisecond,
		server:  faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.FinAfterRequest, Path: "/doomed", Times: 3}}},
		client:  retrying(Retry{Max: 1, WaitMin: time.Minute, WaitMax: time.Minute}),
	}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.AfterFunc(30*time.Second, func() { w.do(context.Background(), "GET", "/", "") })
		var reused []bool
		ctx := WithTrace(t.Context(), &Trace{AttemptStart: func(a Attempt) { reused = append(reused, a.Reused) }})
		_, err := w.do(ctx, "GET", "/doomed", "")
		require.NoError(t, err)
		require.Equal(t, []bool{true, false, true, false}, reused)
		require.EqualValues(t, 1, w.only().Retries)
	})
}

func TestRefusedStreamsAreSentAgainWithoutABudget(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, server: refusing(maxProvenResends)}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.spendBudget()
		w.mustDo("POST", "/", "payment")
		require.Zero(t, w.only().BudgetEmpty)
	})
}

func TestNoBreakerCountsRefusedStreams(t *testing.T) {
	cfg := worldConfig{latency: time.Millisecond, server: refusing(1000), client: breaking(&Breaker{Settings: gobreaker.Settings{ReadyToTrip: tripAtOnce}})}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		_, err := w.do(t.Context(), "POST", "/", "payment")
		require.ErrorContains(t, err, "request refused unprocessed")
		require.Equal(t, "closed", w.breaker())
	})
}

func TestAnErrorSaysOnlyOnceThatTheBudgetIsUsedUp(t *testing.T) {
	cfg := worldConfig{
		latency: time.Millisecond,
		server:  faultserver.Config{TLS: true, Faults: []faultserver.Fault{{Kind: faultserver.GoAwayBelow, Path: "/r", Times: 2}}},
		client:  retrying(Retry{Max: 1}),
	}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.spendBudget()
		_, err := w.do(t.Context(), "GET", "/r", "")
		require.EqualError(t, err, "idlewise: stale connection, request refused unprocessed, "+notInBudget+": "+errTextGoAway)
		require.ErrorIs(t, err, ErrRetryBudget)
	})
}
