package idlewise

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// DefaultCheckRetry is what Retry.CheckRetry is where nothing is set: it says yes
// to errors and to the statuses 429, 502, 503 and 504, and no once ctx has ended,
// to the errors of a closed Transport, and where the server's certificate or its
// TLS is not what the client accepts, which another attempt finds no different.
//
// (Requests that are invalid fail before anything could be asked.) It is exported
// for functions that decide a part of the cases and leave it the others.
func DefaultCheckRetry(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, nil
	}
	if err != nil {
		return !errors.Is(err, ErrClosed) && !isCertificateError(err), nil
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true, nil
	}
	return false, nil
}

// isCertificateError reports whether the TLS handshake failed by what the two
// sides are, not by the network between them.
func isCertificateError(err error) bool {
	for _, target := range []any{
		new(*tls.CertificateVerificationError), new(tls.RecordHeaderError),
		new(x509.UnknownAuthorityError), new(x509.HostnameError), new(x509.CertificateInvalidError),
	} {
		if errors.As(err, target) {
			return true
		}
	}
	return false
}

// DefaultBackoff is what Retry.Backoff is where nothing is set: full jitter, a
// random time from min to the lesser of max and min·2ⁿ⁺¹, n being the attempt.
// It does not look at the response; a Retry-After is honoured all the same.
func DefaultBackoff(min, max time.Duration, attempt int, resp *http.Response) time.Duration {
	limit := min
	for range attempt + 1 {
		if limit >= max/2 {
			limit = max
			break
		}
		limit *= 2
	}
	if limit <= min {
		return min
	}
	return min + rand.N(limit-min+1)
}
