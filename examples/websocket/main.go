// Websocket keeps a WebSocket open through a load balancer that ends it again and
// again, and reports by PUT in between, over the same transport: once
// http.Transport, once idlewise.
//
//	go run .
//
// It exits with 1 if its client saw a fault of PUTs and handshakes through
// idlewise, if there was none to see, or if idlewise does not say truthfully how
// the WebSockets ended.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/examples/internal/trial"
	"github.com/idlewise/idlewise/faultserver"
)

const (
	sessions = 8
	messages = 4                      // in each
	idle     = 100 * time.Millisecond // after which the load balancer closes a connection
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal("websocket: ", err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	backend := httptest.NewServer(http.HandlerFunc(serve))
	defer backend.Close()
	theirs, err := start("http.Transport", backend.URL)
	if err != nil {
		return err
	}
	defer theirs.Close()
	ours, err := start("idlewise", backend.URL)
	if err != nil {
		return err
	}
	defer ours.Close()

	fmt.Fprintln(out, "A load balancer that ends WebSockets, and connections between requests:")
	ends := make(chan idlewise.UpgradeEnd, sessions)
	if err := trial.Compare(out, theirs, ours, func(r *trial.Run) error { return calls(ctx, r, r == ours, ends) }); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for range sessions {
		select {
		case end := <-ends:
			fmt.Fprintln(out, end)
			if end.By != idlewise.EndedByServerRST {
				return fmt.Errorf("the load balancer reset it, and idlewise says: %v", end)
			}
		case <-ctx.Done():
			return errors.New("idlewise did not say how all WebSockets ended")
		}
	}
	return nil
}

// start starts a load balancer in front of the backend.
func start(name, backend string) (*trial.Run, error) {
	proxy, err := faultserver.Proxy(backend, faultserver.ProxyOptions{})
	if err != nil {
		return nil, err
	}
	r, err := trial.Start(name, faultserver.Config{
		Handler:     proxy,
		IdleTimeout: idle,
		Faults: []faultserver.Fault{
			{Kind: faultserver.RstAfterRequest, Method: "PUT", ReusedOnly: true, Probability: 0.5},
			{Kind: faultserver.FinAfterRequest, Method: "GET", ReusedOnly: true, Probability: 0.5},
		},
		Seed: 1,
	})
	if err != nil {
		return nil, err
	}
	r.Above = "client"
	return r, nil
}

// serve is the backend: it echoes messages, and takes reports.
func serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		io.Copy(io.Discard, r.Body)
		return
	}
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}

// calls holds the sessions, and makes two reports before each.
func calls(ctx context.Context, r *trial.Run, ours bool, ends chan<- idlewise.UpgradeEnd) error {
	base := http.DefaultTransport.(*http.Transport).Clone()
	defer base.CloseIdleConnections()
	var transport http.RoundTripper = base
	if ours {
		t, err := idlewise.New(idlewise.Config{Base: base})
		if err != nil {
			return err
		}
		defer t.Close()
		transport = t
		ctx = idlewise.WithTrace(ctx, &idlewise.Trace{UpgradeDone: func(e idlewise.UpgradeEnd) { ends <- e }})
	}
	client := &http.Client{Transport: r.Watch(transport)}
	for session := range sessions {
		r.Do("report", func() error { return report(ctx, client, r.Server.URL, "connecting") })
		time.Sleep(idle / 2)
		r.Do("report", func() error { return report(ctx, client, r.Server.URL, "still connecting") })
		var c *websocket.Conn
		r.Do("handshake", func() error {
			var err error
			c, _, err = websocket.Dial(ctx, r.Server.URL+"/socket", &websocket.DialOptions{HTTPClient: client})
			return err
		})
		if c == nil {
			continue
		}
		for n := range messages {
			if err := echo(ctx, c, fmt.Sprintf("message %d of session %d", n, session)); err != nil {
				return fmt.Errorf("in mid-session: %w", err)
			}
			time.Sleep(idle / 2)
		}
		r.Server.Kill() // as a load balancer that finds it has lived long enough
		if err := echo(ctx, c, "one more"); err == nil {
			return errors.New("a message was echoed after the end")
		}
		c.CloseNow()
		time.Sleep(idle)
	}
	return nil
}

func echo(ctx context.Context, c *websocket.Conn, message string) error {
	if err := c.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		return err
	}
	_, got, err := c.Read(ctx)
	if err == nil && string(got) != message {
		err = fmt.Errorf("the echo of %q is %q", message, got)
	}
	return err
}

func report(ctx context.Context, client *http.Client, url, text string) error {
	req, err := http.NewRequestWithContext(ctx, "PUT", url+"/report", strings.NewReader(text))
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
		return fmt.Errorf("PUT %s: %s", url, resp.Status)
	}
	return nil
}
