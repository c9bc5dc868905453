package main

import (
	"bytes"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.uber.org/goleak"
	"golang.org/x/oauth2"

	"github.com/idlewise/idlewise"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheChainSeesNoFaultThroughIdlewise(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// The other way round idlewise would do nothing of what the layers do, and says
// so.
func TestIdlewiseDoesNotGoAroundTheOthers(t *testing.T) {
	_, err := idlewise.Wrap(otelhttp.NewTransport(nil), idlewise.Config{})
	if err == nil || !strings.Contains(err.Error(), "put idlewise under it") {
		t.Errorf("around otelhttp: %v", err)
	}
	if _, err = idlewise.Wrap(&oauth2.Transport{}, idlewise.Config{}); err == nil || !strings.Contains(err.Error(), "put idlewise under it") {
		t.Errorf("around oauth2: %v", err)
	}
}
