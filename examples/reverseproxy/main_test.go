package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/idlewise/idlewise/faultserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClientsSeeNoFaultThroughIdlewise(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// A body beyond what is kept passes through, once.
func TestALargeBodyThatMeetsAStaleConnectionIsNotRepeated(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.FinAfterRequest, Method: "PUT", ReusedOnly: true}}})
	backend, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := newTransport(backend, &http.Transport{})
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	proxy := newProxy(backend, transport)
	for _, row := range []struct{ size, status, sent int }{
		{64 << 10, http.StatusOK, 2},
		{64<<10 + 1, http.StatusBadGateway, 1},
	} {
		proxy.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)) // leaves a connection
		before := len(s.Journal().Requests())
		w := httptest.NewRecorder()
		body := io.MultiReader(strings.NewReader(strings.Repeat("a", row.size))) // as a server has it
		req := httptest.NewRequest("PUT", "/", body)
		req.ContentLength = int64(row.size)
		proxy.ServeHTTP(w, req)
		if n := len(s.Journal().Requests()) - before; w.Code != row.status || n != row.sent {
			t.Errorf("%d bytes: status %d and %d requests, want %d and %d", row.size, w.Code, n, row.status, row.sent)
		}
	}
}
