package interop

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

// observed puts otelhttp around the transport and returns the recorder of its
// spans.
func (s *side) observed(opts ...otelhttp.Option) (*http.Client, *tracetest.SpanRecorder) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	s.Cleanup(func() { provider.Shutdown(context.Background()) })
	opts = append(opts, otelhttp.WithTracerProvider(provider), otelhttp.WithPropagators(propagation.TraceContext{}))
	return &http.Client{Transport: otelhttp.NewTransport(s.transport(), opts...)}, spans
}

func attributes(span sdktrace.ReadOnlySpan) map[attribute.Key]string {
	all := make(map[attribute.Key]string)
	for _, a := range span.Attributes() {
		all[a.Key] = a.Value.String()
	}
	return all
}

func TestOtelhttpRecordsASpanThatEndsWithTheBody(t *testing.T) {
	overProtos(t, func(s *side) {
		parents := make(chan string, 1)
		srv := s.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			parents <- r.Header.Get("Traceparent")
			io.Copy(w, r.Body)
		}))
		client, spans := s.observed()
		resp, err := client.Post(srv.URL+"/", "text/plain", strings.NewReader("body"))
		require.NoError(s, err)
		require.Empty(s, spans.Ended(), "the body is not read yet")
		body, err := io.ReadAll(resp.Body)
		require.NoError(s, err)
		require.NoError(s, resp.Body.Close())
		require.Equal(s, "body", string(body))

		require.Len(s, spans.Ended(), 1)
		span := spans.Ended()[0]
		require.Equal(s, trace.SpanKindClient, span.SpanKind())
		require.Equal(s, "200", attributes(span)["http.response.status_code"])
		require.Equal(s, codes.Unset, span.Status().Code)
		require.Contains(s, <-parents, span.SpanContext().SpanID().String(), "the server saw the span")
		require.Len(s, srv.Journal().Requests(), 1)
	}, http1, https, http2, h2c)
}

func TestOtelhttpRecordsTheErrorAndItsCause(t *testing.T) {
	bothSides(t, http1, func(s *side) {
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.FinAfterRequest, ReusedOnly: true}))
		s.warm(srv.URL)
		client, spans := s.observed()
		_, err := client.Post(srv.URL+"/", "text/plain", strings.NewReader("body"))
		require.ErrorIs(s, err, io.EOF)
		var judged *idlewise.Error
		require.Equal(s, s.ours, errors.As(err, &judged))
		require.Len(s, spans.Ended(), 1)
		span := spans.Ended()[0]
		require.Equal(s, codes.Error, span.Status().Code)
		require.True(s, strings.HasSuffix(span.Status().Description, "EOF"), span.Status().Description)
		s.sees(srv, 1)
	})
}

// One span, though two attempts were made: otelhttp is above the resend, and
// the body that it wraps is sent again.
func TestOtelhttpSeesOneRequestWhereIdlewiseMadeTwoAttempts(t *testing.T) {
	bothSides(t, http1, func(s *side) {
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.FinAfterRequest, ReusedOnly: true, Times: 1}))
		s.warm(srv.URL)
		client, spans := s.observed()
		req := s.request("PUT", srv.URL+"/", strings.Repeat("x", 10_000))
		resp, err := client.Do(req)
		require.Equal(s, s.ours, err == nil, "%v", err)
		if err == nil {
			text, err := io.ReadAll(resp.Body)
			require.NoError(s, err)
			require.NoError(s, resp.Body.Close())
			require.Equal(s, "PUT / 10000\n", string(text), "the whole body came again")
		}
		require.Len(s, spans.Ended(), 1)
		s.sees(srv, s.onceOrTwice())
	})
}

// otelhttptrace and its like hang an httptrace into the context.
func TestTheHooksThatOtelhttpInstallsFire(t *testing.T) {
	overProtos(t, func(s *side) {
		srv := s.start(nil)
		var mu sync.Mutex
		var fired []string
		note := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			fired = append(fired, what)
		}
		client, _ := s.observed(otelhttp.WithClientTrace(func(context.Context) *httptrace.ClientTrace {
			return &httptrace.ClientTrace{
				GetConn: func(string) { note("GetConn") },
				GotConn: func(i httptrace.GotConnInfo) {
					note(map[bool]string{false: "GotConn new", true: "GotConn reused"}[i.Reused])
				},
				WroteRequest:         func(httptrace.WroteRequestInfo) { note("WroteRequest") },
				GotFirstResponseByte: func() { note("GotFirstResponseByte") },
			}
		}))
		for range 2 {
			resp, err := client.Get(srv.URL)
			require.NoError(s, err)
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		require.Eventually(s, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(fired) == 8
		}, patience, time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		for i, conn := range []string{"GotConn new", "GotConn reused"} {
			// Over HTTP/2 the last two come from different goroutines.
			require.Equal(s, []string{"GetConn", conn}, fired[4*i:4*i+2])
			require.ElementsMatch(s, []string{"WroteRequest", "GotFirstResponseByte"}, fired[4*i+2:4*i+4])
		}
	}, http1, http2)
}

// otelhttp.Transport has no method that leads to what it wraps: Wrap says
// which type stands in the way, and what to do instead.
func TestWrapSaysToPutIdlewiseUnderOtelhttp(t *testing.T) {
	around := otelhttp.NewTransport(&http.Transport{})
	_, err := idlewise.Wrap(around, idlewise.Config{})
	require.ErrorContains(t, err, "*otelhttp.Transport")
	require.ErrorContains(t, err, "otelhttp.NewTransport(t)")

	_, err = idlewise.WrapClient(&http.Client{Transport: around}, idlewise.Config{})
	require.ErrorContains(t, err, "*otelhttp.Transport")
}

func TestClosingIdleConnectionsOfAClientWithOtelhttp(t *testing.T) {
	bothSides(t, http1, func(s *side) {
		srv := s.start(nil)
		client, _ := s.observed()
		get := func() {
			resp, err := client.Get(srv.URL)
			require.NoError(s, err)
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		get()
		s.client().CloseIdleConnections()
		get()
		require.Len(s, srv.Journal().Conns(), 2)
	})
}
