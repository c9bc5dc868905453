package main

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"go.uber.org/goleak"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRetryablehttpSeesNoFaultThroughIdlewise(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestIdlewiseAddsNoAttemptToRetryablehttpsFive(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.Status, Code: http.StatusServiceUnavailable}}})
	if err := send(t.Context(), newClient(transport(t)), "PUT", s.URL, "body"); err == nil {
		t.Error("no error")
	}
	if n := len(s.Journal().Requests()); n != 5 {
		t.Errorf("%d requests on the wire, want go-retryablehttp's 5", n)
	}
}

// Why idlewise's own retries stay off: three of go-retryablehttp's attempts with
// two retries each are nine.
func TestTheRetriesOfBothMultiply(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.Status, Code: http.StatusServiceUnavailable}}})
	tr, err := idlewise.New(idlewise.Config{Policies: idlewise.Policies{Default: idlewise.Policy{
		Retry: idlewise.Retry{Max: 2, WaitMin: time.Millisecond, WaitMax: 2 * time.Millisecond},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	client := newClient(tr)
	client.RetryMax = 2
	if err := send(t.Context(), client, "PUT", s.URL, "body"); err == nil {
		t.Error("no error")
	}
	if n := len(s.Journal().Requests()); n != 9 {
		t.Errorf("%d requests on the wire, want 9", n)
	}
}

// The server executes the second POST and its answer is lost. The default policy
// would send it again.
func TestAPOSTThatMayHaveBeenExecutedIsNotRepeated(t *testing.T) {
	for _, fault := range []faultserver.Fault{
		{Kind: faultserver.FinAfterRequest, Executed: true, ReusedOnly: true},
		{Kind: faultserver.RstAfterRequest, Executed: true, ReusedOnly: true},
		{Kind: faultserver.FinAfterRequest, Executed: true, Nth: 2}, // on a new connection
	} {
		t.Run(fault.String(), func(t *testing.T) {
			s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{fault}})
			tr := transport(t)
			client := newClient(tr)
			if err := send(t.Context(), client, "POST", s.URL, "one"); err != nil {
				t.Fatal(err)
			}
			if fault.Nth > 0 {
				tr.CloseIdleConnections()
			}
			if err := send(t.Context(), client, "POST", s.URL, "two"); err == nil {
				t.Error("no error")
			}
			s.Journal().AssertEachExecutedOnce(t, "POST")
		})
	}
}

// Nobody listens at first: that nothing was executed is certain.
func TestAPOSTThatFoundNoServerIsRepeated(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	if err := s.Crash(); err != nil {
		t.Fatal(err)
	}
	client := newClient(transport(t))
	client.RequestLogHook = func(_ retryablehttp.Logger, _ *http.Request, retry int) {
		if retry == 2 {
			if err := s.Resume(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := send(t.Context(), client, "POST", s.URL, "body"); err != nil {
		t.Error(err)
	}
	s.Journal().AssertEachExecutedOnce(t, "POST")
}

func transport(t *testing.T) *idlewise.Transport {
	tr, err := idlewise.New(idlewise.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}
