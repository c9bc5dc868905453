package idlewise

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// A field that a later Go adds to http.Request must be looked at here.
func TestEveryFieldOfAClientsRequestIsCopied(t *testing.T) {
	of := map[string]string{
		"Form": "of servers", "PostForm": "of servers", "MultipartForm": "of servers", "RemoteAddr": "of servers",
		"RequestURI": "of servers", "TLS": "of servers", "Pattern": "of servers",
		"Response": "of http.Client", "Cancel": "becomes part of the context",
	}
	req, err := http.NewRequest("POST", "http://example.com/", strings.NewReader("x"))
	require.NoError(t, err)
	req.Header.Set("A", "b")
	req.Trailer = http.Header{"C": nil}
	req.TransferEncoding = []string{"chunked"}
	req.Close = true
	var got http.Request
	copyRequest(&got, req)
	from, to := reflect.ValueOf(*req), reflect.ValueOf(got)
	for i := range from.NumField() {
		f := from.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		if of[f.Name] != "" {
			require.True(t, to.Field(i).IsZero(), f.Name)
			continue
		}
		require.False(t, from.Field(i).IsZero(), "%s: new, or not set by this test", f.Name)
		if f.Type.Kind() == reflect.Func {
			require.Equal(t, from.Field(i).Pointer(), to.Field(i).Pointer(), f.Name)
		} else {
			require.Equal(t, from.Field(i).Interface(), to.Field(i).Interface(), f.Name)
		}
	}
}

// attempting returns an attempt of req on a connection that nobody answers on.
func attempting(t *testing.T, req *http.Request) (*attemptContext, *conn) {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { server.Close() })
	base := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
	cc, err := base.NewClientConn(context.Background(), "http", "example.com:80")
	require.NoError(t, err)
	t.Cleanup(func() { cc.Close() })
	c := &conn{cc: cc}
	c.enter(phaseBusy)
	return c.beginAttempt(req), c
}

func TestAnAttemptsContextHasTheCallersValuesAndNoEnd(t *testing.T) {
	type key struct{}
	enough := errors.New("enough")
	synctest.Test(t, func(t *testing.T) {
		caller, cancel := context.WithCancelCause(context.WithValue(context.Background(), key{}, "value"))
		a, c := attempting(t, getting("http://example.com/").WithContext(caller))
		ctx := a.req.Context()
		require.Equal(t, "value", ctx.Value(key{}))
		child, end := context.WithCancel(ctx)
		cancel(enough)
		synctest.Wait()
		require.NoError(t, ctx.Err())
		require.NoError(t, child.Err())
		require.Equal(t, enough, c.wasCut.Load().why, "the connection ends instead")
		require.Error(t, c.cc.Err())
		require.False(t, a.settle(), "it is not to be used for another request")
		end()
		a.giveUp()
	})
}

// What a cancellation finds that comes late is another request's.
func TestACancellationAfterTheEndLeavesTheConnectionAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, end := range []func(*attemptContext){(*attemptContext).finish, (*attemptContext).giveUp} {
			caller, cancel := context.WithCancel(context.Background())
			a, c := attempting(t, getting("http://example.com/").WithContext(caller))
			require.True(t, a.settle())
			cancel() // the watch is told before it is ended
			end(a)
			synctest.Wait()
			require.NoError(t, c.cc.Err())
			require.Nil(t, c.wasCut.Load())
			require.Equal(t, caller, a.caller, "one that is still asked about is not used again")
		}
	})
}

func TestAnAttemptsContextIsUsedAgainAndKeepsNothingOfTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller, cancel := context.WithCancel(context.Background())
		a, c := attempting(t, getting("http://example.com/").WithContext(caller))
		require.True(t, a.settle())
		a.finish()
		cancel() // it is nobody's any more
		synctest.Wait()
		require.NoError(t, c.cc.Err())
		require.Equal(t, context.Background(), a.caller)
		require.Nil(t, a.conn)
		require.Nil(t, a.stop)
		require.Equal(t, new(http.Request).WithContext(a), a.req)
	})
}

// Either the caller or the pool must end the attempt of a connection that is
// closed at the moment when its RoundTrip returns.
func TestTheContextOfAnAttemptIsEndedByExactlyOne(t *testing.T) {
	u := &upstream{t: &Transport{}}
	u.ruling.Store(&ruling{})
	p := &u.pool
	p.u = u
	for range 100_000 {
		c := &conn{pool: p}
		var doomed doomedList
		p.mu.Lock()
		p.addLocked(c)
		c.enter(phaseBusy)
		p.mu.Unlock()
		returned := make(chan bool)
		go func() { returned <- c.returned() }()
		runtime.Gosched()
		p.mu.Lock()
		p.removeLocked(c, ClosedShutdown, &doomed)
		p.mu.Unlock()
		require.Equal(t, <-returned, c.endOnShut)
	}
}

// What is kept to be used again is bound to its bubble, as connections are.
func TestATransportGoesOnInAnotherBubbleOnceItsIdleConnectionsAreClosed(t *testing.T) {
	tr, err := New(Config{Base: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for r := bufio.NewReader(server); ; {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				io.Copy(io.Discard, req.Body)
				io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
			}
		}()
		return client, nil
	}}})
	require.NoError(t, err)
	use := func(t *testing.T) {
		for range 20 { // the race detector makes a sync.Pool forget some
			ctx, cancel := context.WithCancel(context.Background())
			read(t, tr, getting("http://example.com/").WithContext(ctx))
			cancel()
		}
		tr.CloseIdleConnections()
	}
	for range 2 {
		synctest.Test(t, use)
	}
	use(t)
	require.NoError(t, tr.Close())
}
