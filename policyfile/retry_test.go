package policyfile

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

func retryOf(t *testing.T, settings string) idlewise.Retry {
	t.Helper()
	return parsed(t, "default: {retry: {"+settings+"}}").Default.Retry
}

func TestChecksAndBackoffsAreThoseOfGoRetryablehttpAndIdlewise(t *testing.T) {
	samePointer(t, retryablehttp.DefaultRetryPolicy, retryOf(t, "check: default").CheckRetry)
	samePointer(t, retryablehttp.ErrorPropagatedRetryPolicy, retryOf(t, "check: error-propagated").CheckRetry)
	samePointer(t, idlewise.DefaultCheckRetry, retryOf(t, "check: idlewise").CheckRetry)
	samePointer(t, retryablehttp.DefaultBackoff, retryOf(t, "backoff: default").Backoff)
	samePointer(t, retryablehttp.LinearJitterBackoff, retryOf(t, "backoff: linear-jitter").Backoff)
	samePointer(t, retryablehttp.RateLimitLinearJitterBackoff, retryOf(t, "backoff: rate-limit-linear-jitter").Backoff)
	samePointer(t, idlewise.DefaultBackoff, retryOf(t, "backoff: idlewise").Backoff)
}

func TestAnUpstreamGoesBackToIdlewisesOwnCheck(t *testing.T) {
	p := parsed(t, "default: {retry: {check: default, backoff: default}}\nupstreams: {a: {retry: {check: idlewise, backoff: idlewise}}}\n")
	samePointer(t, idlewise.DefaultCheckRetry, effective(t, p, "a").Retry.CheckRetry)
	samePointer(t, idlewise.DefaultBackoff, effective(t, p, "a").Retry.Backoff)
	samePointer(t, retryablehttp.DefaultRetryPolicy, effective(t, p, "b").Retry.CheckRetry)
}

func TestAListOfStatusesRetriesThemAndTheErrorsThatIdlewiseRetries(t *testing.T) {
	check := retryOf(t, "check: [500, 503]").CheckRetry
	ask := func(ctx context.Context, status int, cause error) bool {
		t.Helper()
		var resp *http.Response
		if cause == nil {
			resp = &http.Response{StatusCode: status}
		}
		again, err := check(ctx, resp, cause)
		require.NoError(t, err)
		return again
	}
	for status, want := range map[int]bool{200: false, 404: false, 429: false, 500: true, 502: false, 503: true} {
		require.Equal(t, want, ask(t.Context(), status, nil), status)
	}
	require.True(t, ask(t.Context(), 0, io.ErrUnexpectedEOF))
	require.False(t, ask(t.Context(), 0, errors.Join(idlewise.ErrClosed)))

	ended, end := context.WithCancel(t.Context())
	end()
	require.False(t, ask(ended, 503, nil), "the caller has gone")

	check = retryOf(t, "check: []").CheckRetry
	require.False(t, ask(t.Context(), 503, nil), "errors only")
	require.True(t, ask(t.Context(), 0, io.EOF))
}
