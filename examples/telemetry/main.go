// Telemetry makes calls that carry an OAuth 2 token and leave an OpenTelemetry
// span to an API that closes connections under its clients, once on
// http.Transport and once on idlewise.
//
//	go run .
//
// It exits with 1 if oauth2 or otelhttp saw a fault through idlewise, if there
// was none to see, or if the spans do not tell of it.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/examples/internal/trial"
	"github.com/idlewise/idlewise/faultserver"
)

const (
	rounds = 24
	idle   = 150 * time.Millisecond // after which the server closes a connection
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal("telemetry: ", err)
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

	fmt.Fprintln(out, "An API, and what gives tokens for it, that close connections under their clients:")
	told := make(map[*trial.Run]*spans)
	for _, r := range []*trial.Run{theirs, ours} {
		told[r] = newSpans()
	}
	err = trial.Compare(out, theirs, ours, func(r *trial.Run) error { return calls(ctx, r, told[r], r == ours) })
	fmt.Fprintln(out)
	for _, r := range []*trial.Run{theirs, ours} {
		fmt.Fprintf(out, "%s: %v.\n", r.Name, told[r])
	}
	if err != nil {
		return err
	}
	return told[ours].wanting(rounds)
}

func start(name string) (*trial.Run, error) {
	r, err := trial.Start(name, faultserver.Config{
		Handler:     http.HandlerFunc(serve),
		IdleTimeout: idle,
		Faults: []faultserver.Fault{
			{Kind: faultserver.FinAfterRequest, Path: "/token", ReusedOnly: true, Probability: 0.3},
			{Kind: faultserver.RstAfterRequest, Path: "/items/*", ReusedOnly: true, Probability: 0.3},
		},
		Seed: 1,
	})
	if err != nil {
		return nil, err
	}
	r.Above, r.Twice = "chain", true // to ask for a token twice does no harm
	return r, nil
}

// serve gives out tokens that are good for one call, and takes them.
func serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/token":
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token": "secret", "token_type": "Bearer", "expires_in": 1}`)
	case r.Header.Get("Authorization") != "Bearer secret":
		http.Error(w, "no token", http.StatusUnauthorized)
	default:
		faultserver.Echo.ServeHTTP(w, r)
	}
}

func calls(ctx context.Context, r *trial.Run, told *spans, ours bool) error {
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
	}
	client := newClient(r.Watch(transport), newTokens(ctx, transport, r.Server.URL+"/token"), told.provider)
	for round := range rounds {
		item := fmt.Sprintf("/items/%d", round)
		r.Do("PUT", func() error { return put(ctx, client, r.Server.URL+item, item) })
		pause := idle / 3
		if round%3 == 0 {
			pause = idle
		}
		time.Sleep(pause)
	}
	return nil
}

func put(ctx context.Context, client *http.Client, url, body string) error {
	req, err := http.NewRequestWithContext(ctx, "PUT", url, strings.NewReader(body))
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

// spans keeps the spans of a run, in place of an exporter.
type spans struct {
	*tracetest.SpanRecorder
	provider *sdktrace.TracerProvider
}

func newSpans() *spans {
	recorder := tracetest.NewSpanRecorder()
	return &spans{recorder, sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))}
}

// count returns how many spans there are, how many of them are errors, and of how
// many resends they tell.
func (s *spans) count() (all, failed, resent int) {
	for _, span := range s.Ended() {
		all++
		if span.Status().Code == codes.Error {
			failed++
		}
		for _, e := range span.Events() {
			if e.Name == "resent" {
				resent++
			}
		}
	}
	return all, failed, resent
}

func (s *spans) String() string {
	all, failed, resent := s.count()
	return fmt.Sprintf("%d spans, %d of them errors, with %d events of resends", all, failed, resent)
}

// wanting says what is wrong with the spans of n calls that all met faults now
// and then.
func (s *spans) wanting(n int) error {
	all, failed, resent := s.count()
	if all != n || failed > 0 || resent == 0 {
		return fmt.Errorf("%d calls left %v", n, s)
	}
	return nil
}
