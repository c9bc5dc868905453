package idlewise

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func echo(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s %d %v", r.Method, r.RequestURI, r.Host, r.ContentLength, r.TransferEncoding)
	w.Write(b)
}

func TestTheContractOfResponses(t *testing.T) {
	runContract(t, []clause{
		{says: "a GET and a POST are answered", over: anyProto, holds: func(e *env) {
			srv := e.serve(echo)
			e.get(srv.URL + "/a?b=c")
			e.do(e.request("POST", srv.URL, strings.NewReader("hello")))
			e.do(e.request("PUT", srv.URL, e.body(strings.NewReader("hello"))))
			e.do(e.request("", srv.URL, nil))
		}},
		{says: "HEAD, 204 and 304 have no body and their connection is used again", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-From", fmt.Sprint(r.RemoteAddr != ""))
				switch r.URL.Path {
				case "/204":
					w.WriteHeader(204)
				case "/304":
					w.Header().Set("ETag", `"x"`)
					w.WriteHeader(304)
				case "/0":
				default:
					w.Header().Set("Content-Length", "5")
					io.WriteString(w, "hello")
				}
			})
			for range 2 {
				for _, path := range []string{"/204", "/304", "/0", "/"} {
					e.do(e.request("HEAD", srv.URL+path, nil))
					e.get(srv.URL + path)
				}
			}
		}},
		{says: "a HEAD's and a 204's body is NoBody", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
			for _, method := range []string{"HEAD", "GET"} {
				resp, err := e.roundTrip(e.request(method, srv.URL, nil))
				require.NoError(e, err)
				e.note("%v", resp.Body == http.NoBody)
				resp.Body.Close()
			}
		}},
		{says: "HTTP/1.0 responses end their connection unless keep-alive is agreed", holds: func(e *env) {
			for _, answer := range []string{
				"HTTP/1.0 200 OK\r\n\r\nuntil the end",
				"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
				"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
				"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nuntil the end",
				"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
				"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
				"HTTP/1.1 200 OK\r\n\r\nuntil the end",
			} {
				addr := e.listen(func(c net.Conn, number int) {
					br := bufio.NewReader(c)
					for {
						req, err := http.ReadRequest(br)
						if err != nil {
							return
						}
						e.note("%d %v", number, req.Header)
						io.WriteString(c, answer)
						if strings.HasSuffix(answer, "end") {
							return
						}
					}
				})
				for range 3 {
					e.get("http://" + addr)
				}
			}
		}},
		{says: "Request.Close ends the connection", over: anyProto, holds: func(e *env) {
			var last string
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				e.note("the same %v, close %v %q", r.RemoteAddr == last, r.Close, r.Header["Connection"])
				last = r.RemoteAddr
			})
			for i := range 4 {
				req := e.request("GET", srv.URL, nil)
				req.Close = i%2 == 1
				e.do(req)
			}
		}},
		{says: "a request's Connection: close header is sent", holds: func(e *env) {
			var last string
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				e.note("the same %v, close %v", r.RemoteAddr == last, r.Close)
				last = r.RemoteAddr
			})
			for range 2 {
				req := e.request("GET", srv.URL, nil)
				req.Header.Set("Connection", "close")
				e.do(req)
			}
		}},
		{says: "Request.Host is sent instead of the URL's", over: anyProto, holds: func(e *env) {
			srv := e.serve(echo)
			req := e.request("GET", srv.URL, nil)
			req.Host = "other.example:81"
			e.do(req)
		}},
		{says: "an opaque URL is sent as it is", holds: func(e *env) {
			srv := e.serve(echo)
			req := e.request("GET", srv.URL, nil)
			req.URL.Opaque = "//elsewhere.example/a%2Fb"
			e.do(req)
		}},
		{says: "a file is uploaded whole", over: anyProto, holds: func(e *env) {
			name := filepath.Join(e.TempDir(), "upload")
			require.NoError(e, os.WriteFile(name, []byte(strings.Repeat("0123456789abcdef", 1<<16)), 0o600))
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				n, err := io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, n, err, r.ContentLength)
			})
			for _, length := range []int64{1 << 20, -1, 0} {
				f, err := os.Open(name)
				require.NoError(e, err)
				req := e.request("PUT", srv.URL, f)
				req.ContentLength = length
				e.do(req)
				_, err = f.Stat()
				e.note("closed %v", err != nil)
			}
		}},
		{says: "a large response and a large request pass at once", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				http.NewResponseController(w).EnableFullDuplex()
				io.Copy(w, r.Body)
			})
			resp, err := e.roundTrip(e.request("POST", srv.URL, e.body(io.LimitReader(zeros{}, 4<<20))))
			require.NoError(e, err)
			n, err := io.Copy(io.Discard, resp.Body)
			e.note("%d %v", n, err)
			resp.Body.Close()
		}},
	})
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTheContractOfClients(t *testing.T) {
	runContract(t, []clause{
		{says: "redirects are followed, with the body where they ask for it", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				e.note("%s %s %q %q", r.Method, r.URL.Path, b, r.Header.Get("Referer"))
				var status, hops int
				if n, _ := fmt.Sscanf(r.URL.Path, "/%d/%d", &status, &hops); n == 2 && hops > 0 {
					http.Redirect(w, r, fmt.Sprintf("/%d/%d", status, hops-1), status)
				}
			})
			for _, status := range []int{301, 302, 303, 307, 308} {
				resp, err := e.client().Post(fmt.Sprintf("%s/%d/2", srv.URL, status), "text/plain", strings.NewReader("body"))
				e.noteResult(resp, err)
			}
			resp, err := e.client().Get(srv.URL + "/302/20")
			require.NotNil(e, resp, "the last response comes with the error")
			e.note("%s", describe(err))
		}},
		{says: "cookies are kept and sent", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				e.note("%v", r.Cookies())
				http.SetCookie(w, &http.Cookie{Name: fmt.Sprint("n", len(r.Cookies())), Value: "v"})
			})
			client := e.client()
			client.Jar, _ = cookiejar.New(nil)
			for range 3 {
				resp, err := client.Get(srv.URL)
				e.noteResult(resp, err)
			}
		}},
		{says: "a user in the URL is sent as basic auth", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				user, password, ok := r.BasicAuth()
				e.note("%s %s %v", user, password, ok)
			})
			u, _ := url.Parse(srv.URL)
			u.User = url.UserPassword("me", "pass")
			resp, err := e.client().Get(u.String())
			e.noteResult(resp, err)
			e.get(u.String()) // a RoundTripper does not
		}},
	})
}
