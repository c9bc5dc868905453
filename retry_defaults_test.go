package idlewise

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheDefaultCheckRetriesWhatAnotherAttemptMayFindDifferent(t *testing.T) {
	for status, want := range map[int]bool{200: false, 404: false, 408: false, 429: true, 500: false, 501: false, 502: true, 503: true, 504: true} {
		again, err := DefaultCheckRetry(t.Context(), &http.Response{StatusCode: status}, nil)
		require.NoError(t, err)
		require.Equal(t, want, again, status)
	}
	for cause, want := range map[error]bool{
		io.EOF: true, errors.New("dial tcp: connection refused"): true, context.DeadlineExceeded: true,
		ErrClosed: false, &tls.CertificateVerificationError{Err: io.EOF}: false, x509.UnknownAuthorityError{}: false,
		tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}: false,
	} {
		again, err := DefaultCheckRetry(t.Context(), nil, fmt.Errorf("wrapped: %w", cause))
		require.NoError(t, err)
		require.Equal(t, want, again, cause)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	again, err := DefaultCheckRetry(ended, nil, io.EOF)
	require.NoError(t, err)
	require.False(t, again, "the caller has gone")
}

func TestTheDefaultBackoffIsFullJitterBetweenItsBounds(t *testing.T) {
	const lo, hi = 100 * time.Millisecond, time.Second
	for attempt, limit := range []time.Duration{200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, hi, hi} {
		least, most := hi, time.Duration(0)
		for range 2000 {
			wait := DefaultBackoff(lo, hi, attempt, nil)
			least, most = min(least, wait), max(most, wait)
		}
		require.GreaterOrEqual(t, least, lo)
		require.LessOrEqual(t, most, limit)
		require.Less(t, least, lo+(limit-lo)/10, "the whole range is used")
		require.Greater(t, most, limit-(limit-lo)/10)
	}
	require.Equal(t, hi, DefaultBackoff(hi, hi, 0, nil))
	require.Equal(t, hi, DefaultBackoff(hi, lo, 3, nil), "bounds the wrong way round")
	require.LessOrEqual(t, DefaultBackoff(lo, 1<<62, 1<<30, nil), time.Duration(1<<62), "no overflow")
}
