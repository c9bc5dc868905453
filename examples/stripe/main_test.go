package main

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/stripe/stripe-go/v82"
	"go.uber.org/goleak"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStripeGoSeesNoFaultThroughIdlewise(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestIdlewiseAddsNoAttemptToStripeGosThree(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.Status, Code: http.StatusServiceUnavailable}}})
	transport, err := idlewise.New(idlewise.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	client := newClient(transport, s.URL)
	_, err = client.V1PaymentIntents.Create(t.Context(), &stripe.PaymentIntentCreateParams{Amount: stripe.Int64(1), Currency: stripe.String("eur")})
	if err == nil {
		t.Error("no error")
	}
	if n := len(s.Journal().Requests()); n != 3 {
		t.Errorf("%d requests on the wire, want stripe-go's 3", n)
	}
}
