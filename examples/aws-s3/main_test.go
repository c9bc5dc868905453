package main

import (
	"bytes"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheSDKSeesNoFaultThroughIdlewise(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "") // restored afterwards
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestTheSDKRefusesAClientWhenABundleIsSet(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{TLS: true})
	t.Setenv("AWS_CA_BUNDLE", bundle(t, s))
	_, err := load(t.Context(), s.URL, config.WithHTTPClient(&http.Client{}))
	if err == nil || !strings.Contains(err.Error(), "WithTransportOptions") {
		t.Errorf("useIdlewise is not needed any more: %v", err)
	}
}

func TestAConfigurationWithAClientIsRefusedWithTheRemedy(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	cfg, err := load(t.Context(), "http://localhost", config.WithHTTPClient(&http.Client{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := useIdlewise(&cfg, idlewise.Config{}); err == nil || !strings.Contains(err.Error(), "without config.WithHTTPClient") {
		t.Errorf("got %v", err)
	}
}

// The attempts of a server that has no time: as many as without idlewise.
func TestIdlewiseAddsNoAttemptToTheSDKsThree(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.Status, Code: http.StatusServiceUnavailable}}})
	cfg, err := load(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := useIdlewise(&cfg, idlewise.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	if err := put(t.Context(), client, "key", []byte("object")); err == nil {
		t.Error("no error")
	}
	if n := len(s.Journal().Requests()); n != 3 {
		t.Errorf("%d requests on the wire, want the SDK's 3", n)
	}
}

// A stale connection costs one request more on the wire, and no attempt.
func TestASmallObjectIsSentAgain(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.FinAfterRequest, ReusedOnly: true, Times: 1}}})
	cfg, err := load(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := useIdlewise(&cfg, idlewise.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle, o.Retryer = true, aws.NopRetryer{} })
	for range 2 {
		if err := put(t.Context(), client, "key", []byte("object")); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Journal().Requests()); n != 3 {
		t.Errorf("%d requests on the wire, want one for each object and one more", n)
	}
}

// A large object is not sent before the server has said that it wants it. So it
// can be sent again, though nobody keeps it.
func TestALargeObjectIsSentAgain(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.CloseOnReuse, Times: 1}}})
	cfg, err := load(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := useIdlewise(&cfg, idlewise.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle, o.Retryer = true, aws.NopRetryer{} })
	var waited atomic.Int64 // net/http calls it where it writes
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Wait100Continue: func() { waited.Add(1) }})
	for range 2 {
		if err := put(ctx, client, "key", make([]byte, maxReplay)); err != nil {
			t.Fatal(err)
		}
	}
	if waited.Load() != 3 || len(s.Journal().Conns()) != 2 {
		t.Errorf("%d waits for a 100 on %d connections, want 3 on 2", waited.Load(), len(s.Journal().Conns()))
	}
}

func bundle(t *testing.T, s *faultserver.Server) string {
	path := filepath.Join(t.TempDir(), "bundle.pem")
	if err := os.WriteFile(path, s.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
