package main

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

func TestMain(m *testing.M) {
	// client-go's log, which runs as long as the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"))
}

func TestClientGoSeesNoFaultThroughIdlewise(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// client-go repeats up to ten times what is to be repeated, and idlewise adds
// nothing.
func TestIdlewiseAddsNoAttemptToClientGosEleven(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{
		Handler: newAPI(),
		Faults:  []faultserver.Fault{{Kind: faultserver.Status, Code: http.StatusTooManyRequests, Value: "0"}},
	})
	cfg := &rest.Config{Host: s.URL}
	r := useIdlewise(cfg, time.Minute, idlewise.Config{})
	pods, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.CloseIdleConnections()
	_, err = pods.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace("default").List(t.Context(), metav1.ListOptions{})
	if err == nil {
		t.Error("no error")
	}
	if n := len(s.Journal().Requests()); n != 11 {
		t.Errorf("%d requests on the wire, want client-go's 11", n)
	}
}

func TestACAFileThatIsBrokenOrMissingChangesNothing(t *testing.T) {
	cert, ca, err := newCertificate()
	if err != nil {
		t.Fatal(err)
	}
	s := faultserver.Start(t, faultserver.Config{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, TLS: true})
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := replace(file, ca); err != nil {
		t.Fatal(err)
	}
	cfg := &rest.Config{Host: s.URL, TLSClientConfig: rest.TLSClientConfig{CAFile: file}}
	r := useIdlewise(cfg, 0, idlewise.Config{}) // read for every request
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	get := func() {
		t.Helper()
		resp, err := client.Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	get()
	before := r.current
	if err := replace(file, []byte("no certificate")); err != nil {
		t.Fatal(err)
	}
	get()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	get()
	if r.current != before {
		t.Error("the Transport was replaced")
	}
	if err := replace(file, append(ca, '\n')); err != nil {
		t.Fatal(err)
	}
	get()
	if r.current == before {
		t.Error("the Transport was not replaced")
	}
}
