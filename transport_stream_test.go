package idlewise

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheContractOfTrailers(t *testing.T) {
	runContract(t, []clause{
		{says: "trailers go both ways", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Trailer", "X-Sum, X-Late")
				e.note("announced %v", r.Trailer)
				b, err := io.ReadAll(r.Body)
				e.note("%s %v, then %v", b, err, r.Trailer)
				w.Write(b)
				w.Header().Set("X-Sum", "7")
				w.Header().Set(http.TrailerPrefix+"X-Unannounced", "8")
			})
			for range 2 {
				req := e.request("POST", srv.URL, nil)
				req.Trailer = http.Header{"X-Digest": nil}
				req.ContentLength = -1
				trailer := req.Trailer
				req.Body = e.body(&atEOF{strings.NewReader("hello"), func() { trailer.Set("X-Digest", "42") }})
				resp, err := e.rt().RoundTrip(req) // its own trailer is modified by the body
				require.NoError(e, err)
				e.note("before %d", len(resp.Trailer))
				e.noteResult(resp, err)
				e.note("after %v", resp.Trailer)
			}
		}},
		{says: "a trailer that is too large or malformed gives the same error", over: http1, holds: func(e *env) {
			for _, trailer := range []string{"X-Sum 7\r\n\r\n", strings.Repeat("X-Sum: 7\r\n", 10_000) + "\r\n", "X-Sum: 7", "X-Sum: 7\r\nX-Unannounced: 8\r\n\r\n"} {
				addr := e.listen(func(c net.Conn, _ int) {
					http.ReadRequest(bufio.NewReader(c))
					io.WriteString(c, "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"+trailer)
				})
				resp, err := e.roundTrip(e.request("GET", "http://"+addr, nil))
				require.NoError(e, err)
				b, err := io.ReadAll(resp.Body)
				e.note("%s %v %d", b, err, len(resp.Trailer["X-Sum"]))
				resp.Body.Close()
			}
		}},
	})
}

// atEOF runs f when r has ended.
type atEOF struct {
	io.Reader
	f func()
}

func (r *atEOF) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		r.f()
	}
	return n, err
}

func TestTheContractOfStreams(t *testing.T) {
	runContract(t, []clause{
		{says: "request and response bodies alternate", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				rc := http.NewResponseController(w)
				rc.EnableFullDuplex()
				rc.Flush()
				lines := bufio.NewScanner(r.Body)
				for lines.Scan() {
					fmt.Fprintf(w, "echo %s\n", lines.Text())
					rc.Flush()
				}
				io.WriteString(w, "bye")
			})
			pr, pw := io.Pipe()
			body := e.body(pr)
			resp, err := e.roundTrip(e.request("POST", srv.URL, body))
			require.NoError(e, err)
			answers := bufio.NewReader(resp.Body)
			for i := range 20 {
				fmt.Fprintf(pw, "%d\n", i)
				line, err := answers.ReadString('\n')
				e.note("%q %v", line, err)
			}
			pw.Close()
			rest, err := io.ReadAll(answers)
			e.note("%q %v", rest, err)
			resp.Body.Close()
		}},
		{says: "a response that comes before the body is sent is given at once, and the body goes on", over: anyHTTP2, holds: func(e *env) {
			got := make(chan string, 1)
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "early")
				http.NewResponseController(w).Flush()
				b, _ := io.ReadAll(r.Body)
				got <- string(b)
			})
			pr, pw := io.Pipe()
			resp, err := e.roundTrip(e.request("POST", srv.URL, e.body(pr)))
			require.NoError(e, err)
			io.WriteString(pw, "late")
			pw.Close()
			e.noteResult(resp, err)
			e.note("%s", <-got)
		}},
		{says: "an early response that ends the exchange ends the body, which is closed once", over: http1, holds: func(e *env) {
			addr := e.listen(func(c net.Conn, _ int) {
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
				io.Copy(io.Discard, c) // until the client gives up
			})
			for range 2 {
				req := e.request("POST", "http://"+addr, e.body(zeros{}))
				e.do(req)
			}
			for _, b := range e.bodies {
				e.await(b.closed, "the body to be closed")
			}
		}},
		{says: "an early HTTP/2 response that ends the exchange ends the body, which is closed once", over: anyHTTP2, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(413) })
			for range 2 {
				e.do(e.request("POST", srv.URL, e.body(zeros{})))
			}
		}},
		{says: "closing the response ends a body that is still being sent", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				rc := http.NewResponseController(w)
				rc.EnableFullDuplex()
				rc.Flush()
				io.Copy(io.Discard, r.Body)
			})
			pr, pw := io.Pipe()
			body := e.body(pr)
			body.onEnd = func() { pr.Close() }
			resp, err := e.roundTrip(e.request("POST", srv.URL, body))
			require.NoError(e, err)
			resp.Body.Close()
			_, err = io.Copy(pw, zeros{})
			e.note("%v", err)
		}},
	})
}

func TestTheContractOfUpgrades(t *testing.T) {
	// upgraded answers 101 and then shouts back what it gets, line by line.
	upgraded := func(e *env, first string) string {
		return e.listen(func(c net.Conn, number int) {
			br := bufio.NewReader(c)
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			e.note("%d: %s %q %q", number, req.Method, req.Header["Connection"], req.Header["Upgrade"])
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n"+first)
			lines := bufio.NewScanner(br)
			for lines.Scan() {
				fmt.Fprintln(c, strings.ToUpper(lines.Text()))
			}
			io.WriteString(c, "BYE")
		})
	}
	ask := func(e *env, url string) *http.Request {
		req := e.request("GET", url, nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "shout")
		return req
	}
	runContract(t, []clause{
		{says: "101 hands the connection over, both ways, with half-close, and with what was received already", holds: func(e *env) {
			addr := upgraded(e, "already\n")
			ctx, cancel := context.WithCancel(e.Context())
			defer cancel()
			for range 2 {
				resp, err := e.roundTrip(ask(e, "http://"+addr).WithContext(ctx))
				require.NoError(e, err)
				e.noteHead(resp)
				conn := resp.Body.(io.ReadWriteCloser)
				lines := bufio.NewReader(conn)
				for _, word := range []string{"one", "two"} {
					fmt.Fprintln(conn, word)
					s, err := lines.ReadString('\n')
					e.note("%q %v", s, err)
				}
				e.note("CloseWrite %v", conn.(interface{ CloseWrite() error }).CloseWrite())
				rest, err := io.ReadAll(lines)
				e.note("%q %v", rest, err)
				e.note("close %v", conn.Close())
			}
		}},
		{says: "an upgraded connection outlives the request's context and CloseIdleConnections", holds: func(e *env) {
			addr := upgraded(e, "")
			ctx, cancel := context.WithCancel(e.Context())
			resp, err := e.roundTrip(ask(e, "http://"+addr).WithContext(ctx))
			require.NoError(e, err)
			cancel()
			e.client().CloseIdleConnections()
			conn := resp.Body.(io.ReadWriteCloser)
			_, err = fmt.Fprintln(conn, "still here")
			s, _ := bufio.NewReader(conn).ReadString('\n')
			e.note("%q %v", s, err)
			conn.Close()
			_, err = conn.Read(make([]byte, 1))
			e.note("%s", describe(err))
		}},
		{says: "an upgraded connection does not count against MaxConnsPerHost", holds: func(e *env) {
			addr := upgraded(e, "")
			e.base.MaxConnsPerHost = 1
			for range 3 {
				resp, err := e.roundTrip(ask(e, "http://"+addr))
				require.NoError(e, err)
				defer resp.Body.Close()
				e.note("%d", resp.StatusCode)
			}
		}},
		{says: "an upgraded TLS connection is half-closed, too", over: https1, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				c, buf, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				defer c.Close()
				io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
				b, err := io.ReadAll(buf)
				fmt.Fprintf(c, "got %s %v", b, err)
			})
			resp, err := e.roundTrip(ask(e, srv.URL))
			require.NoError(e, err)
			conn := resp.Body.(io.ReadWriteCloser)
			io.WriteString(conn, "hello")
			e.note("CloseWrite %v", conn.(interface{ CloseWrite() error }).CloseWrite())
			b, err := io.ReadAll(conn)
			e.note("%q %v", b, err)
			conn.Close()
		}},
		{says: "a WebSocket upgrade is made over HTTP/1 though the server speaks HTTP/2", over: http2, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				e.note("%s %q", r.Proto, r.Header["Upgrade"])
				if r.ProtoMajor == 1 {
					c, _, _ := http.NewResponseController(w).Hijack()
					io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
					c.Close()
				}
			})
			for _, upgrade := range []string{"", "websocket", "", "WebSocket"} {
				req := e.request("GET", srv.URL, nil)
				if upgrade != "" {
					req.Header.Set("Connection", "keep-alive, Upgrade")
					req.Header.Set("Upgrade", upgrade)
				}
				e.do(req)
			}
		}},
		{says: "an upgrade that is not granted is an ordinary response", holds: func(e *env) {
			srv := e.serve(echo)
			for range 2 {
				e.do(ask(e, srv.URL))
			}
		}},
	})
}
