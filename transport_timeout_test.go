package idlewise

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheContractOfTimeouts(t *testing.T) {
	silent := func(e *env) string {
		return e.listen(func(c net.Conn, _ int) { io.Copy(io.Discard, c) })
	}
	runContract(t, []clause{
		{says: "ResponseHeaderTimeout ends a call whose response does not come", over: anyProto, holds: func(e *env) {
			held := e.held()
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				<-held
			})
			e.base.ResponseHeaderTimeout = 30 * time.Millisecond
			e.do(e.bodied(srv.URL))
			e.do(e.bodied(srv.URL))
		}},
		{says: "ResponseHeaderTimeout does not count the sending and reading of bodies", over: http1, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				http.NewResponseController(w).Flush()
				<-time.After(350 * time.Millisecond) // longer than the timeout: that is the case
				w.Write(b)
			})
			e.base.ResponseHeaderTimeout = 300 * time.Millisecond
			pr, pw := io.Pipe()
			go func() {
				<-time.After(350 * time.Millisecond)
				io.WriteString(pw, "hello")
				pw.Close()
			}()
			e.do(e.request("POST", srv.URL, e.body(pr)))
		}},
		{says: "TLSHandshakeTimeout ends a handshake", holds: func(e *env) {
			e.base.TLSHandshakeTimeout = 20 * time.Millisecond
			e.do(e.bodied("https://" + silent(e)))
			resp, err := e.client().Get("https://" + silent(e))
			e.noteResult(resp, err)
		}},
		{says: "a dialer's timeout is the request's", holds: func(e *env) {
			e.base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, time.Nanosecond)
				defer cancel()
				var d net.Dialer
				return d.DialContext(ctx, network, "127.0.0.1:1")
			}
			e.do(e.bodied("http://example.com/"))
			resp, err := e.client().Get("http://example.com/")
			e.noteResult(resp, err)
		}},
		{says: "MaxResponseHeaderBytes bounds the header", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				if r.Method == "POST" {
					w.Header().Set("X-Big", strings.Repeat("x", 20_000))
				}
			})
			e.base.MaxResponseHeaderBytes = 10_000
			for range 2 {
				e.get(srv.URL)
				e.do(e.bodied(srv.URL))
			}
		}},
	})
}

// The text is what programs log and some look for; Timeout is what most ask.
func TestTheContractOfTheClientsTimeout(t *testing.T) {
	// several makes a choice by chance visible. A try that did not get as far as
	// it should gives no error, and another has twice the time.
	several := func(e *env, timeout time.Duration, try func(client *http.Client) error) {
		shared := e.client()
		var tries sync.WaitGroup
		errs := make([]error, 5)
		for i := range errs {
			tries.Go(func() {
				client := *shared
				for client.Timeout = timeout; errs[i] == nil && client.Timeout < time.Minute; client.Timeout *= 2 {
					errs[i] = try(&client)
				}
			})
		}
		tries.Wait()
		for _, err := range errs {
			require.Error(e, err)
			e.note("%s", describe(err))
			require.True(e, err.(net.Error).Timeout())
		}
	}
	const (
		atOnce       = 15 * time.Millisecond
		afterHeaders = 100 * time.Millisecond
	)
	post := func(url string) func(client *http.Client) error {
		return func(client *http.Client) error {
			resp, err := client.Post(url, "text/plain", strings.NewReader("hello"))
			if err == nil {
				defer resp.Body.Close()
				_, err = io.ReadAll(resp.Body)
			}
			return err
		}
	}
	runContract(t, []clause{
		{says: "http.Client.Timeout while dialing", holds: func(e *env) {
			held := e.held()
			e.base.DialContext = func(context.Context, string, string) (net.Conn, error) {
				<-held
				return nil, io.EOF
			}
			several(e, atOnce, post("http://example.com"))
		}},
		{says: "http.Client.Timeout in the TLS handshake", holds: func(e *env) {
			addr := e.listen(func(c net.Conn, _ int) { io.Copy(io.Discard, c) })
			several(e, atOnce, post("https://"+addr))
		}},
		{says: "http.Client.Timeout while waiting for the response", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				<-e.held()
			})
			several(e, atOnce, post(srv.URL))
		}},
		{says: "http.Client.Timeout while reading the response", over: anyProto, holds: func(e *env) {
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				http.NewResponseController(w).Flush()
				<-e.held()
			})
			several(e, afterHeaders, func(client *http.Client) error {
				resp, err := client.Post(srv.URL, "text/plain", strings.NewReader("hello"))
				if err != nil {
					return nil // before the header came
				}
				defer resp.Body.Close()
				_, err = io.ReadAll(resp.Body)
				return err
			})
		}},
		{says: "http.Client.Timeout that does not pass changes nothing", over: anyProto, holds: func(e *env) {
			srv := e.serve(echo)
			client := e.client()
			client.Timeout = time.Minute
			for range 3 {
				resp, err := client.Get(srv.URL)
				e.noteResult(resp, err)
			}
		}},
		{says: "http.Client.Timeout leaves empty responses alone that do not end with their header", over: anyProto, holds: func(e *env) {
			seen := make(chan struct{}, 1)
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Trailer", "T")
				if r.URL.Path == "/204" {
					w.WriteHeader(http.StatusNoContent)
				} else {
					w.Header().Set("Content-Length", "0")
				}
				http.NewResponseController(w).Flush()
				<-seen // the client has the header alone
				w.Header().Set("T", "trailer")
			})
			client := e.client()
			client.Timeout = time.Minute
			for _, path := range []string{"/", "/204"} {
				resp, err := client.Get(srv.URL + path)
				seen <- struct{}{}
				e.noteResult(resp, err)
			}
		}},
		{says: "http.Client.Timeout does not cut off the request's body when an empty response comes first", over: http2, holds: func(e *env) {
			read := make(chan string, 1)
			srv := e.serve(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "0")
				http.NewResponseController(w).Flush()
				b, err := io.ReadAll(r.Body)
				read <- fmt.Sprintf("%q %v", b, err)
			})
			client := e.client()
			client.Timeout = time.Minute
			pr, pw := io.Pipe()
			resp, err := client.Post(srv.URL, "text/plain", pr)
			require.NoError(e, err)
			io.WriteString(pw, "hello")
			pw.Close()
			e.note("%s", <-read)
			e.noteResult(resp, err)
		}},
	})
}

func TestTheContractOfTLS(t *testing.T) {
	runContract(t, []clause{
		{says: "an unknown authority is the same error", over: https1 | http2, holds: func(e *env) {
			srv := e.serve(echo)
			e.base.TLSClientConfig = nil
			e.do(e.bodied(srv.URL))
			resp, err := e.client().Get(srv.URL)
			e.noteResult(resp, err)
		}},
		{says: "a certificate for another name is the same error", over: https1 | http2, holds: func(e *env) {
			srv := e.serve(echo)
			e.base.TLSClientConfig.ServerName = "elsewhere.example.org"
			e.do(e.bodied(srv.URL))
		}},
		{says: "an HTTP answer to an HTTPS request is ErrSchemeMismatch", holds: func(e *env) {
			srv := e.serve(echo)
			url := strings.Replace(srv.URL, "http:", "https:", 1)
			e.do(e.bodied(url))
			resp, err := e.client().Get(url)
			e.noteResult(resp, err)
		}},
		{says: "an HTTPS server asked in HTTP answers 400", over: https1, holds: func(e *env) {
			srv := e.serve(echo)
			e.get(strings.Replace(srv.URL, "https:", "http:", 1))
		}},
		{says: "a server that wants a certificate, and a handshake that is cut off, give the same error", over: https1 | http2, holds: func(e *env) {
			srv := e.serve(echo)
			srv.TLS.ClientAuth = tls.RequireAnyClientCert
			srv.TLS.MaxVersion = tls.VersionTLS12 // in 1.3 the client learns of it later
			e.do(e.bodied(srv.URL))
			e.do(e.bodied("https://" + e.listen(func(c net.Conn, _ int) { bufio.NewReader(c).ReadByte() })))
		}},
		{says: "Response.TLS tells of the connection", over: anyProto, holds: func(e *env) {
			srv := e.serve(echo)
			for range 2 {
				resp, err := e.roundTrip(e.request("GET", srv.URL, nil))
				require.NoError(e, err)
				if s := resp.TLS; s != nil {
					e.note("%x %q %v %s %d %d, resumed %v", s.Version, s.NegotiatedProtocol, s.HandshakeComplete, s.ServerName, len(s.PeerCertificates), len(s.VerifiedChains), s.DidResume)
				} else {
					e.note("no TLS")
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}},
		{says: "idlewise resumes TLS sessions where nothing forbids it", over: https1, differs: "resumption saves redials a round trip", holds: func(e *env) {
			srv := e.serve(echo)
			for i := range 2 {
				resp, err := e.roundTrip(e.request("GET", srv.URL, nil))
				require.NoError(e, err)
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				require.Equal(e, e.ours && i == 1, resp.TLS.DidResume)
				e.note("%v", resp.TLS.DidResume)
				e.client().CloseIdleConnections()
			}
		}},
	})
}
