package idlewise

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// scripted is a handler that is told the number of each request, from 1 on.
type scripted struct {
	n atomic.Int64
	f func(n int, w http.ResponseWriter, r *http.Request)
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.f(int(s.n.Add(1)), w, r) }

// failing answers the first requests with a status, and then well.
func failing(times, status int) *scripted {
	return &scripted{f: func(n int, w http.ResponseWriter, r *http.Request) {
		if n <= times {
			w.WriteHeader(status)
			io.WriteString(w, "attempt "+strconv.Itoa(n))
			return
		}
		io.WriteString(w, "well")
	}}
}

func retrying(r Retry) Config { return Config{Policies: Policies{Default: Policy{Retry: r}}} }

// inRetryingWorld is inWorld with a handler and a policy's Retry.
func inRetryingWorld(t *testing.T, h http.Handler, r Retry, f func(t *testing.T, w *world)) {
	t.Helper()
	inWorld(t, worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: h}, client: retrying(r)}, f)
}

func TestAnIdempotentRequestIsRetriedUntilItSucceeds(t *testing.T) {
	h := failing(2, 503)
	inRetryingWorld(t, h, Retry{Max: 3}, func(t *testing.T, w *world) {
		require.Equal(t, "well", w.mustDo("GET", "/", ""))
		s := w.only()
		require.EqualValues(t, 2, s.Retries)
		require.EqualValues(t, 1, w.dials.Load(), "the responses that nobody wanted were read, and the connection lived on")
	})
}

func TestTheLastResponseIsReturnedWhenTheRetriesAreUsedUp(t *testing.T) {
	h := failing(100, 503)
	inRetryingWorld(t, h, Retry{Max: 2}, func(t *testing.T, w *world) {
		resp, err := w.tr.RoundTrip(request(t, "GET", w.url("/"), nil))
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 503, resp.StatusCode)
		require.Equal(t, "attempt 3", string(body))
	})
}

func request(t testing.TB, method, url string, body io.Reader) *http.Request {
	req, err := http.NewRequest(method, url, body)
	require.NoError(t, err)
	return req
}

func TestNoPolicyRepeatsAPOSTThatTheServerAnswered(t *testing.T) {
	always := func(context.Context, *http.Response, error) (bool, error) { return true, nil }
	for _, c := range []struct {
		name  string
		retry Retry
		ctx   func(context.Context) context.Context
		want  int64
	}{
		{"whatever CheckRetry says", Retry{Max: 3, CheckRetry: always}, nil, 1},
		{"unless its caller vouches for it", Retry{Max: 3}, WithIdempotent, 2},
		{"unless the operator does", Retry{Max: 3, NonIdempotent: On}, nil, 2},
		{"or its caller says no", Retry{Max: 3, NonIdempotent: On}, WithNotIdempotent, 1},
		{"unless it has a key", Retry{Max: 3, AutoIdempotencyKey: On}, nil, 2},
		{"or its caller allows one request", Retry{Max: 3, NonIdempotent: On}, WithoutRetry, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := failing(1, 503)
			inRetryingWorld(t, h, c.retry, func(t *testing.T, w *world) {
				ctx := t.Context()
				if c.ctx != nil {
					ctx = c.ctx(ctx)
				}
				_, err := w.do(ctx, "POST", "/", "payment")
				require.NoError(t, err)
				require.Equal(t, c.want, h.n.Load())
			})
		})
	}
}

// A POST whose connection is lost after it was read is not repeated either.
func TestNoPolicyRepeatsAPOSTOfUnknownDelivery(t *testing.T) {
	always := func(context.Context, *http.Response, error) (bool, error) { return true, nil }
	h := &scripted{f: func(_ int, w http.ResponseWriter, _ *http.Request) {
		panic(http.ErrAbortHandler)
	}}
	inRetryingWorld(t, h, Retry{Max: 3, CheckRetry: always}, func(t *testing.T, w *world) {
		_, err := w.do(t.Context(), "POST", "/", "payment")
		require.Error(t, err)
		require.EqualValues(t, 1, h.n.Load())
		_, err = w.do(t.Context(), "GET", "/", "")
		require.Error(t, err)
		require.EqualValues(t, 1+1+3, h.n.Load(), "a GET is")
	})
}

func TestAnyRequestIsRetriedWhereNoConnectionCouldBeHad(t *testing.T) {
	inRetryingWorld(t, nil, Retry{Max: 3}, func(t *testing.T, w *world) {
		w.refuse.Store(2)
		w.mustDo("POST", "/", "payment")
		require.Equal(t, 1, w.executions())
		w.tr.CloseIdleConnections()
		w.refuse.Store(100)
		_, err := w.do(t.Context(), "POST", "/", "payment")
		require.ErrorIs(t, err, errRefused)
		require.EqualValues(t, 96, w.refuse.Load(), "one try and three retries")
	})
}

func TestARetryWaitsAsLongAsTheServerAsks(t *testing.T) {
	after := func(v func() string) http.Handler {
		return &scripted{f: func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				w.Header().Set("Retry-After", v())
				w.WriteHeader(503)
			}
		}}
	}
	for _, c := range []struct {
		name        string
		value       func() string
		least, most time.Duration
	}{
		{"in seconds", func() string { return "3" }, 3 * time.Second, 3*time.Second + defaultWaitMin},
		{"until a date", func() string { return time.Now().Add(3 * time.Second).UTC().Format(http.TimeFormat) }, 2 * time.Second, 3*time.Second + defaultWaitMin},
		{"but not for longer than WaitMax", func() string { return "86400" }, 4 * time.Second, 4 * time.Second},
		{"nor than that for what no number holds", func() string { return "99999999999999999999999" }, 4 * time.Second, 4 * time.Second},
		{"and by Backoff if it cannot be read", func() string { return "soon" }, time.Second, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Retry{Max: 1, WaitMax: 4 * time.Second, Backoff: func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return time.Second }}
			inRetryingWorld(t, after(c.value), r, func(t *testing.T, w *world) {
				began := time.Now()
				w.mustDo("GET", "/", "")
				took := time.Since(began) - 6*time.Millisecond // three round trips
				require.GreaterOrEqual(t, took, c.least)
				require.LessOrEqual(t, took, c.most)
			})
		})
	}
}

func TestAWaitForARetryEndsWithTheContext(t *testing.T) {
	inRetryingWorld(t, failing(100, 503), Retry{Max: 3, WaitMin: time.Minute, WaitMax: time.Minute}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		_, err := w.do(ctx, "GET", "/", "")
		require.Equal(t, context.Canceled, err)
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestCloseEndsAWaitForARetry(t *testing.T) {
	inRetryingWorld(t, failing(100, 503), Retry{Max: 3, WaitMin: time.Minute, WaitMax: time.Minute}, func(t *testing.T, w *world) {
		time.AfterFunc(time.Second, func() { w.tr.Close() })
		began := time.Now()
		_, err := w.do(t.Context(), "GET", "/", "")
		require.Equal(t, ErrClosed, err)
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestWhatThereIsIsReturnedWhereTheDeadlineComesBeforeTheRetry(t *testing.T) {
	inRetryingWorld(t, failing(100, 503), Retry{Max: 3, WaitMin: time.Minute, WaitMax: time.Minute}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		s, err := w.do(ctx, "GET", "/", "")
		require.NoError(t, err)
		require.Equal(t, "attempt 1", s)
		require.Equal(t, 4*time.Millisecond, time.Since(began))
	})
}

func TestATryEndsAfterItsTimeAndIsRetriedOnAnotherConnection(t *testing.T) {
	for _, tls := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1", true: "HTTP/2"}[tls], func(t *testing.T) {
			h := &scripted{f: func(n int, w http.ResponseWriter, r *http.Request) {
				if n == 2 {
					<-r.Context().Done()
				}
			}}
			inWorld(t, worldConfig{
				latency: time.Millisecond, server: faultserver.Config{Handler: h, TLS: tls},
				client: retrying(Retry{Max: 1, PerTryTimeout: time.Second, WaitMin: time.Millisecond, WaitMax: time.Millisecond}),
			}, func(t *testing.T, w *world) {
				w.mustDo("GET", "/", "")
				began := time.Now()
				w.mustDo("GET", "/", "")
				require.Less(t, time.Since(began), 1100*time.Millisecond)
				require.EqualValues(t, 2, w.dials.Load())
			})
		})
	}
}

func TestTheErrorOfATryThatTookTooLongIsATimeout(t *testing.T) {
	for _, tls := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1", true: "HTTP/2"}[tls], func(t *testing.T) {
			h := &scripted{f: func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}
			inWorld(t, worldConfig{
				latency: time.Millisecond, server: faultserver.Config{Handler: h, TLS: tls},
				client: retrying(Retry{PerTryTimeout: time.Second}),
			}, func(t *testing.T, w *world) {
				_, err := w.do(t.Context(), "POST", "/", "payment")
				require.Equal(t, errTryTimeout, err)
				require.True(t, os.IsTimeout(err))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.EqualValues(t, 1, h.n.Load())
			})
		})
	}
}

func TestTheTimeOfATryDoesNotRunWhileTheBodyIsRead(t *testing.T) {
	h := &scripted{f: func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		time.Sleep(time.Minute)
		io.WriteString(w, "at last")
	}}
	inRetryingWorld(t, h, Retry{Max: 1, PerTryTimeout: time.Second}, func(t *testing.T, w *world) {
		require.Equal(t, "at last", w.mustDo("GET", "/", ""))
	})
}

func TestEveryAttemptHasTheSameIdempotencyKeyAndItsOwnNumber(t *testing.T) {
	var keys, numbers []string
	h := &scripted{f: func(n int, w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		numbers = append(numbers, r.Header.Get("X-Attempt"))
		if n <= 2 {
			w.WriteHeader(502)
		}
	}}
	inRetryingWorld(t, h, Retry{Max: 3, AutoIdempotencyKey: On, AttemptHeader: "X-Attempt"}, func(t *testing.T, w *world) {
		req := request(t, "POST", w.url("/"), strings.NewReader("payment"))
		resp, err := w.tr.RoundTrip(req)
		require.NoError(t, err)
		resp.Body.Close()
		require.Same(t, req, resp.Request)
		require.Empty(t, req.Header, "the request was modified")
		require.Equal(t, []string{"1", "2", "3"}, numbers)
		require.Regexp(t, `^"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"$`, keys[0])
		require.Equal(t, []string{keys[0], keys[0], keys[0]}, keys)
		w.mustDo("POST", "/", "another")
		require.NotEqual(t, keys[0], keys[3])

		own := request(t, "PATCH", w.url("/"), nil)
		own.Header.Set("Idempotency-Key", "mine")
		_, err = w.send(own)
		require.NoError(t, err)
		require.Equal(t, "mine", keys[4])
	})
}

// To a server a key is a key however it is spelled, and the first counts.
func TestAKeyOfTheProgramsHasNoOtherBesideIt(t *testing.T) {
	var keys []string
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys = append(r.Header["Idempotency-Key"], r.Header["X-Idempotency-Key"]...)
	})
	inRetryingWorld(t, h, Retry{AutoIdempotencyKey: On}, func(t *testing.T, w *world) {
		for _, name := range []string{"Idempotency-Key", "idempotency-key", "IDEMPOTENCY-KEY", "x-idempotency-key"} {
			req := request(t, "POST", w.url("/"), nil)
			req.Header[name] = []string{"mine"}
			_, err := w.send(req)
			require.NoError(t, err)
			require.Equal(t, []string{"mine"}, keys, name)
		}
	})
}

// Resends of stale connections count, too.
func TestAResendHasANumberOfItsOwn(t *testing.T) {
	var numbers []string
	h := &scripted{f: func(n int, w http.ResponseWriter, r *http.Request) {
		numbers = append(numbers, r.Header.Get("X-Attempt"))
		if n == 2 {
			panic(http.ErrAbortHandler)
		}
	}}
	inRetryingWorld(t, h, Retry{AttemptHeader: "X-Attempt"}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.mustDo("GET", "/", "")
		require.Equal(t, []string{"1", "1", "2"}, numbers)
	})
}

func TestACheckOfTheProgramsDecides(t *testing.T) {
	refusal := errors.New("no more")
	var seen []string
	r := Retry{Max: 5, CheckRetry: func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		if err != nil {
			seen = append(seen, err.Error())
			return true, nil
		}
		seen = append(seen, resp.Status)
		if resp.StatusCode == 500 {
			return true, nil
		}
		return false, refusal
	}}
	h := failing(1, 500)
	inRetryingWorld(t, h, r, func(t *testing.T, w *world) {
		w.refuse.Store(1)
		_, err := w.do(t.Context(), "GET", "/", "")
		require.Equal(t, refusal, err)
		require.Equal(t, []string{`Get "` + w.url("/") + `": ` + errRefused.Error(), "500 Internal Server Error", "200 OK"}, seen)
	})
}

func TestNothingIsRetriedThatCannotSucceed(t *testing.T) {
	inRetryingWorld(t, nil, Retry{Max: 3}, func(t *testing.T, w *world) {
		for _, warm := range []bool{false, true} {
			if warm {
				w.mustDo("GET", "/", "")
			}
			req := request(t, "GET", w.url("/"), nil)
			req.Header["No such name"] = []string{"x"}
			_, err := w.send(req)
			require.ErrorContains(t, err, "invalid header field name")
		}
		broken := request(t, "PUT", w.url("/"), io.MultiReader(strings.NewReader("half"), failingReader{errBroken}))
		_, err := w.send(broken)
		require.ErrorIs(t, err, errBroken)
		require.Zero(t, w.only().Retries)
	})
}

var errBroken = errors.New("the body broke")

func TestTheUpstreamsBudgetBoundsTheRetriesOfAThousandCallers(t *testing.T) {
	h := &scripted{f: func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }}
	cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: h},
		client: Config{Policies: Policies{Default: Policy{MaxConns: 100, Retry: Retry{Max: 4}}}}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		const storm = 30 * time.Second
		var calls, refused atomic.Int64
		began := time.Now()
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				for time.Since(began) < storm {
					calls.Add(1)
					resp, err := w.tr.RoundTrip(request(t, "GET", w.url("/"), nil))
					if err != nil {
						refused.Add(1)
						return
					}
					resp.Body.Close()
					time.Sleep(3 * time.Second)
				}
			})
		}
		all.Wait()
		seconds := int64(time.Since(began)/time.Second) + 1
		attempts := h.n.Load()
		t.Logf("%d requests, %d attempts in %d s", calls.Load(), attempts, seconds)
		require.Zero(t, refused.Load(), "a response is returned, not an error")
		require.LessOrEqual(t, attempts, calls.Load()*12/10+10*seconds)
		require.Greater(t, attempts, calls.Load()*11/10, "the budget is there to be used")
		require.NotZero(t, w.only().BudgetEmpty)
	})
}

func TestAnErrorSaysThatTheBudgetIsUsedUp(t *testing.T) {
	h := &scripted{f: func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }}
	inRetryingWorld(t, h, Retry{Max: 1000, WaitMin: time.Millisecond, WaitMax: time.Millisecond}, func(t *testing.T, w *world) {
		_, err := w.do(t.Context(), "GET", "/", "")
		require.ErrorIs(t, err, ErrRetryBudget)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, "idlewise: the retry budget is used up: EOF", err.Error())
		require.EqualValues(t, 11, h.n.Load(), "all within a second")
		s := w.only()
		require.EqualValues(t, 1, s.BudgetEmpty)
		require.Zero(t, s.Budget)
	})
}

func TestABudgetIsAFifthOfTheRequestsAndTenASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b budget
		take := func() (n int) {
			for b.withdraw(time.Now()) {
				n++
			}
			return n
		}
		require.Equal(t, 10, b.remaining(time.Now()))
		require.Equal(t, 10, take())
		for range 1000 {
			b.noteRequest(time.Now())
		}
		require.Equal(t, 200, b.remaining(time.Now()))
		require.Equal(t, 200, take())
		time.Sleep(time.Second)
		require.Equal(t, 10, take(), "every second")
		time.Sleep(8 * time.Second)
		require.Equal(t, 10, take(), "the window is ten seconds long")
		for range 50 {
			b.noteRequest(time.Now())
		}
		time.Sleep(time.Second)
		require.Equal(t, 20, take(), "what was taken ten seconds ago counts no more, and nor do its requests")
		time.Sleep(time.Hour)
		require.Equal(t, 10, b.remaining(time.Now()))
	})
}

func TestRetriesAndBreakersThatMeanNothingAreRefused(t *testing.T) {
	for want, p := range map[string]Policy{
		"Default.Retry.WaitMin: -1s is negative, and a wait cannot be off":     {Retry: Retry{WaitMin: -time.Second}},
		"Default.Retry.WaitMax: -1ns is negative":                              {Retry: Retry{WaitMax: -1}},
		"Default.Retry.WaitMin: 1m0s is longer than WaitMax, 5s":               {Retry: Retry{WaitMin: time.Minute}},
		"Default.Retry.PerTryTimeout: 5ns is under a millisecond":              {Retry: Retry{PerTryTimeout: 5}},
		"Default.Retry.AttemptHeader: \"X Attempt\" is no name for a header":   {Retry: Retry{AttemptHeader: "X Attempt"}},
		"Default.Retry.AttemptHeader: \"connection\" is no name for a header":  {Retry: Retry{AttemptHeader: "connection"}},
		"Default.Retry.NonIdempotent: Toggle(3) is none of idlewise.Inherit":   {Retry: Retry{NonIdempotent: 3}},
		"Default.Breaker.Statuses[1]: 42 is no response status":                {Breaker: &Breaker{Statuses: []int{500, 42}}},
		"Default.Breaker.Settings.Timeout: -1s is negative; leave it 0 for go": {Breaker: &Breaker{Settings: gobreaker.Settings{Timeout: -time.Second}}},
		"Default.Breaker.Settings.Interval: 30ns is under a millisecond":       {Breaker: &Breaker{Settings: gobreaker.Settings{Interval: 30}}},
	} {
		_, err := New(Config{Policies: Policies{Default: p}})
		require.ErrorContains(t, err, want)
	}
	_, err := New(Config{Policies: Policies{Default: Policy{Retry: Retry{AttemptHeader: "X-Attempt", Max: -1, PerTryTimeout: -1}, Breaker: NoBreaker}}})
	require.NoError(t, err)
}
