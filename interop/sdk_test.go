package interop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// These tests run the libraries' own retries over both transports, and compare
// how often a library called its transport.

// A counted client counts its calls.
type counted struct {
	*http.Client
	calls int
}

func (c *counted) Do(req *http.Request) (*http.Response, error) {
	c.calls++
	return c.Client.Do(req)
}

func (c *counted) RoundTrip(req *http.Request) (*http.Response, error) {
	c.calls++
	return c.Client.Transport.RoundTrip(req)
}

type seekable struct{ *bytes.Reader }

func (seekable) Close() error { return nil }

// A stale connection meets a library that repeats what fails: net/http lets it
// see the failure, idlewise only where the request must not be repeated.
var staleCalls = []struct {
	method             string
	theirs, ours, wire int // calls, and requests that came to the server
}{
	{"PUT", 2, 1, 2},
	{"POST", 2, 2, 2},
	{"GET", 1, 1, 2},
}

func (s *side) stale() *faultserver.Server {
	srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.FinAfterRequest, ReusedOnly: true, Times: 1}))
	s.warm(srv.URL)
	return srv
}

func (s *side) calledAs(theirs, ours, got int) {
	want := theirs
	if s.ours {
		want = ours
	}
	require.Equal(s, want, got, "calls of the transport")
}

func TestAzcoreRetriesAsWithHTTPTransport(t *testing.T) {
	for _, row := range staleCalls {
		t.Run(row.method, func(t *testing.T) {
			bothSides(t, http1, func(s *side) {
				srv := s.stale()
				c := &counted{Client: s.client()}
				var body io.ReadSeekCloser
				if row.method != "GET" {
					body = seekable{bytes.NewReader([]byte("body"))}
				}
				resp, err := azurePipeline(c).Do(azureRequest(row.method, srv.URL+"/", body))
				require.NoError(s, err)
				require.NoError(s, resp.Body.Close())
				require.Equal(s, http.StatusOK, resp.StatusCode)
				s.calledAs(row.theirs, row.ours, c.calls)
				s.sees(srv, row.wire)
			})
		})
	}
}

func TestGoRetryablehttpRetriesAsWithHTTPTransport(t *testing.T) {
	for _, row := range staleCalls {
		t.Run(row.method, func(t *testing.T) {
			bothSides(t, http1, func(s *side) {
				srv := s.stale()
				c := &counted{Client: s.client()}
				retrying := retryablehttp.NewClient()
				retrying.HTTPClient = &http.Client{Transport: c}
				retrying.Logger = nil
				retrying.RetryWaitMin, retrying.RetryWaitMax = time.Nanosecond, time.Nanosecond
				var body any
				if row.method != "GET" {
					body = []byte("body")
				}
				req, err := retryablehttp.NewRequest(row.method, srv.URL+"/", body)
				require.NoError(s, err)
				resp, err := retrying.Do(req)
				require.NoError(s, err)
				require.NoError(s, resp.Body.Close())
				s.calledAs(row.theirs, row.ours, c.calls)
				s.sees(srv, row.wire)
			})
		})
	}
}

// The SDK's own HTTP client and standard retryer, around a call that fails.
func TestTheAWSRetryerJudgesAsWithHTTPTransport(t *testing.T) {
	for _, row := range []struct {
		name      string
		fault     faultserver.Fault
		cancel    bool
		retryable bool
	}{
		{name: "ended", fault: finAfter, retryable: true},
		{name: "reset", fault: rstAfter, retryable: true},
		{name: "cut in mid-header", fault: faultserver.Fault{Kind: faultserver.CloseInHeaders}, retryable: true},
		{name: "canceled", fault: faultserver.Fault{Kind: faultserver.NeverAnswer}, cancel: true, retryable: false},
	} {
		t.Run(row.name, func(t *testing.T) {
			bothSides(t, http1, func(s *side) {
				fault := only(row.fault)
				fault.ReusedOnly = true
				srv := s.start(nil, fault)
				s.warm(srv.URL)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				watched := make(chan struct{})
				go func() {
					defer close(watched)
					if row.cancel {
						srv.Journal().Wait(s.soon(), func() bool { return len(srv.Journal().Requests()) == 2 })
						cancel()
					}
				}()
				req := smithyhttp.NewStackRequest().(*smithyhttp.Request)
				req.Method, req.URL = "POST", mustParse(s, srv.URL+"/")
				req, err := req.SetStream(strings.NewReader("body"))
				require.NoError(s, err)
				_, _, err = smithyhttp.NewClientHandlerWithOptions(s.client()).Handle(ctx, req)
				require.Error(s, err)
				<-watched
				require.Equal(s, row.retryable, retry.NewStandard().IsErrorRetryable(err), "%v", err)
				var canceled *smithy.CanceledError
				require.Equal(s, row.cancel, errors.As(err, &canceled))
				s.sees(srv, 1)
			})
		})
	}
}
