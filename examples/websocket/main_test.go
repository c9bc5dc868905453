package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/idlewise/idlewise"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheProgramSeesNoFaultThroughIdlewise(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestAWebSocketOutlivesItsTransport(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(serve))
	defer backend.Close()
	transport, err := idlewise.New(idlewise.Config{Policies: idlewise.Policies{Default: idlewise.Policy{MaxConns: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	c, _, err := websocket.Dial(t.Context(), backend.URL, &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := report(t.Context(), client, backend.URL, "beside it"); err != nil {
		t.Error("MaxConns:", err)
	}
	if err := transport.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := echo(t.Context(), c, "still here"); err != nil {
		t.Error(err)
	}
}
