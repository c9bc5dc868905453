package idlewise

import (
	"context"
	"fmt"
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
	cfg := worldConfig{latency: time.Millisecond, server: refusing(maxRefusals + 1), client: retrying(Retry{Max: 1})}
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
	inWorld(t, worldConfig{latency: time.Millisecond, server: refusing(maxRefusals)}, func(t *testing.T, w *world) {
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

// overHTTP2 returns idlewise's Transport and http.Transport, both over w's network.
func (w *world) overHTTP2() map[string]http.RoundTripper {
	theirs := &http.Transport{DialContext: w.dial, TLSClientConfig: w.server.TLSClientConfig(), ForceAttemptHTTP2: true}
	w.Cleanup(theirs.CloseIdleConnections)
	return map[string]http.RoundTripper{"net/http": theirs, "idlewise": w.tr}
}

// http.Transport waits for a minute for a server that has too much to do.
func TestAServerMayRefuseStreamsForAMinute(t *testing.T) {
	for _, kind := range []faultserver.Fault{
		{Kind: faultserver.ResetStream, Code: codeRefusedStream, Method: "POST"},
		{Kind: faultserver.GoAwayBelow, Method: "POST"},
	} {
		for times := 1; times <= 7; times++ {
			t.Run(fmt.Sprintf("%v %d times", kind.Kind, times), func(t *testing.T) {
				kind.Times = times
				cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{TLS: true, Faults: []faultserver.Fault{kind}}}
				took := make(map[string]time.Duration)
				for _, name := range []string{"net/http", "idlewise"} {
					inWorld(t, cfg, func(t *testing.T, w *world) {
						rt := w.overHTTP2()[name]
						w.mustDo("GET", "/", "")
						began := time.Now()
						resp, err := rt.RoundTrip(request(t, "POST", w.url("/"), strings.NewReader("payment")))
						require.NoError(t, err, name)
						resp.Body.Close()
						took[name] = time.Since(began)
					})
				}
				require.Less(t, took["idlewise"], took["net/http"]+time.Second, "net/http took %v", took["net/http"])
			})
		}
	}
}

func TestARefusedRequestIsGivenUpInTheEnd(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, server: refusing(1000)}, func(t *testing.T, w *world) {
		began := time.Now()
		_, err := w.do(t.Context(), "POST", "/", "payment")
		require.ErrorContains(t, err, "idlewise: stream refused, request refused unprocessed, and so did the request's resend")
		require.InDelta(t, 63*1.05, time.Since(began).Seconds(), 4, "as long as net/http")
		require.EqualValues(t, maxRefusals, w.only().Resent[Refused])
	})
}

func TestCloseEndsAWaitAfterARefusal(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, server: refusing(1000)}, func(t *testing.T, w *world) {
		time.AfterFunc(10*time.Second, func() { w.tr.Close() })
		began := time.Now()
		_, err := w.do(t.Context(), "POST", "/", "payment")
		require.ErrorIs(t, err, ErrClosed)
		require.Equal(t, 10*time.Second, time.Since(began))
		require.Equal(t, 1, strings.Count(err.Error(), ErrClosed.Error()), err)
		require.Equal(t, map[Evidence]uint64{Refused: 1}, w.only().Lost)
	})
}

func TestAWaitAfterARefusalEndsWithTheContext(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, server: refusing(1000)}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		_, err := w.do(ctx, "POST", "/", "payment")
		require.Equal(t, context.DeadlineExceeded, err)
		require.Equal(t, 10*time.Second, time.Since(began))
	})
}

// Some servers answer PROTOCOL_ERROR to streams that cross their GOAWAY. It proves
// nothing, so that http.Transport of Go 1.26, which resends those, may execute a POST
// twice there. That of 1.27.2 resends none.
func TestAStreamWithAProtocolErrorIsSentAgainWhereItMayBeRepeated(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{TLS: true, Faults: []faultserver.Fault{{Kind: faultserver.ResetStream, Code: codeProtocolError, Times: 1}}}}
			inWorld(t, cfg, func(t *testing.T, w *world) {
				_, err := w.do(t.Context(), method, "/", "x")
				if method == "POST" {
					require.ErrorContains(t, err, "PROTOCOL_ERROR")
				} else {
					require.NoError(t, err)
				}
			})
		})
	}
}
