package interop

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"runtime"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

// maxMessage is more than any buffer on the way holds.
const maxMessage = 4 << 20

// These tests run against net/http's server: faultserver's drops the header of
// a handler that says WriteHeader(101) before it hijacks, as this library does.

// An echoServer answers every WebSocket message with itself.
type echoServer struct {
	mu     sync.Mutex
	closed []websocket.StatusCode // how each session ended
	ended  chan struct{}          // one for each
}

func (e *echoServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(maxMessage)
	for {
		var kind websocket.MessageType
		var message []byte
		if kind, message, err = c.Read(context.Background()); err != nil {
			break
		}
		if err = c.Write(context.Background(), kind, message); err != nil {
			break
		}
	}
	e.mu.Lock()
	e.closed = append(e.closed, websocket.CloseStatus(err))
	e.mu.Unlock()
	e.ended <- struct{}{}
}

// dialEcho opens a session with an echo server.
func (s *side) dialEcho() (*websocket.Conn, *echoServer) {
	e := &echoServer{ended: make(chan struct{}, 10)}
	srv := s.serve(e)
	c, resp, err := websocket.Dial(s.soon(), srv.URL+"/", &websocket.DialOptions{HTTPClient: s.client(), Subprotocols: []string{"echo"}})
	require.NoError(s, err)
	require.Equal(s, http.StatusSwitchingProtocols, resp.StatusCode)
	require.Equal(s, "echo", c.Subprotocol())
	c.SetReadLimit(maxMessage)
	s.Cleanup(func() { c.CloseNow() })
	for soon := s.soon(); ; runtime.Gosched() {
		// net/http may tell of it a moment after it has given the response.
		upgraded, ok := s.closedFor(idlewise.ClosedUpgraded)
		if !ok || upgraded == 1 {
			break
		}
		require.NoError(s, soon.Err(), "the connection left the pool as upgraded")
	}
	return c, e
}

func (e *echoServer) endings() []websocket.StatusCode {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

func TestAWebSocketEchoesMessagesOfEverySize(t *testing.T) {
	overProtos(t, func(s *side) {
		c, e := s.dialEcho()
		for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20, maxMessage} {
			for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
				message := bytes.Repeat([]byte("a"), size)
				sent := make(chan error, 1)
				go func() { sent <- c.Write(s.soon(), kind, message) }() // the echo may begin before the end
				gotKind, got, err := c.Read(s.soon())
				require.NoError(s, err)
				require.NoError(s, <-sent)
				require.Equal(s, kind, gotKind)
				require.True(s, bytes.Equal(message, got), "a message of %d bytes", size)
			}
		}
		require.NoError(s, c.Close(websocket.StatusNormalClosure, "enough"))
		s.await(e.ended, "the server's side to end")
		require.Equal(s, []websocket.StatusCode{websocket.StatusNormalClosure}, e.endings(), "the close handshake reached the handler")
	}, http1, https)
}

func TestAWebSocketAnswersPings(t *testing.T) {
	overProtos(t, func(s *side) {
		c, e := s.dialEcho()
		ctx, stop := context.WithCancel(context.Background())
		closed := c.CloseRead(ctx) // pongs arrive while something reads
		for range 3 {
			require.NoError(s, c.Ping(s.soon()))
		}
		stop()
		s.await(closed.Done(), "the reader to end")
		s.await(e.ended, "the server's side to end")
	}, http1, https)
}

func TestTheServerBeginsTheCloseHandshake(t *testing.T) {
	overProtos(t, func(s *side) {
		srv := s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, nil)
			if err == nil {
				c.Close(websocket.StatusGoingAway, "restart")
			}
		}))
		c, _, err := websocket.Dial(s.soon(), srv.URL, &websocket.DialOptions{HTTPClient: s.client()})
		require.NoError(s, err)
		defer c.CloseNow()
		_, _, err = c.Read(s.soon())
		var closed websocket.CloseError
		require.ErrorAs(s, err, &closed)
		require.Equal(s, websocket.CloseError{Code: websocket.StatusGoingAway, Reason: "restart"}, closed)
	}, http1, https)
}

func TestACanceledReadEndsTheWebSocket(t *testing.T) {
	overProtos(t, func(s *side) {
		c, e := s.dialEcho()
		ctx, cancel := context.WithCancel(context.Background())
		failed := make(chan error, 1)
		go func() {
			_, _, err := c.Read(ctx)
			failed <- err
		}()
		require.NoError(s, c.Ping(s.soon()), "the reader is reading")
		cancel()
		require.ErrorIs(s, <-failed, context.Canceled)
		s.await(e.ended, "the server's side to end")
		require.Error(s, c.Write(s.soon(), websocket.MessageText, []byte("late")))
	}, http1, https)
}

// The context of the dial is only for the dial: a session outlives it, as the
// library promises.
func TestAWebSocketOutlivesTheContextOfItsDial(t *testing.T) {
	overProtos(t, func(s *side) {
		e := &echoServer{ended: make(chan struct{}, 1)}
		srv := s.serve(e)
		ctx, cancel := context.WithCancel(context.Background())
		c, _, err := websocket.Dial(ctx, srv.URL, &websocket.DialOptions{HTTPClient: s.client()})
		require.NoError(s, err)
		defer c.CloseNow()
		cancel()
		require.NoError(s, c.Write(s.soon(), websocket.MessageText, []byte("still there")))
		_, got, err := c.Read(s.soon())
		require.NoError(s, err)
		require.Equal(s, "still there", string(got))
		require.NoError(s, c.Close(websocket.StatusNormalClosure, ""))
		s.await(e.ended, "the server's side to end")
	}, http1, https)
}

func TestARefusedWebSocketGivesTheResponse(t *testing.T) {
	overProtos(t, func(s *side) {
		srv := s.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no sockets today", http.StatusForbidden)
		}))
		_, resp, err := websocket.Dial(s.soon(), srv.URL, &websocket.DialOptions{HTTPClient: s.client()})
		require.Error(s, err)
		require.Equal(s, http.StatusForbidden, resp.StatusCode)
		text, err := io.ReadAll(resp.Body)
		require.NoError(s, err)
		require.Equal(s, "no sockets today\n", string(text))
		require.NoError(s, s.fail(s.request("GET", srv.URL+"/", "")), "the pool is as before")
	}, http1, https, http2)
}

// Upgraded connections are the program's: neither idle ones closed beside them
// nor other requests have to do with them.
func TestWebSocketsAndRequestsShareAnUpstream(t *testing.T) {
	overProtos(t, func(s *side) {
		e := &echoServer{ended: make(chan struct{}, 10)}
		srv := s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") != "" {
				e.ServeHTTP(w, r)
				return
			}
			io.WriteString(w, "plain")
		}))
		var sockets []*websocket.Conn
		for range 3 {
			s.warm(srv.URL) // each upgrade takes the idle connection there is
			c, _, err := websocket.Dial(s.soon(), srv.URL, &websocket.DialOptions{HTTPClient: s.client()})
			require.NoError(s, err)
			defer c.CloseNow()
			sockets = append(sockets, c)
		}
		s.warm(srv.URL)
		s.client().CloseIdleConnections()
		for _, c := range sockets {
			require.NoError(s, c.Write(s.soon(), websocket.MessageText, []byte("hello")))
			_, got, err := c.Read(s.soon())
			require.NoError(s, err)
			require.Equal(s, "hello", string(got))
			require.NoError(s, c.Close(websocket.StatusNormalClosure, ""))
			s.await(e.ended, "the server's side to end")
		}
		if tr, ok := s.transport().(*idlewise.Transport); ok {
			stats := tr.Stats()
			require.EqualValues(s, 3, stats.Total.Closed[idlewise.ClosedUpgraded])
			require.Zero(s, stats.Upstreams[0].Idle)
			require.Zero(s, stats.Upstreams[0].Open, "sockets that the program closed")
		}
	}, http1)
}

// HTTP/2 cannot carry an upgrade of this kind: it goes over HTTP/1 beside the
// HTTP/2 connection that other requests use.
func TestAWebSocketToAnHTTP2ServerGoesOverHTTP1(t *testing.T) {
	bothSides(t, http2, func(s *side) {
		e := &echoServer{ended: make(chan struct{}, 1)}
		protos := make(chan string, 3)
		srv := s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			protos <- r.Proto
			if r.Header.Get("Upgrade") != "" {
				e.ServeHTTP(w, r)
			}
		}))
		s.base.Protocols.SetHTTP1(true)
		s.warm(srv.URL)
		c, _, err := websocket.Dial(s.soon(), srv.URL, &websocket.DialOptions{HTTPClient: s.client()})
		require.NoError(s, err)
		defer c.CloseNow()
		s.warm(srv.URL)
		require.NoError(s, c.Write(s.soon(), websocket.MessageText, []byte("hello")))
		_, got, err := c.Read(s.soon())
		require.NoError(s, err)
		require.Equal(s, "hello", string(got))
		require.NoError(s, c.Close(websocket.StatusNormalClosure, ""))
		s.await(e.ended, "the server's side to end")
		require.Equal(s, []string{"HTTP/2.0", "HTTP/1.1", "HTTP/2.0"}, []string{<-protos, <-protos, <-protos})
	})
}
