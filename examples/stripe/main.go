// Stripe makes payments by stripe-go with a server that ends connections under its
// clients, now and then after it has executed the payment: once on http.Transport,
// once on idlewise.
//
//	go run .
//
// It exits with 1 if stripe-go saw a fault through idlewise, if there was none to
// see, or if a payment was made twice.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/stripe/stripe-go/v82"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/examples/internal/trial"
	"github.com/idlewise/idlewise/faultserver"
)

const (
	payments = 16
	idle     = 150 * time.Millisecond // after which the server closes a connection
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal("stripe: ", err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	banks := make(map[*trial.Run]*bank)
	var runs []*trial.Run
	for _, name := range []string{"http.Transport", "idlewise"} {
		b := newBank()
		r, err := start(name, b)
		if err != nil {
			return err
		}
		defer r.Close()
		banks[r] = b
		runs = append(runs, r)
	}
	theirs, ours := runs[0], runs[1]
	fmt.Fprintln(out, "A payment API, over HTTP/2, that ends connections under its clients:")
	if err := trial.Compare(out, theirs, ours, func(r *trial.Run) error { return calls(ctx, r, r == ours) }); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, r := range runs {
		made, replayed := banks[r].count()
		fmt.Fprintf(out, "%s: %d payments for %d calls; %d came again with a key that the server knew.\n", r.Name, made, payments, replayed)
		if made != payments {
			return fmt.Errorf("%s: %d payments, want %d", r.Name, made, payments)
		}
	}
	if _, replayed := banks[ours].count(); replayed == 0 {
		return fmt.Errorf("no payment's answer was lost: it proves nothing")
	}
	return nil
}

func start(name string, b *bank) (*trial.Run, error) {
	r, err := trial.Start(name, faultserver.Config{
		Handler:     b,
		TLS:         true, // and so HTTP/2
		IdleTimeout: idle,
		Faults: []faultserver.Fault{
			{Kind: faultserver.CloseWithoutGoAway, Method: "POST", ReusedOnly: true, Executed: true, Probability: 0.4},
			{Kind: faultserver.CloseWithoutGoAway, Method: "GET", ReusedOnly: true, Probability: 0.4},
		},
		Seed: 3,
	})
	if err != nil {
		return nil, err
	}
	r.Twice = true // the server knows a key that comes again
	return r, nil
}

// newClient returns a stripe client on a transport.
func newClient(rt http.RoundTripper, url string) *stripe.Client {
	return stripe.NewClient("sk_test_1", stripe.WithBackends(stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		HTTPClient:      &http.Client{Transport: rt},
		URL:             stripe.String(url),
		LeveledLogger:   &stripe.LeveledLogger{Level: stripe.LevelNull},
		EnableTelemetry: stripe.Bool(false),
	})))
}

func calls(ctx context.Context, r *trial.Run, ours bool) error {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.TLSClientConfig = r.Server.TLSClientConfig()
	defer base.CloseIdleConnections()
	var transport http.RoundTripper = base
	if ours {
		t, err := idlewise.New(idlewise.Config{Base: base})
		if err != nil {
			return err
		}
		defer t.Close()
		transport = t
	}
	client := newClient(r.Watch(transport), r.Server.URL)
	for payment := range payments {
		amount := int64(100 + payment)
		var id string
		r.Do("create", func() error {
			p, err := client.V1PaymentIntents.Create(ctx, &stripe.PaymentIntentCreateParams{Amount: &amount, Currency: stripe.String("eur")})
			if err != nil {
				return err
			}
			id = p.ID
			return nil
		})
		time.Sleep(idle / 3)
		r.Do("retrieve", func() error {
			p, err := client.V1PaymentIntents.Retrieve(ctx, id, nil)
			if err == nil && p.Amount != amount {
				err = fmt.Errorf("%s is about %d, want %d", id, p.Amount, amount)
			}
			return err
		})
		pause := idle / 3
		if payment%4 == 3 {
			pause = idle
		}
		time.Sleep(pause)
	}
	return nil
}
