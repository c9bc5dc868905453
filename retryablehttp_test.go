package idlewise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// A decision is what a CheckRetry function was asked, and what it said.
type decision struct {
	about string
	again bool
	err   string
}

// deciding notes what check decides.
func deciding(check retryablehttp.CheckRetry, to *[]decision) retryablehttp.CheckRetry {
	return func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		d := decision{}
		if err != nil {
			d.about = fmt.Sprintf("%T %v", err, err)
		} else {
			d.about = resp.Status
		}
		var says error
		d.again, says = check(ctx, resp, err)
		if says != nil {
			d.err = says.Error()
		}
		*to = append(*to, d)
		return d.again, says
	}
}

// A retryCase is something that happens to a request, in both clients alike.
type retryCase struct {
	name   string
	method string
	// answers are the statuses of the first responses, 0 for a connection that is
	// closed instead; what comes after them is 200.
	answers []int
	after   string // Retry-After of the responses that fail
	refuse  int64  // dials
	tls     bool   // with a certificate that nobody trusts
	limit   time.Duration
	exact   bool // the time it took is not rounded
}

var retryCases = []retryCase{
	{name: "success", method: "GET"},
	{name: "a client's mistake", method: "GET", answers: []int{404}},
	{name: "too many requests", method: "GET", answers: []int{429}},
	{name: "an internal error", method: "GET", answers: []int{500, 500}},
	{name: "a method that the server does not know", method: "GET", answers: []int{501}},
	{name: "a bad gateway", method: "PUT", answers: []int{502}},
	{name: "unavailable for ever", method: "GET", answers: []int{503, 503, 503, 503, 503, 503}},
	{name: "unavailable for some time", method: "DELETE", answers: []int{503, 503}},
	{name: "a gateway's timeout", method: "HEAD", answers: []int{504}},
	{name: "an unknown status", method: "GET", answers: []int{599}},
	{name: "a connection closed without an answer", method: "GET", answers: []int{0, 0}},
	{name: "a refused connection", method: "GET", refuse: 1},
	{name: "a refused connection and then an error", method: "PUT", refuse: 1, answers: []int{500}},
	{name: "a POST whose connection is refused", method: "POST", refuse: 1},
	{name: "an unsuccessful POST", method: "POST", answers: []int{404}},
	{name: "a certificate that is not trusted", method: "GET", tls: true},
}

// TestPolicyRetriesDecideAsGoRetryablehttpDoes: the same function is asked the same
// questions, and requests end alike, after the same time. The differences there are
// on purpose are the next test's.
func TestPolicyRetriesDecideAsGoRetryablehttpDoes(t *testing.T) {
	checks := map[string]retryablehttp.CheckRetry{
		"default": retryablehttp.DefaultRetryPolicy, "error-propagated": retryablehttp.ErrorPropagatedRetryPolicy,
	}
	for checkName, check := range checks {
		for _, c := range retryCases {
			t.Run(checkName+"/"+c.name, func(t *testing.T) {
				theirs := c.run(t, check, retryablehttp.DefaultBackoff, false)
				ours := c.run(t, check, retryablehttp.DefaultBackoff, true)
				require.Equal(t, theirs, ours)
			})
		}
	}
}

// A retryEnd is what became of a request.
type retryEnd struct {
	decisions []decision
	executed  int64
	outcome   string
	took      time.Duration
}

const retryMax = 3

// run lets the case happen to one of the two clients, in a world of its own.
func (c retryCase) run(t *testing.T, check retryablehttp.CheckRetry, backoff retryablehttp.Backoff, ours bool) (end retryEnd) {
	h := &scripted{f: func(n int, w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if n > len(c.answers) {
			return
		}
		if c.answers[n-1] == 0 {
			panic(http.ErrAbortHandler)
		}
		if c.after != "" {
			w.Header().Set("Retry-After", c.after)
		}
		w.WriteHeader(c.answers[n-1])
	}}
	cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: h, TLS: c.tls}}
	url := "http://upstream/"
	if c.tls {
		url = "https://upstream/"
	}
	check = deciding(check, &end.decisions)
	if ours {
		cfg.client = retrying(Retry{Max: retryMax, WaitMin: time.Second, WaitMax: 30 * time.Second, CheckRetry: check, Backoff: backoff})
	}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.refuse.Store(c.refuse)
		ctx := t.Context()
		if c.limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, c.limit)
			defer cancel()
		}
		req, err := http.NewRequestWithContext(ctx, c.method, url, strings.NewReader("body"))
		require.NoError(t, err)
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) { return w.dial(ctx, network, worldAddr) }
		began := time.Now()
		var resp *http.Response
		if ours {
			w.tr.Close()
			w.tr, err = New(Config{Base: &http.Transport{DialContext: dial}, Policies: cfg.client.Policies})
			require.NoError(t, err)
			resp, err = (&http.Client{Transport: w.tr}).Do(req)
		} else {
			tr := &http.Transport{DialContext: dial}
			defer tr.CloseIdleConnections()
			client := &retryablehttp.Client{
				HTTPClient: &http.Client{Transport: tr}, RetryMax: retryMax, RetryWaitMin: time.Second, RetryWaitMax: 30 * time.Second,
				CheckRetry: check, Backoff: backoff,
				// What idlewise does, and go-retryablehttp only so.
				ErrorHandler: func(resp *http.Response, err error, _ int) (*http.Response, error) {
					if resp != nil {
						return resp, nil
					}
					return nil, err
				},
			}
			again, e := retryablehttp.FromRequest(req)
			require.NoError(t, e)
			resp, err = client.Do(again)
		}
		end.took = time.Since(began)
		if !c.exact {
			end.took = end.took.Round(100 * time.Millisecond)
		}
		switch {
		case err == nil:
			end.outcome = resp.Status
			resp.Body.Close()
		case errors.Is(err, context.DeadlineExceeded):
			end.outcome = "deadline exceeded"
		default:
			end.outcome = err.Error()
		}
		end.executed = h.n.Load()
	})
	return end
}

// docs/retries.md gives the reasons.
func TestPolicyRetriesDifferFromGoRetryablehttpOnPurpose(t *testing.T) {
	run := func(c retryCase) (theirs, ours retryEnd) {
		check, backoff := retryablehttp.DefaultRetryPolicy, retryablehttp.DefaultBackoff
		return c.run(t, check, backoff, false), c.run(t, check, backoff, true)
	}
	t.Run("a POST that was answered is not executed again", func(t *testing.T) {
		theirs, ours := run(retryCase{method: "POST", answers: []int{503}})
		require.EqualValues(t, 2, theirs.executed)
		require.EqualValues(t, 1, ours.executed)
		require.Equal(t, "503 Service Unavailable", ours.outcome)
	})
	t.Run("nor is one of unknown delivery", func(t *testing.T) {
		theirs, ours := run(retryCase{method: "POST", answers: []int{0}})
		require.EqualValues(t, 2, theirs.executed)
		require.EqualValues(t, 1, ours.executed)
	})
	t.Run("a Retry-After is honoured up to WaitMax", func(t *testing.T) {
		theirs, ours := run(retryCase{method: "GET", answers: []int{503}, after: "3600"})
		require.Equal(t, time.Hour, theirs.took)
		require.Equal(t, 30*time.Second, ours.took)
	})
	t.Run("and not everybody comes back at the same moment", func(t *testing.T) {
		theirs, ours := run(retryCase{method: "GET", answers: []int{503}, after: "5", exact: true})
		require.Equal(t, 5*time.Second, theirs.took.Round(100*time.Millisecond))
		require.Greater(t, ours.took, theirs.took)
		require.LessOrEqual(t, ours.took, theirs.took+time.Second, "WaitMin later at most")
	})
	t.Run("what there is is returned where the deadline comes before the retry", func(t *testing.T) {
		theirs, ours := run(retryCase{method: "GET", answers: []int{503, 503}, limit: 1500 * time.Millisecond})
		require.Equal(t, "deadline exceeded", theirs.outcome)
		require.EqualValues(t, 1500*time.Millisecond, theirs.took)
		require.Equal(t, "503 Service Unavailable", ours.outcome)
		require.EqualValues(t, time.Second, ours.took)
	})
}
