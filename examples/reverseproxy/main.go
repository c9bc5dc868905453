// Reverseproxy sends requests through an httputil.ReverseProxy to a backend that
// closes connections under it, once with http.Transport in the proxy and once with
// idlewise.
//
//	go run ./examples/reverseproxy
//
// It exits with 1 if a client saw a fault through idlewise, or if there was none
// to see.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/idlewise/idlewise/examples/internal/trial"
	"github.com/idlewise/idlewise/faultserver"
)

const (
	callers = 4
	rounds  = 8
	idle    = 300 * time.Millisecond // after which the backend closes a connection
	latency = 25 * time.Millisecond  // of the way there, and of the way back
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal("reverseproxy: ", err)
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
	fmt.Fprintln(out, "A reverse proxy before a backend that closes connections under it:")
	return trial.Compare(out, theirs, ours, func(r *trial.Run) error { return calls(ctx, r, r == ours) })
}

func start(name string) (*trial.Run, error) {
	r, err := trial.Start(name, faultserver.Config{
		IdleTimeout: idle,
		Faults: []faultserver.Fault{
			{Kind: faultserver.Latency, After: latency},
			{Kind: faultserver.FinAfterRequest, Method: "PUT", IdleAtLeast: idle / 4, Probability: 0.5},
			{Kind: faultserver.RstAfterRequest, Method: "DELETE", IdleAtLeast: idle / 4, Probability: 0.5},
		},
		Seed: 1,
	})
	if err != nil {
		return nil, err
	}
	r.Above = "proxy"
	return r, nil
}

func calls(ctx context.Context, r *trial.Run, ours bool) error {
	backend, err := url.Parse(r.Server.URL)
	if err != nil {
		return err
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = callers
	defer base.CloseIdleConnections()
	var transport http.RoundTripper = base
	if ours {
		t, err := newTransport(backend, base)
		if err != nil {
			return err
		}
		defer t.Close()
		transport = t
	}
	front := httptest.NewServer(newProxy(backend, r.Watch(transport)))
	defer front.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no races of its own

	trial.Callers(callers, func(caller int) {
		for round := range rounds {
			item := fmt.Sprintf("/items/%d-%d", caller, round)
			r.Do("POST", func() error { return send(ctx, client, "POST", front.URL+"/items", item) })
			time.Sleep(idle / 3)
			r.Do("PUT", func() error { return send(ctx, client, "PUT", front.URL+item, item) })
			time.Sleep(idle / 3)
			r.Do("DELETE", func() error { return send(ctx, client, "DELETE", front.URL+item, "") })
			// The next POST is on its way when the backend's close is, too.
			time.Sleep(idle - latency)
		}
	})
	return nil
}

func send(ctx context.Context, client *http.Client, method, url, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
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
		return fmt.Errorf("%s %s: %s", method, req.URL.Path, resp.Status)
	}
	return nil
}
