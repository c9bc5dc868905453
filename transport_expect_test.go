package idlewise

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// expecting makes a POST that waits for leave to send its body.
func (e *env) expecting(url, body string) *http.Request {
	req := e.request("POST", url, e.body(strings.NewReader(body)))
	req.ContentLength = int64(len(body))
	req.Header.Set("Expect", "100-continue")
	return req
}

// informed notes the informational responses of req.
func (e *env) informed(req *http.Request) *http.Request {
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got100Continue: func() { e.note("got 100") },
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			e.note("got %d %v", code, h)
			if h.Get("X-Refuse") != "" {
				return fmt.Errorf("the program does not like %d", code)
			}
			return nil
		},
	}))
}

func TestTheContractOfExpectContinue(t *testing.T) {
	runContract(t, []clause{
		{says: "a body is sent once it is asked for", over: anyProto, holds: func(e *env) {
			e.base.ExpectContinueTimeout = time.Minute
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body) // asks
				fmt.Fprintf(w, "%s %v", b, err)
			})
			for range 2 {
				e.do(e.informed(e.expecting(srv.URL, "hello")))
			}
		}},
		{says: "a body that is refused with a final status is not read", over: http1, holds: func(e *env) {
			e.base.ExpectContinueTimeout = time.Minute
			rest := make(chan []byte, 1)
			addr := e.listen(func(c net.Conn, number int) {
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, "HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
				b, _ := io.ReadAll(c)
				rest <- b
			})
			req := e.informed(e.expecting("http://"+addr, "hello"))
			e.do(req)
			e.await(e.bodies[0].closed, "the body to be closed")
			e.note("the server then got %q", <-rest)
			e.note("body left %d", e.bodies[0].Reader.(*strings.Reader).Len())
		}},
		{says: "a body is sent after a final status that keeps the connection", over: http1, holds: func(e *env) {
			e.base.ExpectContinueTimeout = time.Minute
			got := make(chan struct{})
			addr := e.listen(func(c net.Conn, number int) {
				br := bufio.NewReader(c)
				req, err := http.ReadRequest(br)
				if err != nil {
					return
				}
				io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
				b, _ := io.ReadAll(req.Body)
				e.note("then %q", b)
				close(got)
				io.Copy(io.Discard, br)
			})
			resp, err := e.roundTrip(e.expecting("http://"+addr, "hello"))
			require.NoError(e, err)
			e.await(got, "the body")
			e.noteResult(resp, err)
		}},
		{says: "a body is sent after ExpectContinueTimeout, and a late 100 does no harm", over: http1, holds: func(e *env) {
			e.base.ExpectContinueTimeout = 5 * time.Millisecond
			addr := e.listen(func(c net.Conn, number int) {
				br := bufio.NewReader(c)
				for {
					req, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					b, _ := io.ReadAll(req.Body) // without asking
					if req.URL.Path == "/late" {
						io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
					}
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(b), b)
				}
			})
			e.do(e.informed(e.expecting("http://"+addr+"/late", "hello")))
			e.do(e.informed(e.expecting("http://"+addr+"/never", "hello")))
		}},
		{says: "without ExpectContinueTimeout the body follows at once", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				w.Write(b)
			})
			e.do(e.expecting(srv.URL, "hello"))
		}},
		{says: "an answer without reading closes the body once", over: anyHTTP2, holds: func(e *env) {
			e.base.ExpectContinueTimeout = time.Minute
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(417) })
			for range 2 {
				e.do(e.expecting(srv.URL, "hello"))
			}
		}},
		{says: "a connection lost while waiting for 100 is an error, and the body is closed", over: http1, holds: func(e *env) {
			e.base.ExpectContinueTimeout = time.Minute
			addr := e.listen(func(c net.Conn, number int) { http.ReadRequest(bufio.NewReader(c)) })
			req := e.expecting("http://"+addr, "hello")
			resp, err := e.roundTrip(req)
			require.Nil(e, resp)
			require.ErrorIs(e, err, io.EOF)
			e.note("%s, connections reused none", describe(err))
			e.note("body left %d", e.bodies[0].Reader.(*strings.Reader).Len())
		}},
		{says: "a context that ends while waiting for 100 ends the call", over: http1, holds: func(e *env) {
			e.base.ExpectContinueTimeout = time.Minute
			arrived := make(chan struct{})
			addr := e.listen(func(c net.Conn, number int) {
				br := bufio.NewReader(c)
				http.ReadRequest(br)
				close(arrived)
				io.Copy(io.Discard, br)
			})
			ctx, cancel := context.WithCancel(e.Context())
			go func() {
				<-arrived
				cancel()
			}()
			e.do(e.expecting("http://"+addr, "hello").WithContext(ctx))
		}},
	})
}

func TestTheContractOfInformationalResponses(t *testing.T) {
	runContract(t, []clause{
		{says: "103s reach the trace, before the response", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				for i := range 2 {
					w.Header().Set("Link", fmt.Sprint("</", i, ">"))
					w.WriteHeader(http.StatusEarlyHints)
				}
				io.WriteString(w, "done")
			})
			for range 2 {
				e.do(e.informed(e.request("GET", srv.URL, nil)))
			}
		}},
		{says: "an error of the trace's Got1xxResponse is the request's", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Refuse", "1")
				w.WriteHeader(http.StatusEarlyHints)
				io.WriteString(w, "done")
			})
			resp, err := e.roundTrip(e.informed(e.request("GET", srv.URL, nil)))
			require.Nil(e, resp)
			e.note("%s", describe(err))
		}},
		{says: "too many informational headers are an error", over: http1, holds: func(e *env) {
			e.base.MaxResponseHeaderBytes = 4 << 10
			addr := e.listen(func(c net.Conn, number int) {
				http.ReadRequest(bufio.NewReader(c))
				for range 100 {
					io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("x", 1000)+"\r\n\r\n")
				}
				io.Copy(io.Discard, c)
			})
			e.get("http://" + addr)
		}},
	})
}
