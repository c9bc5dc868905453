package interop

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

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
		ctx := newExpiring()
		srv := s.start(nil)
		s.dialing(func(dial context.Context, _ int, _ string) (net.Conn, error) {
			ctx.expire()
			<-dial.Done()
			return nil, dial.Err()
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
		ctx := newExpiring()
		return s.waiting(ctx, ctx.expire)
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
		ctx := newExpiring()
		return s.reading(ctx, ctx.expire)
	}},
	{name: "Client.Timeout while waiting", over: []proto{http1, http2}, only: byClient, varies: clientTimeout, provoke: func(s *side) error {
		s.timeout = 500 * time.Millisecond
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
		s.timeout = 500 * time.Millisecond
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

// clientTimeout: http.Client gives a foreign RoundTripper Request.Cancel
// besides the context, and both end at the same moment.
var clientTimeout = map[string]string{
	theText: "docs/compatibility.md, \"the text of http.Client.Timeout's error\"",
	"is itself context.DeadlineExceeded, without *url.Error": "as the text: http.Client may not have noticed yet that it was its own timer",
}

// An expiring context ends as if by its deadline, at the moment that the test
// wants.
type expiring struct {
	context.Context
	once sync.Once
	done chan struct{}
}

func newExpiring() *expiring {
	return &expiring{Context: context.Background(), done: make(chan struct{})}
}

func (e *expiring) expire()               { e.once.Do(func() { close(e.done) }) }
func (e *expiring) Done() <-chan struct{} { return e.done }

func (e *expiring) Err() error {
	select {
	case <-e.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
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
func (s *side) endless() *httptest.Server {
	return s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "part")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // lest the client still sees the end
	}))
}
