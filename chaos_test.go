package idlewise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// chaosFaults is everything that can go wrong with a connection, now and then.
func chaosFaults(h2 bool) []faultserver.Fault {
	const now = 0.01
	all := []faultserver.Fault{
		{Kind: faultserver.Delay, After: 1, Jitter: 2 * time.Millisecond, Probability: 0.2},
		{Kind: faultserver.FinAfterRequest, Probability: now},
		{Kind: faultserver.FinAfterRequest, Probability: now, Executed: true},
		{Kind: faultserver.RstAfterRequest, Probability: now},
		{Kind: faultserver.SilentClose, Probability: now},
		{Kind: faultserver.CloseInRequestBody, Bytes: 1000, Probability: now},
		{Kind: faultserver.CloseInBody, Probability: now},
		{Kind: faultserver.CloseAfterRequests, Requests: 50},
		{Kind: faultserver.IdleClose, After: 3 * time.Millisecond, Jitter: 3 * time.Millisecond},
	}
	if h2 {
		return append(all,
			faultserver.Fault{Kind: faultserver.GoAway, Probability: now},
			faultserver.Fault{Kind: faultserver.GoAwayBelow, Probability: now},
			faultserver.Fault{Kind: faultserver.CloseWithoutGoAway, Probability: now},
			faultserver.Fault{Kind: faultserver.ResetStream, Code: codeRefusedStream, Probability: now},
			faultserver.Fault{Kind: faultserver.ResetStream, Code: 2, Probability: now},
		)
	}
	return append(all,
		faultserver.Fault{Kind: faultserver.CloseOnReuse, Probability: now},
		faultserver.Fault{Kind: faultserver.AnnounceClose, Probability: now},
		faultserver.Fault{Kind: faultserver.CloseInHeaders, Probability: now},
		faultserver.Fault{Kind: faultserver.SurplusBytes, Value: "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged", Probability: now},
	)
}

func TestChaosExecutesNothingTwiceAndLeaksNothing(t *testing.T) {
	const callers, maxConns = 64, 16
	requests := 20_000
	if testing.Short() {
		requests = 2_000
	}
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			protocols := new(http.Protocols)
			protocols.SetHTTP1(!h2)
			protocols.SetUnencryptedHTTP2(h2)
			srv := faultserver.Start(t, faultserver.Config{Protocols: protocols, MaxConcurrentStreams: 8, Seed: 1, Faults: chaosFaults(h2)})

			var open, most atomic.Int64
			var dialer net.Dialer
			base := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				n := open.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				c, err := dialer.DialContext(ctx, network, addr)
				if err != nil {
					open.Add(-1)
					return nil, err
				}
				return &countedConn{Conn: c, open: &open}, nil
			}}
			tr, err := New(Config{Base: base, Policies: Policies{Default: Policy{MaxConns: maxConns, MaxIdleConns: 12, ServerKeepAlive: 50 * time.Millisecond, MaxConnAge: 100 * time.Millisecond}}})
			require.NoError(t, err)

			var next, failed atomic.Int64
			var wg sync.WaitGroup
			var bodies sync.Map
			for caller := range callers {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(caller), 1))
					for n := next.Add(1); n <= int64(requests); n = next.Add(1) {
						body, err := chaosRequest(tr, srv.URL, rng, n)
						if body != nil {
							bodies.Store(n, body)
						}
						if err != nil {
							failed.Add(1)
							if errors.Is(err, errForged) {
								t.Errorf("request %d: %v", n, err)
							}
						}
					}
				})
			}
			wg.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			require.NoError(t, tr.Shutdown(ctx))

			s := tr.Stats()
			t.Logf("%d of %d failed, %d connections, at most %d at a time; failed by evidence %v, resent %v, closed %v", failed.Load(), requests, s.Total.Opened, most.Load(), s.Total.Failed, s.Total.Resent, s.Total.Closed)
			require.LessOrEqual(t, most.Load(), int64(maxConns))
			require.Zero(t, open.Load(), "sockets left open")
			require.Zero(t, s.Upstreams[0].Open)
			srv.Journal().AssertNoneExecutedTwice(t, "POST")
			bodies.Range(func(n, b any) bool {
				require.EqualValues(t, 1, b.(*watchedBody).closed.Load(), "closes of request %v's body", n)
				return true
			})
			require.NotZero(t, s.Total.Resent[Unknown])
			if h2 {
				require.NotZero(t, s.Total.Resent[Refused])
			}
		})
	}
}

var errForged = errors.New("got another response's bytes")

// chaosRequest sends one request as a careless program might: with a context
// that may end at any time, and a response that may not be read.
func chaosRequest(tr *Transport, url string, rng *rand.Rand, n int64) (*watchedBody, error) {
	ctx := context.Background()
	if rng.IntN(10) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(2_000_000)))
		defer cancel()
	}
	if rng.IntN(10) == 0 {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {}})
	}
	method := []string{"GET", "POST", "PUT", "DELETE", "HEAD"}[rng.IntN(5)]
	path := fmt.Sprintf("%s/%d", url, n)
	var body *watchedBody
	req, _ := http.NewRequestWithContext(ctx, method, path, nil)
	if method == "POST" || method == "PUT" {
		payload := bytes.Repeat([]byte("x"), rng.IntN(100_000))
		switch rng.IntN(3) {
		case 0:
			req, _ = http.NewRequestWithContext(ctx, method, path, bytes.NewReader(payload))
		case 1:
			body = &watchedBody{Reader: bytes.NewReader(payload)}
			req, _ = http.NewRequestWithContext(ctx, method, path, body)
			req.ContentLength = int64(len(payload))
		case 2:
			body = &watchedBody{Reader: bytes.NewReader(payload)}
			req, _ = http.NewRequestWithContext(ctx, method, path, body)
			req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(payload)), nil }
		}
	}
	keyed(req, int(n))
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return body, err
	}
	defer resp.Body.Close()
	if rng.IntN(20) == 0 {
		return body, nil // closed unread
	}
	got, err := io.ReadAll(resp.Body)
	if err == nil && method != "HEAD" && resp.StatusCode == 200 && !bytes.Contains(got, fmt.Appendf(nil, "/%d", n)) {
		return body, fmt.Errorf("%w: %q", errForged, got)
	}
	return body, err
}
