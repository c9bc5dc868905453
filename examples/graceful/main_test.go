package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/idlewise/idlewise"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheServerEndsBeforeTheTransport(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), idlewise.ErrClosed.Error()) {
		t.Errorf("the wrong order does not fail for the transport:\n%s", out.String())
	}
}

func TestADrainedTransportTakesNoRequests(t *testing.T) {
	transport, err := idlewise.New(idlewise.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newService("http://127.0.0.1:1", transport)
	if err != nil {
		t.Fatal(err)
	}
	if err := drain(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := s.call(t.Context(), "/"); !errors.Is(err, idlewise.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if err := s.ask(t.Context()); err == nil {
		t.Error("the server still answers")
	}
}
