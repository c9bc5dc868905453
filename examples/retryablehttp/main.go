// Retryablehttp sends requests by hashicorp/go-retryablehttp to a server that
// closes connections under its clients, once with http.Transport beneath it and
// once with idlewise.
//
//	go run .
//
// It exits with 1 if go-retryablehttp saw a fault through idlewise, or if there
// was none to see.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/examples/internal/trial"
	"github.com/idlewise/idlewise/faultserver"
)

const (
	callers = 4
	rounds  = 8
	idle    = 300 * time.Millisecond // after which the server closes a connection
	latency = 25 * time.Millisecond  // of the way there, and of the way back
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal("retryablehttp: ", err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	theirs, err := start("http.Transport")
	if err != nil {
		return err
	}
	defer theirs.Close()
	ours, err := start("idlewise")
	if err != nil {
		return err
	}
	defer ours.Close()
	fmt.Fprintln(out, "A server 25 ms away that closes connections under its clients:")
	return trial.Compare(out, theirs, ours, func(r *trial.Run) error { return calls(ctx, r, r == ours) })
}

func start(name string) (*trial.Run, error) {
	return trial.Start(name, faultserver.Config{
		IdleTimeout: idle,
		Faults: []faultserver.Fault{
			{Kind: faultserver.Latency, After: latency},
			{Kind: faultserver.FinAfterRequest, Method: "PUT", IdleAtLeast: idle / 4, Probability: 0.5},
			{Kind: faultserver.RstAfterRequest, Method: "DELETE", IdleAtLeast: idle / 4, Probability: 0.5},
		},
		Seed: 1,
	})
}

func calls(ctx context.Context, r *trial.Run, ours bool) error {
	base := http.DefaultTransport.(*http.Transport).Clone()
	defer base.CloseIdleConnections()
	client := newClient(r.Watch(base))
	if ours {
		transport, err := idlewise.New(idlewise.Config{
			Base:     base,
			Policies: idlewise.Policies{Default: idlewise.Policy{ServerKeepAlive: idle}},
		})
		if err != nil {
			return err
		}
		defer transport.Close()
		client = newClient(r.Watch(transport))
	}
	trial.Callers(callers, func(caller int) {
		for round := range rounds {
			item := fmt.Sprintf("/items/%d-%d", caller, round)
			r.Do("POST", func() error { return send(ctx, client, "POST", r.Server.URL+"/items", item) })
			time.Sleep(idle / 3)
			r.Do("PUT", func() error { return send(ctx, client, "PUT", r.Server.URL+item, item) })
			time.Sleep(idle / 3)
			r.Do("DELETE", func() error { return send(ctx, client, "DELETE", r.Server.URL+item, "") })
			// The next POST is on its way when the server's close is, too.
			time.Sleep(idle - latency)
		}
	})
	return nil
}

func send(ctx context.Context, client *retryablehttp.Client, method, url, body string) error {
	req, err := retryablehttp.NewRequestWithContext(ctx, method, url, []byte(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	return nil
}
