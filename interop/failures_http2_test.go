package interop

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// anyHTTP2 is HTTP/2 with and without TLS.
var anyHTTP2 = []proto{http2, h2c}

// Error codes of RFC 9113 §7.
const (
	protocolError     = 1
	internalError     = 2
	refusedStream     = 7
	cancelStream      = 8
	enhanceYourCalm   = 11
	http11Required    = 13
	inadequateSecrecy = 12
)

func reset(code uint32) faultserver.Fault {
	return faultserver.Fault{Kind: faultserver.ResetStream, Code: code}
}

func goAway(code uint32) faultserver.Fault {
	return faultserver.Fault{Kind: faultserver.GoAwayError, Code: code}
}

var failuresOfHTTP2 = []failure{
	{name: "GOAWAY with INTERNAL_ERROR, new connection, POST", over: anyHTTP2, provoke: func(s *side) error { return s.fresh(goAway(internalError), "POST", "body", 1) }},
	{name: "GOAWAY with ENHANCE_YOUR_CALM, new connection, GET", over: anyHTTP2, provoke: func(s *side) error { return s.fresh(goAway(enhanceYourCalm), "GET", "", s.onceOrTwice()) }},
	{name: "GOAWAY with INTERNAL_ERROR, reused connection, POST", over: anyHTTP2, provoke: func(s *side) error { return s.met(goAway(internalError), "POST", "body", 1) }},
	{name: "GOAWAY below a stream whose body cannot be repeated", over: anyHTTP2, provoke: func(s *side) error {
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.GoAwayBelow, ReusedOnly: true}))
		s.warm(srv.URL)
		return s.fail(s.once("POST", srv.URL+"/", "body"))
	}},
	{name: "closed without GOAWAY, new connection, GET", over: anyHTTP2, provoke: func(s *side) error {
		return s.fresh(faultserver.Fault{Kind: faultserver.CloseWithoutGoAway}, "GET", "", s.onceOrTwice())
	}},
	{name: "closed without GOAWAY, new connection, POST", over: anyHTTP2, provoke: func(s *side) error {
		return s.fresh(faultserver.Fault{Kind: faultserver.CloseWithoutGoAway}, "POST", "body", 1)
	}},
	{name: "closed without GOAWAY, reused connection, POST", over: anyHTTP2, provoke: func(s *side) error {
		return s.met(faultserver.Fault{Kind: faultserver.CloseWithoutGoAway}, "POST", "body", 1)
	}},
	{name: "closed without GOAWAY, reused connection, GET", over: anyHTTP2, remedied: "net/http repeats nothing whose HTTP/2 connection broke, not even a GET", provoke: func(s *side) error {
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.CloseWithoutGoAway, ReusedOnly: true, Times: 1}))
		s.warm(srv.URL)
		err := s.fail(s.request("GET", srv.URL+"/", ""))
		s.sees(srv, s.onceOrTwice())
		return err
	}},
	{name: "closed without GOAWAY, reused connection and the next, GET", over: anyHTTP2, provoke: func(s *side) error {
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.CloseWithoutGoAway}))
		s.warm(srv.URL)
		return s.fail(s.request("GET", srv.URL+"/", ""))
	}},
	{name: "reset on a reused HTTP/2 connection, POST", over: anyHTTP2, varies: whoSawTheReset, provoke: func(s *side) error { return s.met(rstAfter, "POST", "body", 1) }},
	{name: "reset on a new HTTP/2 connection, POST", over: anyHTTP2, varies: whoSawTheReset, provoke: func(s *side) error { return s.fresh(rstAfter, "POST", "body", 1) }},

	{name: "stream reset with INTERNAL_ERROR, GET", over: anyHTTP2, provoke: func(s *side) error { return s.fresh(reset(internalError), "GET", "", 1) }},
	{name: "stream reset with INTERNAL_ERROR, reused, POST", over: anyHTTP2, provoke: func(s *side) error { return s.met(reset(internalError), "POST", "body", 1) }},
	{name: "stream reset with CANCEL", over: anyHTTP2, provoke: func(s *side) error { return s.fresh(reset(cancelStream), "POST", "body", 1) }},
	{name: "stream reset with ENHANCE_YOUR_CALM", over: anyHTTP2, provoke: func(s *side) error { return s.fresh(reset(enhanceYourCalm), "GET", "", 1) }},
	{name: "stream reset with INADEQUATE_SECURITY", over: anyHTTP2, provoke: func(s *side) error { return s.fresh(reset(inadequateSecrecy), "GET", "", 1) }},
	{name: "stream reset with HTTP_1_1_REQUIRED", over: anyHTTP2, provoke: func(s *side) error { return s.fresh(reset(http11Required), "GET", "", 1) }},
	{name: "stream reset with PROTOCOL_ERROR, body that cannot be repeated", over: anyHTTP2, provoke: func(s *side) error {
		srv := s.start(nil, only(reset(protocolError)))
		err := s.fail(s.once("POST", srv.URL+"/", "body"))
		s.sees(srv, 1)
		return err
	}},
	{name: "stream refused, body that cannot be repeated", over: anyHTTP2, provoke: func(s *side) error {
		srv := s.start(nil, only(reset(refusedStream)))
		err := s.fail(s.once("POST", srv.URL+"/", "body"))
		s.sees(srv, 1)
		return err
	}},
	{name: "stream refused for ever, POST", over: anyHTTP2, provoke: func(s *side) error {
		// Without an end of its own, net/http waits for half a minute between
		// its attempts.
		srv := s.start(nil, only(reset(refusedStream)))
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		return s.fail(s.request("POST", srv.URL+"/", "body").WithContext(ctx))
	}},
	{name: "stream reset in mid-body", over: anyHTTP2, provoke: func(s *side) error {
		return s.fresh(faultserver.Fault{Kind: faultserver.ResetStreamAfterHeaders, Code: internalError, Bytes: 3}, "GET", "", 1)
	}},
	{name: "stream canceled in mid-body, reused, POST", over: anyHTTP2, provoke: func(s *side) error {
		return s.met(faultserver.Fault{Kind: faultserver.ResetStreamAfterHeaders, Code: cancelStream}, "POST", "body", 1)
	}},
	{name: "the PING is not answered", over: anyHTTP2, provoke: func(s *side) error {
		s.base.HTTP2 = &http.HTTP2Config{SendPingTimeout: 50 * time.Millisecond, PingTimeout: 50 * time.Millisecond}
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.NeverAnswer}), faultserver.Fault{Kind: faultserver.PingLate})
		err := s.fail(s.request("POST", srv.URL+"/", "body"))
		s.sees(srv, 1)
		return err
	}},
	{name: "the PING is not answered, reused, POST", over: anyHTTP2, provoke: func(s *side) error {
		s.base.HTTP2 = &http.HTTP2Config{SendPingTimeout: 50 * time.Millisecond, PingTimeout: 50 * time.Millisecond}
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.NeverAnswer}), faultserver.Fault{Kind: faultserver.PingLate})
		s.warm(srv.URL)
		err := s.fail(s.request("POST", srv.URL+"/", "body"))
		s.sees(srv, 1)
		return err
	}},
	{name: "h2c asked of an HTTP/1 server", over: []proto{h2c}, provoke: func(s *side) error {
		s.base.Protocols = new(http.Protocols)
		s.base.Protocols.SetUnencryptedHTTP2(true)
		addr := s.listen(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			swallow(c)
		})
		return s.fail(s.request("GET", "http://"+addr+"/", ""))
	}},
}

var failuresInTime = []failure{
	{name: "ResponseHeaderTimeout", over: []proto{http1, https, http2, h2c}, provoke: func(s *side) error {
		s.base.ResponseHeaderTimeout = 50 * time.Millisecond
		return s.fresh(faultserver.Fault{Kind: faultserver.NeverAnswer}, "POST", "body", 1)
	}},
	{name: "ResponseHeaderTimeout, reused, GET", over: []proto{http1, h2c}, provoke: func(s *side) error {
		s.base.ResponseHeaderTimeout = 50 * time.Millisecond
		return s.met(faultserver.Fault{Kind: faultserver.NeverAnswer}, "GET", "", 1)
	}},
	{name: "canceled before", over: []proto{http1, http2}, provoke: func(s *side) error {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return s.fail(s.request("GET", s.start(nil).URL+"/", "").WithContext(ctx))
	}},
	{name: "past the deadline before", over: []proto{http1, http2}, provoke: func(s *side) error {
		ctx, cancel := context.WithTimeout(context.Background(), -1)
		defer cancel()
		return s.fail(s.request("POST", s.start(nil).URL+"/", "body").WithContext(ctx))
	}},
	{name: "canceled with a cause before", provoke: func(s *side) error {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(errOwn)
		return s.fail(s.request("GET", s.start(nil).URL+"/", "").WithContext(ctx))
	}},
	{name: "canceled in the dial", over: anyHTTP1, provoke: func(s *side) error {
		ctx, cancel := context.WithCancel(context.Background())
		srv := s.start(nil)
		s.dialing(func(ctx context.Context, _ int, _ string) (net.Conn, error) {
			cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		})
		return s.fail(s.request("POST", srv.URL+"/", "body").WithContext(ctx))
	}},
	{name: "deadline in the dial", over: anyHTTP1, provoke: func(s *side) error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		defer cancel()
		srv := s.start(nil)
		s.dialing(func(ctx context.Context, _ int, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		return s.fail(s.request("GET", srv.URL+"/", "").WithContext(ctx))
	}},
	{name: "canceled in the TLS handshake", provoke: func(s *side) error {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		return s.fail(s.request("GET", "https://"+s.listen(func(c net.Conn) {
			c.Read(make([]byte, 1))
			cancel()
			swallow(c)
		})+"/", "").WithContext(ctx))
	}},
	{name: "canceled while waiting", over: []proto{http1, https, http2, h2c}, provoke: func(s *side) error {
		ctx, cancel := context.WithCancel(context.Background())
		return s.waiting(ctx, cancel)
	}},
	{name: "canceled with a cause while waiting", over: []proto{http1, http2}, provoke: func(s *side) error {
		ctx, cancel := context.WithCancelCause(context.Background())
		return s.waiting(ctx, func() { cancel(errOwn) })
	}},
	{name: "deadline while waiting", over: []proto{http1, https, http2, h2c}, provoke: func(s *side) error {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		return s.waiting(ctx, func() {})
	}},
	{name: "canceled while the body is read", over: []proto{http1, https, http2, h2c}, provoke: func(s *side) error {
		ctx, cancel := context.WithCancel(context.Background())
		return s.reading(ctx, cancel)
	}},
	{name: "canceled with a cause while the body is read", over: []proto{http1, http2}, provoke: func(s *side) error {
		ctx, cancel := context.WithCancelCause(context.Background())
		return s.reading(ctx, func() { cancel(errOwn) })
	}},
	{name: "deadline while the body is read", over: []proto{http1, https, http2, h2c}, provoke: func(s *side) error {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		return s.reading(ctx, func() {})
	}},
	{name: "Client.Timeout while waiting", over: []proto{http1, http2}, only: byClient, varies: clientTimeout, provoke: func(s *side) error {
		s.timeout = 50 * time.Millisecond
		return s.waiting(context.Background(), func() {})
	}},
	{name: "Client.Timeout while dialing", only: byClient, varies: clientTimeout, provoke: func(s *side) error {
		s.timeout = 50 * time.Millisecond
		s.dialing(func(ctx context.Context, _ int, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		return s.fail(s.request("POST", "http://example.com/", "body"))
	}},
	{name: "Client.Timeout while the body is read", over: []proto{http1, http2}, only: byClient, varies: clientTimeout, provoke: func(s *side) error {
		s.timeout = 50 * time.Millisecond
		return s.reading(context.Background(), func() {})
	}},
	{name: "Request.Cancel while waiting", over: []proto{http1, http2}, provoke: func(s *side) error {
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.NeverAnswer}))
		cancel := make(chan struct{})
		req := s.request("GET", srv.URL+"/", "")
		//lint:ignore SA1019 programs set it
		req.Cancel = cancel
		go func() {
			srv.Journal().Wait(s.soon(), func() bool { return len(srv.Journal().Requests()) == 1 })
			close(cancel)
		}()
		return s.fail(req)
	}},
}

// whoSawTheReset are the traits of a reset on a connection that is being
// written to: the kernel tells the writer of it or the reader, and then gives
// the other EPIPE or EOF.
var whoSawTheReset = func() map[string]string {
	varies := make(map[string]string)
	for trait := range traitsOf(errOwn) {
		varies[trait] = "a reset is seen by the reader or by the writer"
	}
	varies[theText] = varies["as *net.OpError"]
	for _, same := range []string{
		"go-retryablehttp DefaultRetryPolicy", "go-retryablehttp ErrorPropagatedRetryPolicy", "azcore retry policy, attempts",
		"AWS NoRetryCanceledError", "Kubernetes IsTimeout", "Kubernetes IsConnectionRefused", "is context.Canceled", "is context.DeadlineExceeded",
	} {
		delete(varies, same)
	}
	return varies
}()

// clientTimeout: http.Client gives a foreign RoundTripper Request.Cancel
// besides the context, and both end at the same moment.
var clientTimeout = map[string]string{
	theText: "docs/compatibility.md, \"the text of http.Client.Timeout's error\"",
	"is itself context.DeadlineExceeded, without *url.Error": "as the text: http.Client may not have noticed yet that it was its own timer",
}

// waiting sends a request that is never answered and calls then when it has
// arrived.
func (s *side) waiting(ctx context.Context, then func()) error {
	srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.NeverAnswer}))
	arrived := make(chan struct{})
	go func() {
		defer close(arrived)
		srv.Journal().Wait(s.soon(), func() bool { return len(srv.Journal().Requests()) == 1 })
		then()
	}()
	err := s.fail(s.request("POST", srv.URL+"/", "body").WithContext(ctx))
	s.await(arrived, "the request")
	return err
}

// reading gets a response that never ends, and calls then when its beginning
// has been read.
func (s *side) reading(ctx context.Context, then func()) error {
	srv := s.endless()
	resp, err := s.send(s.request("GET", srv.URL+"/", "").WithContext(ctx))
	require.NoError(s, err)
	defer resp.Body.Close()
	_, err = io.ReadFull(resp.Body, make([]byte, 4))
	require.NoError(s, err)
	then()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// endless starts a server whose responses begin and do not go on.
//
// It is net/http's, which notices that a client went away.
func (s *side) endless() *httptest.Server {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "part")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // lest the client still sees the end
	}))
	return s.startGo(srv)
}

// startGo starts net/http's server with the side's protocol.
func (s *side) startGo(srv *httptest.Server) *httptest.Server {
	srv.Config.ErrorLog = quiet
	s.base.Protocols = new(http.Protocols)
	switch s.proto {
	case http1, https:
		s.base.Protocols.SetHTTP1(true)
	case http2:
		s.base.Protocols.SetHTTP2(true)
		srv.EnableHTTP2 = true
	case h2c:
		s.base.Protocols.SetUnencryptedHTTP2(true)
	}
	if s.proto == https || s.proto == http2 {
		srv.StartTLS()
		s.base.TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig
	} else {
		srv.Config.Protocols = s.base.Protocols
		srv.Start()
	}
	s.Cleanup(srv.Close)
	s.Cleanup(s.close)
	return srv
}

// answers serves raw text to each request of a connection.
func (s *side) answers(text string) string {
	return "http://" + s.listen(func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, text)
		}
	}) + "/"
}
