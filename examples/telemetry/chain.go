package main

import (
	"context"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/idlewise/idlewise"
)

// newClient returns a client whose calls carry a token and leave a span, on a
// transport: idlewise is at the bottom, everything else around it.
func newClient(transport http.RoundTripper, tokens oauth2.TokenSource, spans trace.TracerProvider) *http.Client {
	authorized := &oauth2.Transport{Source: tokens, Base: resends{transport}}
	return &http.Client{Transport: otelhttp.NewTransport(authorized, otelhttp.WithTracerProvider(spans))}
}

// newTokens returns a source of tokens that are fetched over the same transport.
// To ask for a token a second time does no harm, so that these POSTs may be sent
// again.
func newTokens(ctx context.Context, transport http.RoundTripper, tokenURL string) oauth2.TokenSource {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: transport})
	cfg := clientcredentials.Config{
		ClientID: "id", ClientSecret: "secret", TokenURL: tokenURL,
		AuthStyle: oauth2.AuthStyleInHeader, // lest it tries the other after an error
	}
	return cfg.TokenSource(idlewise.WithIdempotent(ctx))
}

// resends makes what idlewise did about a call visible in the call's span.
type resends struct{ next http.RoundTripper }

func (r resends) RoundTrip(req *http.Request) (*http.Response, error) {
	span := trace.SpanFromContext(req.Context())
	if !span.IsRecording() {
		return r.next.RoundTrip(req)
	}
	ctx := idlewise.WithTrace(req.Context(), &idlewise.Trace{AttemptDone: func(a idlewise.Attempt) {
		if a.Resent {
			span.AddEvent("resent", trace.WithAttributes(
				attribute.String("idlewise.evidence", a.Evidence.String()),
				attribute.Int64("idlewise.idle_ms", a.IdleAge.Milliseconds()),
				attribute.String("idlewise.cause", a.Err.Error()),
			))
		}
	}})
	return r.next.RoundTrip(req.WithContext(ctx))
}
