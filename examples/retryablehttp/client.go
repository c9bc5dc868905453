package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/idlewise/idlewise"
)

// newClient returns go-retryablehttp's client over a transport.
func newClient(rt http.RoundTripper) *retryablehttp.Client {
	client := retryablehttp.NewClient()
	client.HTTPClient = &http.Client{Transport: rt}
	client.CheckRetry = heedEvidence
	client.RetryWaitMin, client.RetryWaitMax = 10*time.Millisecond, 100*time.Millisecond // its server is near
	client.Logger = nil
	return client
}

// heedEvidence is go-retryablehttp's default policy, except that it does not
// repeat a POST or PATCH whose connection broke, unless it is proven that the
// server did not execute it. The default policy repeats it after any error.
func heedEvidence(ctx context.Context, resp *http.Response, err error) (bool, error) {
	var failed *url.Error // its Op is the method
	if errors.As(err, &failed) && (failed.Op == "Post" || failed.Op == "Patch") && !notExecuted(err) {
		return false, err
	}
	return retryablehttp.DefaultRetryPolicy(ctx, resp, err)
}

func notExecuted(err error) bool {
	var judged *idlewise.Error
	if errors.As(err, &judged) {
		switch judged.Evidence {
		case idlewise.Unsent, idlewise.Refused, idlewise.Undelivered:
			return true
		}
		return false
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
