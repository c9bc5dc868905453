package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClientsSeeNoFaultThroughIdlewise(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestSmallBodiesCanBeSentAgainAndLargeOnesPassThrough(t *testing.T) {
	for _, size := range []int{0, 1, 10, 11} {
		body := strings.Repeat("a", size)
		handler := replayable(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if got, err := io.ReadAll(r.Body); err != nil || string(got) != body {
				t.Errorf("%d bytes: got %q, %v", size, got, err)
			}
			if kept := size > 0 && size <= 10; (r.GetBody != nil) != kept {
				t.Errorf("%d bytes: kept: %t", size, r.GetBody != nil)
			} else if kept {
				again, err := r.GetBody()
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(again); err != nil || string(got) != body {
					t.Errorf("%d bytes again: got %q, %v", size, got, err)
				}
			}
		}), 10)
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(body)))
	}
}
