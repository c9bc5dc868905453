package idlewise

//lint:file-ignore SA1019 what programs still set and do must work

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A callStage is reached by sending the request that set makes. It calls
// reached when it is, from whatever goroutine notices, and then holds the call
// up until the test ends.
type callStage struct {
	at   string
	over proto // zero: http1
	set  func(e *env, reached func()) *http.Request
}

// A callEnd is a way to end a call: end is called when the stage is reached.
type callEnd struct {
	by    string
	apply func(e *env, req *http.Request) (_ *http.Request, end func())
}

var errOwnCause = errors.New("the program's own cause")

var callEnds = []callEnd{
	{"cancellation", func(e *env, req *http.Request) (*http.Request, func()) {
		ctx, cancel := context.WithCancel(req.Context())
		e.Cleanup(cancel)
		return req.WithContext(ctx), cancel
	}},
	{"cancellation with a cause", func(e *env, req *http.Request) (*http.Request, func()) {
		ctx, cancel := context.WithCancelCause(req.Context())
		e.Cleanup(func() { cancel(nil) })
		return req.WithContext(ctx), func() { cancel(errOwnCause) }
	}},
	{"a deadline", func(e *env, req *http.Request) (*http.Request, func()) {
		ctx := &expiring{Context: req.Context(), done: make(chan struct{})}
		e.Cleanup(func() { ctx.expire() })
		return req.WithContext(ctx), ctx.expire
	}},
	{"Request.Cancel", func(e *env, req *http.Request) (*http.Request, func()) {
		ch := make(chan struct{})
		req = req.WithContext(req.Context())
		req.Cancel = ch
		return req, func() { close(ch) }
	}},
}

// An expiring context has a deadline that passes when the test says so.
type expiring struct {
	context.Context
	done chan struct{}
	once sync.Once
}

func (c *expiring) expire()                     { c.once.Do(func() { close(c.done) }) }
func (c *expiring) Deadline() (time.Time, bool) { return time.Now().Add(time.Hour), true }
func (c *expiring) Done() <-chan struct{}       { return c.done }

func (c *expiring) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// Value hides the parent's own way to cancel its children.
func (c *expiring) Value(key any) any {
	if _, own := key.(*int); own {
		return nil
	}
	return c.Context.Value(key)
}

// held returns a channel that is closed when the test ends, before its
// transport and servers are.
func (e *env) held() <-chan struct{} { return e.Context().Done() }

func (e *env) bodied(url string) *http.Request {
	return e.request("POST", url, e.body(strings.NewReader("hello")))
}

// A stuckConn holds its first Write up until it is closed.
type stuckConn struct {
	net.Conn
	reached func()
	closed  chan struct{}
	once    sync.Once
}

func (c *stuckConn) Write([]byte) (int, error) {
	c.reached()
	<-c.closed
	return 0, net.ErrClosed
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

var stages = []callStage{
	{"waiting in the queue of MaxConnsPerHost", anyProto &^ anyHTTP2, func(e *env, reached func()) *http.Request {
		e.base.MaxConnsPerHost = 1
		held := e.held()
		srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).Flush()
			<-held
		})
		first, err := e.rt().RoundTrip(e.request("GET", srv.URL, nil))
		require.NoError(e, err)
		e.Cleanup(func() { first.Body.Close() })
		req := e.bodied(srv.URL)
		return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GetConn: func(string) { reached() }}))
	}},
	{"looking up the name", http1, func(e *env, reached func()) *http.Request {
		held := e.held()
		d := &net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			reached()
			<-held
			return nil, errors.New("no name server")
		}}}
		e.base.DialContext = d.DialContext
		return e.bodied("http://name.example./")
	}},
	{"dialing", http1, func(e *env, reached func()) *http.Request {
		held := e.held()
		e.base.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			reached()
			<-held
			return nil, errors.New("too late")
		}
		return e.bodied("http://example.com/")
	}},
	{"in the TLS handshake", http1, func(e *env, reached func()) *http.Request {
		addr := e.listen(func(c net.Conn, _ int) {
			reached()
			io.Copy(io.Discard, c)
		})
		return e.bodied("https://" + addr)
	}},
	{"writing the header", http1, func(e *env, reached func()) *http.Request {
		addr := e.listen(func(c net.Conn, _ int) { io.Copy(io.Discard, c) })
		e.base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, network, addr)
			return &stuckConn{Conn: c, reached: sync.OnceFunc(reached), closed: make(chan struct{})}, err
		}
		return e.bodied("http://example.com/")
	}},
	{"sending the body", anyProto, func(e *env, reached func()) *http.Request {
		held := e.held()
		srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
			reached()
			<-held
		})
		return e.request("POST", srv.URL, e.body(zeros{}))
	}},
	{"waiting for the response", anyProto, func(e *env, reached func()) *http.Request {
		held := e.held()
		srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			reached()
			<-held
		})
		return e.bodied(srv.URL)
	}},
	{"waiting for the response on a used connection", anyProto, func(e *env, reached func()) *http.Request {
		held := e.held()
		srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if r.Method == "POST" {
				reached()
				<-held
			}
		})
		resp, err := e.rt().RoundTrip(e.request("GET", srv.URL, nil))
		require.NoError(e, err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return e.bodied(srv.URL)
	}},
	{"in the response's header", http1, func(e *env, reached func()) *http.Request {
		addr := e.listen(func(c net.Conn, _ int) {
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-")
			reached()
			io.Copy(io.Discard, c)
		})
		return e.bodied("http://" + addr)
	}},
}

// Each clause is a stage that is ended in each way.
func TestTheContractOfCancellation(t *testing.T) {
	var clauses []clause
	for _, s := range stages {
		for _, by := range callEnds {
			clauses = append(clauses, clause{says: by.by + " while " + s.at, over: s.over, holds: func(e *env) {
				var end func()
				ready := make(chan struct{})
				req := s.set(e, sync.OnceFunc(func() { <-ready; end() }))
				req, end = by.apply(e, req)
				close(ready)
				e.do(req)
				for _, b := range e.bodies {
					e.await(b.closed, "the body to be closed")
				}
			}})
		}
	}
	for _, by := range callEnds[:2] {
		clauses = append(clauses, clause{says: by.by + " before the call", over: anyProto, holds: func(e *env) {
			srv := e.serve(echo)
			for range 2 {
				req, end := by.apply(e, e.bodied(srv.URL))
				end()
				e.do(req)
				if e.proto&anyHTTP2 != 0 {
					break // on a used connection net/http forgets the cause
				}
				e.get(srv.URL) // the second time on a used connection
			}
		}})
	}
	runContract(t, clauses)
}

func TestTheContractOfResponsesThatAreCutShort(t *testing.T) {
	var clauses []clause
	for _, by := range callEnds {
		clauses = append(clauses, clause{says: by.by + " while reading the response", over: anyProto, holds: func(e *env) {
			held := e.held()
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "begun")
				http.NewResponseController(w).Flush()
				<-held
			})
			req, end := by.apply(e, e.request("GET", srv.URL, nil))
			resp, err := e.roundTrip(req)
			require.NoError(e, err)
			b := make([]byte, 5)
			_, err = io.ReadFull(resp.Body, b)
			e.note("%q %v", b, err)
			go end()
			for range 2 {
				_, err = resp.Body.Read(b)
				e.note("read %s", describe(err))
			}
			if err := resp.Body.Close(); e.proto&anyHTTP1 != 0 { // in HTTP/2 it may be too early for the error
				e.note("close %v", err)
			}
			_, err = resp.Body.Read(b)
			e.note("read %v", err)
		}})
	}
	clauses = append(clauses, clause{says: "Close while Read waits ends the Read", over: anyHTTP2, holds: func(e *env) {
		held := e.held()
		srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).Flush()
			<-held
		})
		resp, err := e.roundTrip(e.request("GET", srv.URL, nil))
		require.NoError(e, err)
		read := make(chan error)
		go func() {
			_, err := resp.Body.Read(make([]byte, 1))
			read <- err
		}()
		e.note("%v", resp.Body.Close())
		require.Error(e, <-read) // which error depends on who was first
	}}, clause{says: "a response closed while it is read ends both", over: anyHTTP1, holds: func(e *env) {
		held := e.held()
		srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).Flush()
			<-held
		})
		resp, err := e.roundTrip(e.request("GET", srv.URL, nil))
		require.NoError(e, err)
		var wg sync.WaitGroup
		wg.Go(func() { _, err = resp.Body.Read(make([]byte, 1)) })
		e.note("%v", resp.Body.Close())
		wg.Wait()
		require.Error(e, err)
	}}, clause{says: "cancellation after the response was read changes nothing", over: anyProto, holds: func(e *env) {
		var last string
		srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
			e.note("the same connection %v", r.RemoteAddr == last)
			last = r.RemoteAddr
			io.WriteString(w, "hello")
		})
		for range 5 {
			ctx, cancel := context.WithCancel(e.Context())
			e.do(e.request("GET", srv.URL, nil).WithContext(ctx))
			cancel()
		}
	}})
	runContract(t, clauses)
}
