package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/idlewise/idlewise/faultserver"
)

type (
	text   = wrapperspb.StringValue
	bidi   = connect.BidiStream[text, text]
	client = connect.Client[text, text]
)

// rpcProtocols are the wire formats that connect-go speaks.
var rpcProtocols = map[string][]connect.ClientOption{
	"connect":  nil,
	"gRPC":     {connect.WithGRPC()},
	"gRPC-Web": {connect.WithGRPCWeb()},
}

// overRPC runs f over both kinds of HTTP/2, each wire format and both
// transports.
func overRPC(t *testing.T, f func(s *side, opts ...connect.ClientOption)) {
	for name, opts := range rpcProtocols {
		t.Run(name, func(t *testing.T) {
			overProtos(t, func(s *side) { f(s, opts...) }, anyHTTP2...)
		})
	}
}

// A service answers streams at /test/stream and single calls at /test/call.
type service struct {
	stream func(context.Context, *bidi) error
	call   func(context.Context, *connect.Request[text]) (*connect.Response[text], error)
}

func (v service) handler() http.Handler {
	mux := http.NewServeMux()
	if v.stream != nil {
		mux.Handle("/test/stream", connect.NewBidiStreamHandler("/test/stream", v.stream))
	}
	if v.call != nil {
		mux.Handle("/test/call", connect.NewUnaryHandler("/test/call", v.call))
	}
	return mux
}

func (s *side) rpc(url, method string, opts ...connect.ClientOption) *client {
	return connect.NewClient[text, text](s.client(), url+"/test/"+method, opts...)
}

// echoing answers each message as it comes, in capitals, until the client has
// sent its last.
func echoing(_ context.Context, stream *bidi) error {
	for {
		m, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			stream.ResponseTrailer().Set("Ended", "well")
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(wrapperspb.String(strings.ToUpper(m.Value))); err != nil {
			return err
		}
	}
}

type clientStream = connect.BidiStreamForClient[text, text]

// talk sends n messages and reads the answer to each before the next.
func talk(stream *clientStream, n int) error {
	for i := range n {
		if err := stream.Send(wrapperspb.String(fmt.Sprint("message ", i))); err != nil {
			return fmt.Errorf("sending message %d: %w", i, err)
		}
		got, err := stream.Receive()
		if err != nil {
			return fmt.Errorf("receiving message %d: %w", i, err)
		}
		if want := fmt.Sprint("MESSAGE ", i); got.Value != want {
			return fmt.Errorf("got %q instead of %q", got.Value, want)
		}
	}
	return nil
}

// finish ends the sending side and sees the stream end well.
func finish(stream *clientStream) error {
	if err := stream.CloseRequest(); err != nil {
		return err
	}
	if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("not the end: %w", err)
	}
	if got := stream.ResponseTrailer().Get("Ended"); got != "well" {
		return fmt.Errorf("the trailer says %q", got)
	}
	return stream.CloseResponse()
}

func TestABidirectionalStreamInterleaves(t *testing.T) {
	overRPC(t, func(s *side, opts ...connect.ClientOption) {
		srv := s.start(service{stream: echoing}.handler())
		stream := s.rpc(srv.URL, "stream", opts...).CallBidiStream(s.soon())
		require.NoError(s, talk(stream, 50))
		require.NoError(s, finish(stream))
		requests := srv.Journal().Requests()
		require.Len(s, requests, 1)
		require.Equal(s, 1, requests[0].Executed)
		require.True(s, requests[0].BodyComplete && requests[0].Answered)
	})
}

// onOneConnection sees that all requests came on one connection. (net/http
// dials others that it then does not need.)
func (s *side) onOneConnection(srv *faultserver.Server) {
	for _, r := range srv.Journal().Requests() {
		require.EqualValues(s, 1, r.Conn)
	}
	if s.ours {
		require.Len(s, srv.Journal().Conns(), 1)
	}
}

// Half-close: the server answers only after the client's last message, and the
// client goes on reading after it.
func TestAStreamGoesOnAfterHalfClose(t *testing.T) {
	overRPC(t, func(s *side, opts ...connect.ClientOption) {
		srv := s.start(service{stream: func(_ context.Context, stream *bidi) error {
			n := 0
			for {
				if _, err := stream.Receive(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					return err
				}
				n++
			}
			for range n {
				if err := stream.Send(wrapperspb.String(strings.Repeat("x", 10_000))); err != nil {
					return err
				}
			}
			return nil
		}}.handler())
		stream := s.rpc(srv.URL, "stream", opts...).CallBidiStream(s.soon())
		for range 100 {
			require.NoError(s, stream.Send(wrapperspb.String("one more")))
		}
		require.NoError(s, stream.CloseRequest())
		for range 100 {
			got, err := stream.Receive()
			require.NoError(s, err)
			require.Len(s, got.Value, 10_000)
		}
		_, err := stream.Receive()
		require.ErrorIs(s, err, io.EOF)
		require.NoError(s, stream.CloseResponse())
		require.Len(s, srv.Journal().Requests(), 1)
	})
}

func TestAClientCancelsAStream(t *testing.T) {
	overRPC(t, func(s *side, opts ...connect.ClientOption) {
		ended := make(chan error, 1)
		srv := s.start(service{
			stream: func(ctx context.Context, stream *bidi) error {
				for range 3 {
					m, err := stream.Receive()
					if err != nil {
						return err
					}
					if err := stream.Send(wrapperspb.String(strings.ToUpper(m.Value))); err != nil {
						return err
					}
				}
				<-ctx.Done()
				ended <- ctx.Err()
				return ctx.Err()
			},
			call: func(_ context.Context, r *connect.Request[text]) (*connect.Response[text], error) {
				return connect.NewResponse(r.Msg), nil
			},
		}.handler())
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		stream := s.rpc(srv.URL, "stream", opts...).CallBidiStream(ctx)
		require.NoError(s, talk(stream, 3))
		failed := make(chan error, 1)
		go func() {
			_, err := stream.Receive()
			failed <- err
		}()
		cancel()
		// net/http does not look at the context while it waits for more of a
		// request's body, with either transport.
		stream.CloseRequest()
		err := <-failed
		require.Equal(s, connect.CodeCanceled, connect.CodeOf(err), "%v", err)
		require.ErrorIs(s, err, context.Canceled)
		select {
		case err := <-ended:
			require.ErrorIs(s, err, context.Canceled)
		case <-time.After(patience):
			require.Fail(s, "the handler's context did not end")
		}
		stream.CloseResponse()

		_, err = s.rpc(srv.URL, "call", opts...).CallUnary(s.soon(), connect.NewRequest(wrapperspb.String("next")))
		require.NoError(s, err)
		s.onOneConnection(srv)
	})
}

func TestADeadlineEndsAStream(t *testing.T) {
	overRPC(t, func(s *side, opts ...connect.ClientOption) {
		srv := s.start(service{stream: func(ctx context.Context, _ *bidi) error {
			<-ctx.Done()
			return ctx.Err()
		}}.handler())
		ctx := newExpiring()
		stream := s.rpc(srv.URL, "stream", opts...).CallBidiStream(ctx)
		require.NoError(s, stream.Send(wrapperspb.String("hello")))
		require.NoError(s, srv.Journal().Wait(s.soon(), func() bool { return len(srv.Journal().Requests()) == 1 }))
		ctx.expire()
		stream.CloseRequest() // as above
		_, err := stream.Receive()
		require.Equal(s, connect.CodeDeadlineExceeded, connect.CodeOf(err), "%v", err)
		stream.CloseResponse()
	})
}

func TestAServersErrorArrivesWithItsDetails(t *testing.T) {
	overRPC(t, func(s *side, opts ...connect.ClientOption) {
		failure := func() error {
			err := connect.NewError(connect.CodeResourceExhausted, errors.New("too much"))
			detail, _ := connect.NewErrorDetail(durationpb.New(42))
			err.AddDetail(detail)
			err.Meta().Set("Retry-In", "42")
			return err
		}
		srv := s.start(service{
			stream: func(_ context.Context, stream *bidi) error {
				if err := stream.Send(wrapperspb.String("so far")); err != nil {
					return err
				}
				return failure()
			},
			call: func(context.Context, *connect.Request[text]) (*connect.Response[text], error) { return nil, failure() },
		}.handler())
		check := func(err error) {
			var got *connect.Error
			require.ErrorAs(s, err, &got)
			require.Equal(s, connect.CodeResourceExhausted, got.Code())
			require.Equal(s, "too much", got.Message())
			require.Equal(s, "42", got.Meta().Get("Retry-In"))
			require.Len(s, got.Details(), 1)
			value, err := got.Details()[0].Value()
			require.NoError(s, err)
			require.EqualValues(s, 42, value.(*durationpb.Duration).Nanos)
		}
		stream := s.rpc(srv.URL, "stream", opts...).CallBidiStream(s.soon())
		require.NoError(s, stream.Send(nil)) // the headers alone
		got, err := stream.Receive()
		require.NoError(s, err)
		require.Equal(s, "so far", got.Value)
		_, err = stream.Receive()
		check(err)
		stream.CloseRequest()
		stream.CloseResponse()

		_, err = s.rpc(srv.URL, "call", opts...).CallUnary(s.soon(), connect.NewRequest(wrapperspb.String("x")))
		check(err)
		require.Len(s, srv.Journal().Requests(), 2)
	})
}

func TestManyStreamsRunAtOnce(t *testing.T) {
	overRPC(t, func(s *side, opts ...connect.ClientOption) {
		const many = 100
		srv := s.start(service{stream: echoing}.handler())
		rpc := s.rpc(srv.URL, "stream", opts...)
		ctx := s.soon()
		failures := make(chan error, many)
		var open, done sync.WaitGroup
		open.Add(many)
		for range many {
			done.Go(func() {
				stream := rpc.CallBidiStream(ctx)
				err := talk(stream, 1)
				open.Done()
				open.Wait() // all are open at once
				failures <- errors.Join(err, talk(stream, 5), finish(stream))
			})
		}
		done.Wait()
		for range many {
			require.NoError(s, <-failures)
		}
		require.Len(s, srv.Journal().Requests(), many)
		for _, r := range srv.Journal().Requests() {
			require.True(s, r.Answered)
		}
	})
}

// A long-lived stream, such as a watch, stays open and in order while other
// requests come and go on its connection, and when idle ones are closed.
func TestALongStreamStaysOpenBesideOtherRequests(t *testing.T) {
	overRPC(t, func(s *side, opts ...connect.ClientOption) {
		srv := s.start(service{
			stream: echoing,
			call: func(_ context.Context, r *connect.Request[text]) (*connect.Response[text], error) {
				return connect.NewResponse(r.Msg), nil
			},
		}.handler())
		stream := s.rpc(srv.URL, "stream", opts...).CallBidiStream(s.soon())
		require.NoError(s, talk(stream, 1))
		call := s.rpc(srv.URL, "call", opts...)
		for i := range 20 {
			got, err := call.CallUnary(s.soon(), connect.NewRequest(wrapperspb.String(fmt.Sprint(i))))
			require.NoError(s, err)
			require.Equal(s, fmt.Sprint(i), got.Msg.Value)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_, err = call.CallUnary(ctx, connect.NewRequest(wrapperspb.String("late")))
			require.Equal(s, connect.CodeCanceled, connect.CodeOf(err))
			s.client().CloseIdleConnections()
			require.NoError(s, talk(stream, 1))
		}
		s.onOneConnection(srv)
		require.NoError(s, finish(stream))
	})
}

// A server that goes down gracefully lets the streams it has run to their end,
// and new ones go to a new connection.
func TestALongStreamOutlivesAGracefulRestart(t *testing.T) {
	overRPC(t, func(s *side, opts ...connect.ClientOption) {
		srv := s.start(service{stream: echoing}.handler())
		rpc := s.rpc(srv.URL, "stream", opts...)
		old := rpc.CallBidiStream(s.soon())
		require.NoError(s, talk(old, 1))
		srv.Restart()
		for len(srv.Journal().Conns()) == 1 { // until the GOAWAY has arrived
			next := rpc.CallBidiStream(s.soon())
			if err := talk(next, 1); err != nil && !s.ours {
				next.CloseResponse()
				continue // net/http loses one in twenty that meet the GOAWAY
			} else {
				require.NoError(s, err)
			}
			require.NoError(s, finish(next))
		}
		require.NoError(s, talk(old, 5))
		require.NoError(s, finish(old))
		for _, r := range srv.Journal().Requests() {
			require.True(s, r.Answered || !s.ours, "%+v", r)
		}
	})
}

// What connect-go makes of a stream that the server resets goes by the text of
// net/http's error.
func TestAResetStreamsCodeIsTheSame(t *testing.T) {
	for _, reset := range []struct {
		code uint32
		want connect.Code
	}{
		{internalError, connect.CodeInternal}, {cancelStream, connect.CodeCanceled},
		{enhanceYourCalm, connect.CodeResourceExhausted}, {inadequateSecrecy, connect.CodePermissionDenied},
	} {
		t.Run(reset.want.String(), func(t *testing.T) {
			overRPC(t, func(s *side, opts ...connect.ClientOption) {
				srv := s.start(service{stream: echoing}.handler(), faultserver.Fault{Kind: faultserver.ResetStream, Code: reset.code})
				stream := s.rpc(srv.URL, "stream", opts...).CallBidiStream(s.soon())
				require.NoError(s, stream.Send(nil))
				_, err := stream.Receive()
				require.Equal(s, reset.want, connect.CodeOf(err), "%v", err)
				stream.CloseRequest()
				stream.CloseResponse()
				require.Len(s, srv.Journal().Requests(), 1)
			})
		})
	}
}

// A single call whose stream is refused, with a body in memory, is repeated by
// both transports, and executed once.
func TestARefusedCallIsRepeated(t *testing.T) {
	overRPC(t, func(s *side, opts ...connect.ClientOption) {
		srv := s.start(service{call: func(context.Context, *connect.Request[text]) (*connect.Response[text], error) {
			return connect.NewResponse(wrapperspb.String("done")), nil
		}}.handler(), faultserver.Fault{Kind: faultserver.ResetStream, Code: refusedStream, Times: 1})
		got, err := s.rpc(srv.URL, "call", opts...).CallUnary(s.soon(), connect.NewRequest(wrapperspb.String("x")))
		require.NoError(s, err)
		require.Equal(s, "done", got.Msg.Value)
		require.Len(s, srv.Journal().Requests(), 2)
		srv.Journal().AssertNoneExecutedTwice(s)
	})
}

func TestARPCToNobodyIsUnavailable(t *testing.T) {
	overProtos(t, func(s *side) {
		s.start(nil) // sets the protocol
		c := connect.NewClient[emptypb.Empty, emptypb.Empty](s.client(), "http://"+s.closedPort()+"/test/call", connect.WithGRPC())
		_, err := c.CallUnary(s.soon(), connect.NewRequest(&emptypb.Empty{}))
		require.Equal(s, connect.CodeUnavailable, connect.CodeOf(err), "%v", err)
	}, h2c)
}
