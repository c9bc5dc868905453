package idlewise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// onReuse makes a server that ends every connection at its second request, in
// the given way, and leaves the first one on it alone.
func onReuse(kind faultserver.Kind) faultserver.Config {
	return faultserver.Config{Faults: []faultserver.Fault{{Kind: kind, ReusedOnly: true}}}
}

func TestAnIdempotentRequestIsResentWhenItsDeliveryIsUnknown(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"} {
		for _, kind := range []faultserver.Kind{faultserver.CloseOnReuse, faultserver.FinAfterRequest, faultserver.RstAfterRequest} {
			t.Run(fmt.Sprint(method, "/", kind), func(t *testing.T) {
				inWorld(t, worldConfig{latency: time.Millisecond, server: onReuse(kind)}, func(t *testing.T, w *world) {
					w.mustDo("GET", "/", "")
					w.mustDo(method, "/", "")
					s := w.only()
					require.EqualValues(t, 1, s.Resent[Unknown])
					require.EqualValues(t, 1, s.StaleIdempotent)
					require.EqualValues(t, 1, s.Closed[ClosedStaleOnUse])
					require.EqualValues(t, 2, w.dials.Load())
				})
			})
		}
	}
}

// A connection that was opened in advance and idled can be closed by the
// server just like one that was used.
func TestAConnectionKeptWarmCanBeStaleToo(t *testing.T) {
	cfg := worldConfig{
		latency: time.Millisecond,
		server: faultserver.Config{Faults: []faultserver.Fault{
			{Kind: faultserver.AnnounceClose, Nth: 1},
			{Kind: faultserver.FinAfterRequest, NthOnConn: 1, Nth: 2},
		}},
		client: Config{Policies: Policies{Default: Policy{MinIdleConns: 1}}},
	}
	for _, method := range []string{"PUT", "POST"} {
		inWorld(t, cfg, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "") // another connection is opened in advance meanwhile
			time.Sleep(time.Second)
			synctest.Wait()
			require.Equal(t, 1, w.only().Idle)
			_, err := w.do(context.Background(), method, "/", "")
			if method == "POST" {
				require.EqualError(t, err, "idlewise: stale connection, delivery unknown, not repeated (send an Idempotency-Key or use WithIdempotent): EOF")
			} else {
				require.NoError(t, err)
				require.EqualValues(t, 1, w.only().Resent[Unknown])
			}
			require.EqualValues(t, 1, w.only().Closed[ClosedStaleOnUse])
		})
	}
}

func TestAPOSTIsNotRepeatedWhenTheServerMayHaveReadIt(t *testing.T) {
	for _, executed := range []bool{false, true} {
		cfg := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.FinAfterRequest, ReusedOnly: true, Executed: executed}}}
		inWorld(t, worldConfig{latency: time.Millisecond, server: cfg}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			_, err := w.do(context.Background(), "POST", "/", "pay")
			require.EqualError(t, err, "idlewise: stale connection, delivery unknown, not repeated (send an Idempotency-Key or use WithIdempotent): EOF")
			require.ErrorIs(t, err, io.EOF)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, Unknown, e.Evidence)
			require.Len(t, e.Attempts, 1)
			require.True(t, e.Attempts[0].Reused)
			require.Equal(t, worldAddr, e.Attempts[0].Remote.String())
			require.EqualValues(t, 1, w.dials.Load())
			require.EqualValues(t, 1, w.only().StaleOther)
			w.server.Journal().AssertNoneExecutedTwice(t, "POST")
		})
	}
}

func TestTheCallersWordDecidesWhetherARequestMayBeRepeated(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		ctx    context.Context
		method string
		header string
		resent bool
	}{
		"a POST vouched for":          {WithIdempotent(ctx), "POST", "", true},
		"a POST with a key":           {ctx, "POST", "Idempotency-Key", true},
		"a POST with an x-key":        {ctx, "POST", "X-Idempotency-Key", true},
		"a POST":                      {ctx, "POST", "", false},
		"a PATCH":                     {ctx, "PATCH", "", false},
		"a GET with effects":          {WithNotIdempotent(ctx), "GET", "", false},
		"a key, but the caller knows": {WithNotIdempotent(ctx), "POST", "Idempotency-Key", false},
		"a GET not to be repeated":    {WithoutRetry(ctx), "GET", "", false},
		"the last word counts":        {WithIdempotent(WithNotIdempotent(ctx)), "POST", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, worldConfig{latency: time.Millisecond, server: onReuse(faultserver.FinAfterRequest)}, func(t *testing.T, w *world) {
				w.mustDo("GET", "/", "")
				req, _ := http.NewRequestWithContext(c.ctx, c.method, w.url("/"), strings.NewReader("x"))
				if c.header != "" {
					req.Header[c.header] = nil // counts, and is not sent, as with net/http
				}
				_, err := w.send(req)
				if c.resent {
					require.NoError(t, err)
					require.EqualValues(t, 1, w.only().Resent[Unknown])
				} else {
					require.Error(t, err)
					require.EqualValues(t, 1, w.dials.Load())
				}
			})
		})
	}
}

// Nothing was written: the connection was found dead before.
func TestAnyMethodIsResentWhenNothingWasSent(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		// The network loses the server's FIN's effect on checkout: the
		// connection dies between checkout and the first write.
		ctx := WithTrace(context.Background(), &Trace{AttemptStart: func(a Attempt) {
			if a.Number == 1 {
				w.server.Kill()
				synctest.Wait()
				time.Sleep(time.Second)
			}
		}})
		req, _ := http.NewRequestWithContext(WithoutRetry(ctx), "POST", w.url("/"), strings.NewReader("pay"))
		_, err := w.send(req)
		require.NoError(t, err)
		require.EqualValues(t, 1, w.only().Resent[Unsent])
		require.Equal(t, 2, w.executions())
	})
}

func TestAResponseThatBreaksOffIsNeverFollowedByAResend(t *testing.T) {
	for _, kind := range []faultserver.Kind{faultserver.CloseInStatusLine, faultserver.CloseInHeaders, faultserver.CloseInBody} {
		t.Run(kind.String(), func(t *testing.T) {
			inWorld(t, worldConfig{latency: time.Millisecond, server: onReuse(kind)}, func(t *testing.T, w *world) {
				w.mustDo("GET", "/", "")
				_, err := w.do(context.Background(), "GET", "/", "")
				require.Error(t, err)
				var e *Error
				require.False(t, errors.As(err, &e), "the error is net/http's: %v", err)
				require.EqualValues(t, 1, w.dials.Load())
			})
		})
	}
}

func TestAnUnknownDeliveryIsResentOnceOnly(t *testing.T) {
	cfg := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.FinAfterRequest, Path: "/doomed"}}}
	inWorld(t, worldConfig{latency: time.Millisecond, server: cfg}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		_, err := w.do(context.Background(), "GET", "/doomed", "")
		require.Equal(t, io.EOF, err, "as net/http gives it; programs compare")
		require.EqualValues(t, 2, w.only().Failed[Unknown])
		require.EqualValues(t, 1, w.only().Resent[Unknown])
	})
}

func TestAFreshConnectionsFailureIsAsNetHTTPGivesIt(t *testing.T) {
	cfg := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.FinAfterRequest}}}
	inWorld(t, worldConfig{latency: time.Millisecond, server: cfg}, func(t *testing.T, w *world) {
		_, err := w.do(context.Background(), "GET", "/", "")
		require.Equal(t, io.EOF, err)
	})
}

func TestARefusedStreamIsResentWhateverTheMethod(t *testing.T) {
	for name, fault := range map[string]faultserver.Fault{
		"REFUSED_STREAM":         {Kind: faultserver.ResetStream, Code: codeRefusedStream, Path: "/r", Times: 1},
		"GOAWAY below":           {Kind: faultserver.GoAwayBelow, Path: "/r", Times: 1},
		"GOAWAY, a first stream": {Kind: faultserver.GoAwayBelow, Path: "/r", NthOnConn: 1, Times: 1},
	} {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprint(name, "/", first), func(t *testing.T) {
				inWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{TLS: true, Faults: []faultserver.Fault{fault}}}, func(t *testing.T, w *world) {
					if !first {
						w.mustDo("GET", "/", "")
					}
					w.mustDo("POST", "/r", "pay")
					w.server.Journal().AssertNoneExecutedTwice(t, "POST")
					if fault.NthOnConn == 0 || first {
						require.EqualValues(t, 1, w.only().Resent[Refused])
					}
				})
			})
		}
	}
}

func TestOtherStreamErrorsAreNotResent(t *testing.T) {
	cfg := faultserver.Config{TLS: true, Faults: []faultserver.Fault{{Kind: faultserver.ResetStream, Code: 2, Path: "/r"}}}
	inWorld(t, worldConfig{latency: time.Millisecond, server: cfg}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		_, err := w.do(context.Background(), "GET", "/r", "")
		require.ErrorContains(t, err, "INTERNAL_ERROR")
		var e *Error
		require.False(t, errors.As(err, &e), "idlewise has nothing to say about it")
		require.EqualValues(t, 1, w.dials.Load())
	})
}

func TestAnHTTP2ConnectionThatClosesUnderRequestsCostsNoIdempotentOne(t *testing.T) {
	cfg := faultserver.Config{TLS: true, Faults: []faultserver.Fault{{Kind: faultserver.CloseWithoutGoAway, Path: "/r", Times: 1, Executed: true}}}
	for method, resent := range map[string]bool{"PUT": true, "POST": false} {
		inWorld(t, worldConfig{latency: time.Millisecond, server: cfg}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			_, err := w.do(context.Background(), method, "/r", "x")
			require.Equal(t, resent, err == nil, "%v", err)
			w.server.Journal().AssertNoneExecutedTwice(t, "POST")
		})
	}
}

func TestA408ThatCrossesARequestCountsAsAnIdleTimeout(t *testing.T) {
	// The server answers a request on a reused connection with 408 and closes.
	h := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cross") != "" {
			rw.Header().Set("Connection", "close")
			rw.WriteHeader(http.StatusRequestTimeout)
		}
	})
	for method, resent := range map[string]bool{"GET": true, "POST": false} {
		inWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: h}}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			var attempts []Attempt
			ctx := WithTrace(context.Background(), &Trace{AttemptDone: func(a Attempt) { attempts = append(attempts, a) }})
			req, _ := http.NewRequestWithContext(ctx, method, w.url("/"), nil)
			req.Header.Set("Cross", "yes")
			resp, err := w.tr.RoundTrip(req)
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, http.StatusRequestTimeout, resp.StatusCode, "the fresh connection's answer is the answer")
			require.Equal(t, Unknown, attempts[0].Evidence)
			require.Equal(t, resent, len(attempts) == 2)
			require.Equal(t, 1, w.closed(ClosedStaleOnUse))
		})
	}
}

func TestAStaleHitClosesItsSiblings(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, gated: true}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { w.do(context.Background(), "GET", "/", "") })
			<-w.gate.arrived
		}
		for range 4 {
			w.gate.open <- struct{}{}
		}
		wg.Wait()
		time.Sleep(time.Minute)
		require.Equal(t, 4, w.only().Idle)
		w.server.Inject(faultserver.Fault{Kind: faultserver.CloseOnReuse, ReusedOnly: true})
		w.gate.open <- struct{}{}
		w.mustDo("GET", "/", "")
		require.Equal(t, 3, w.closed(ClosedSibling), "one stale hit, not one per connection")
		require.EqualValues(t, 1, w.only().StaleIdempotent)
	})
}

func TestTheBodyOfAResendIsWhole(t *testing.T) {
	const size = 200_000
	want := fmt.Sprintf("PUT / %d", size)
	payload := bytes.Repeat([]byte("x"), size)
	for name, body := range map[string]func(*http.Request, *watchedBody){
		"in memory": func(r *http.Request, _ *watchedBody) {
			made, _ := http.NewRequest("PUT", r.URL.String(), bytes.NewReader(payload))
			*r = *made
		},
		"by GetBody": func(r *http.Request, b *watchedBody) {
			b.Reader = bytes.NewReader(payload)
			r.Body, r.ContentLength = b, size
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(payload)), nil }
		},
		"chunked": func(r *http.Request, b *watchedBody) {
			b.Reader = bytes.NewReader(payload)
			r.Body, r.ContentLength = b, -1
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(payload)), nil }
		},
	} {
		for _, kind := range []faultserver.Kind{faultserver.CloseOnReuse, faultserver.FinAfterRequest, faultserver.CloseInRequestBody} {
			t.Run(fmt.Sprint(name, "/", kind), func(t *testing.T) {
				inWorld(t, worldConfig{latency: time.Millisecond, server: onReuse(kind)}, func(t *testing.T, w *world) {
					w.mustDo("GET", "/", "")
					req, _ := http.NewRequest("PUT", w.url("/"), nil)
					watched := &watchedBody{}
					body(req, watched)
					s, err := w.send(req)
					require.NoError(t, err)
					require.Contains(t, s, fmt.Sprint(size), "want %q", want)
					synctest.Wait()
					if watched.Reader != nil {
						require.EqualValues(t, 1, watched.closed.Load())
					}
				})
			})
		}
	}
}

func TestABodyThatCannotBeSentAgainIsNot(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, server: onReuse(faultserver.FinAfterRequest)}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		body := &watchedBody{Reader: strings.NewReader("once")}
		req, _ := http.NewRequest("PUT", w.url("/"), body)
		_, err := w.send(req)
		require.EqualError(t, err, "idlewise: stale connection, delivery unknown, not repeated (set Request.GetBody so that the body can be sent again): EOF")
		require.EqualValues(t, 1, body.closed.Load())
	})
}

func TestAnUntouchedBodyIsSentOnAnotherConnection(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		ctx := WithTrace(context.Background(), &Trace{AttemptStart: func(a Attempt) {
			if a.Number == 1 {
				w.server.Kill()
				time.Sleep(time.Second)
			}
		}})
		body := &watchedBody{Reader: strings.NewReader("once")}
		req, _ := http.NewRequestWithContext(ctx, "POST", w.url("/"), body)
		s, err := w.send(req)
		require.NoError(t, err)
		require.Contains(t, s, "4")
		synctest.Wait()
		require.EqualValues(t, 1, body.closed.Load())
	})
}

func TestAFailingBodyIsTheCallersErrorAndNeverRepeated(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		inWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{TLS: h2}}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			broken := errors.New("the disk is gone")
			body := &watchedBody{Reader: io.MultiReader(strings.NewReader("some"), failingReader{broken})}
			req, _ := http.NewRequest("PUT", w.url("/"), body)
			req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("other")), nil }
			_, err := w.send(req)
			require.ErrorIs(t, err, broken)
			synctest.Wait()
			require.EqualValues(t, 1, body.closed.Load())
		})
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestAResendsDialIsTriedAgain(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, server: onReuse(faultserver.FinAfterRequest)}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.refuse.Store(2)
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 2, w.only().DialErrors)
	})
	inWorld(t, worldConfig{latency: time.Millisecond, server: onReuse(faultserver.FinAfterRequest)}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.refuse.Store(100)
		_, err := w.do(context.Background(), "GET", "/", "")
		require.ErrorIs(t, err, errRefused)
		require.ErrorIs(t, err, io.EOF, "both errors are joined")
		require.ErrorContains(t, err, "idlewise: stale connection, delivery unknown, and no connection could be opened for the resend: ")
		require.EqualValues(t, 3, w.only().DialErrors)
	})
}

func TestWithFreshConnUsesNoConnectionOpenedBefore(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		inWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{TLS: h2}}, func(t *testing.T, w *world) {
			w.mustDo("GET", "/", "")
			_, err := w.do(WithFreshConn(context.Background()), "GET", "/", "")
			require.NoError(t, err)
			require.EqualValues(t, 2, w.dials.Load())
		})
	}
}

func TestTracesCompose(t *testing.T) {
	var calls []string
	hook := func(name string) *Trace {
		return &Trace{
			AttemptStart: func(a Attempt) { calls = append(calls, fmt.Sprint(name, " start ", a.Number)) },
			AttemptDone:  func(a Attempt) { calls = append(calls, fmt.Sprint(name, " done ", a.Number, " ", a.Status)) },
		}
	}
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		ctx := WithTrace(WithTrace(WithTrace(context.Background(), hook("old")), nil), hook("new"))
		_, err := w.do(ctx, "GET", "/", "")
		require.NoError(t, err)
	})
	require.Equal(t, []string{"new start 1", "old start 1", "new done 1 200", "old done 1 200"}, calls)
}

func TestNoResendAfterTheCallersContextEnded(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, server: onReuse(faultserver.NeverAnswer)}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := w.do(ctx, "GET", "/", "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))
		require.EqualValues(t, 1, w.dials.Load())
		require.Equal(t, 1, w.closed(ClosedCanceled))
	})
}

// A server that hangs up on a new connection's first request has its reason in
// the request: that it hung up says nothing of the server's end.
func TestANewConnectionThatBreaksIsNoSignOfTheServersEnd(t *testing.T) {
	for _, p := range []func(*http.Protocols){
		func(p *http.Protocols) { p.SetHTTP1(true) },
		func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		protocols := new(http.Protocols)
		p(protocols)
		cfg := worldConfig{
			server: faultserver.Config{Protocols: protocols, Faults: []faultserver.Fault{{Kind: faultserver.FinAfterRequest}}},
			base:   func(t *http.Transport) { t.Protocols = protocols },
		}
		inWorld(t, cfg, func(t *testing.T, w *world) {
			for range 2 {
				_, err := w.do(context.Background(), "GET", "/", "")
				require.Error(t, err)
			}
			require.EqualValues(t, 2, w.dials.Load(), "none was repeated")
		})
	}
}

// A process that dies takes all its connections with it, new ones too, and in
// which order their ends are noticed is chance.
func TestAGETIsResentWhenItsNewConnectionDiesTogetherWithOthers(t *testing.T) {
	cfg := worldConfig{latency: time.Millisecond, gated: true}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				_, err := w.do(context.Background(), "GET", "/", "")
				require.NoError(t, err)
			})
		}
		for range 4 {
			<-w.gate.arrived
		}
		w.server.Kill()
		for range 4 {
			<-w.gate.arrived
		}
		for range 4 {
			w.gate.open <- struct{}{}
		}
		callers.Wait()
		require.EqualValues(t, 4, w.only().Resent[Unknown])
	})
}
