package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"connectrpc.com/connect"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/hashicorp/go-retryablehttp"
	"google.golang.org/protobuf/types/known/emptypb"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// A classifier is a public function, or the way a library goes, that decides
// by an error what to do next.
type classifier struct {
	name string
	says func(error) string
}

var classifiers = []classifier{
	{"Kubernetes IsProbableEOF", yes(utilnet.IsProbableEOF)},
	{"Kubernetes IsConnectionReset", yes(utilnet.IsConnectionReset)},
	{"Kubernetes IsConnectionRefused", yes(utilnet.IsConnectionRefused)},
	{"Kubernetes IsTimeout", yes(utilnet.IsTimeout)},
	{"Kubernetes IsHTTP2ConnectionLost", yes(utilnet.IsHTTP2ConnectionLost)},

	{"AWS RetryableConnectionError", retryable(retry.RetryableConnectionError{})},
	{"AWS NoRetryCanceledError", retryable(retry.NoRetryCanceledError{})},
	{"AWS DefaultRetryables", retryable(retry.IsErrorRetryables(retry.DefaultRetryables))},
	{"AWS DefaultTimeouts", timeout(retry.IsErrorTimeouts(retry.DefaultTimeouts))},
	// As the SDK's own HTTP client hands the error on.
	{"AWS DefaultRetryables, from its client", func(err error) string {
		return retryable(retry.IsErrorRetryables(retry.DefaultRetryables))(&smithyhttp.RequestSendError{Err: err})
	}},
	{"AWS DefaultTimeouts, from its client", func(err error) string {
		return timeout(retry.IsErrorTimeouts(retry.DefaultTimeouts))(&smithyhttp.RequestSendError{Err: err})
	}},
	{"AWS RetryableConnectionError, from its client", func(err error) string {
		return retryable(retry.RetryableConnectionError{})(&aws.RequestCanceledError{Err: err})
	}},

	{"go-retryablehttp DefaultRetryPolicy", checkRetry(retryablehttp.DefaultRetryPolicy)},
	{"go-retryablehttp ErrorPropagatedRetryPolicy", checkRetry(retryablehttp.ErrorPropagatedRetryPolicy)},
	{"azcore retry policy, attempts", azureAttempts},
	{"connect code", connectCode},
}

func yes(f func(error) bool) func(error) string {
	return func(err error) string { return fmt.Sprint(f(err)) }
}

func retryable(r retry.IsErrorRetryable) func(error) string {
	return func(err error) string { return r.IsErrorRetryable(err).String() }
}

func timeout(r retry.IsErrorTimeout) func(error) string {
	return func(err error) string { return r.IsErrorTimeout(err).String() }
}

func checkRetry(f retryablehttp.CheckRetry) func(error) string {
	return func(err error) string {
		again, handedOn := f(context.Background(), nil, err)
		return fmt.Sprintf("again %v, error handed on %v", again, handedOn != nil)
	}
}

// failing is an HTTP client that always returns err.
type failing struct {
	err   error
	calls int
}

func (f *failing) Do(req *http.Request) (*http.Response, error) {
	f.calls++
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	return nil, f.err
}

// azureAttempts counts how often azcore's retry policy, whose judgement is not
// exported, sends a request that fails with err.
func azureAttempts(err error) string {
	f := &failing{err: err}
	_, got := azurePipeline(f).Do(azureRequest("GET", "http://unused.invalid/", nil))
	return fmt.Sprintf("%d, error handed on %v", f.calls, errors.Is(got, err))
}

func azurePipeline(t policy.Transporter) runtime.Pipeline {
	return runtime.NewPipeline("interop", "v0", runtime.PipelineOptions{}, &policy.ClientOptions{
		Transport: t,
		Retry:     policy.RetryOptions{MaxRetries: 2, RetryDelay: 1},
		Telemetry: policy.TelemetryOptions{Disabled: true},
	})
}

func azureRequest(method, url string, body io.ReadSeekCloser) *policy.Request {
	req, err := runtime.NewRequest(context.Background(), method, url)
	if err == nil && body != nil {
		err = req.SetBody(body, "text/plain")
	}
	if err != nil {
		panic(err) // the tests' own mistake
	}
	return req
}

// connectCode is what connect-go tells its caller of a call that fails with
// err. It goes by the beginning of the text of HTTP/2's stream errors.
func connectCode(err error) string {
	c := connect.NewClient[emptypb.Empty, emptypb.Empty](&failing{err: err}, "http://unused.invalid/s/m", connect.WithGRPC())
	_, got := c.CallUnary(context.Background(), connect.NewRequest(&emptypb.Empty{}))
	return connect.CodeOf(got).String()
}
