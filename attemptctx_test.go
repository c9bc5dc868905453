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

func TestAnAttemptsContextHasTheCallersValuesAndEnd(t *testing.T) {
	type key struct{}
	u := &upstream{}
	reason := errors.New("enough")
	caller, cancel := context.WithCancelCause(context.WithValue(context.Background(), key{}, "value"))
	req, err := http.NewRequestWithContext(caller, "GET", "http://example.com/", nil)
	require.NoError(t, err)

	a := u.beginAttempt(req)
	ctx := a.req.Context()
	require.Equal(t, "value", ctx.Value(key{}))
	require.NoError(t, ctx.Err())
	child, end := context.WithCancel(ctx)
	cancel(reason)
	<-child.Done()
	require.Equal(t, reason, context.Cause(child))
	end()
	a.done(u)
	require.Nil(t, u.attempts.Load(), "one that has ended is of no use any more")
}

// What net/http leaves behind when an attempt fails must not hang on the
// caller's context.
func TestAFailedAttemptEndsWhatNetHTTPLeftBehind(t *testing.T) {
	u := &upstream{}
	caller, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(caller, "GET", "http://example.com/", nil)
	require.NoError(t, err)
	a := u.beginAttempt(req)
	child, end := context.WithCancel(a.req.Context())
	defer end()
	a.over()
	<-child.Done()
	require.NoError(t, caller.Err())
}

func TestAnAttemptsContextIsUsedAgainAndKeepsNothingOfTheLast(t *testing.T) {
	u := &upstream{}
	caller, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(caller, "POST", "http://example.com/", strings.NewReader("x"))
	require.NoError(t, err)
	a := u.beginAttempt(req)
	_, end := context.WithCancel(a.req.Context())
	end()
	a.done(u)
	cancel() // it is nobody's any more
	require.NoError(t, a.Err())
	require.Equal(t, context.Background(), a.caller)
	require.Nil(t, a.req.Body)
	require.Nil(t, a.req.URL)
	require.Nil(t, a.req.Header)
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
