package interop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

// A front is a reverse proxy with the transport under test, and a client in
// front of it that is net/http's own.
type front struct {
	*httputil.ReverseProxy
	url    string
	client *http.Client
}

// proxying puts a reverse proxy before the server at backend.
func (s *side) proxying(backend string, change func(*httputil.ReverseProxy)) *front {
	p := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(mustParse(s, backend)) },
		Transport: s.transport(),
		ErrorLog:  quiet,
	}
	if change != nil {
		change(p)
	}
	srv := httptest.NewServer(p)
	srv.Config.ErrorLog = quiet
	client := &http.Client{Transport: &http.Transport{}}
	s.Cleanup(srv.Close)
	s.Cleanup(client.CloseIdleConnections)
	return &front{p, srv.URL, client}
}

func (f *front) do(req *http.Request) (*http.Response, string, error) {
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func TestAReverseProxyPassesBodiesAndTrailersOn(t *testing.T) {
	overProtos(t, func(s *side) {
		backend := s.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "Announced")
			body, err := io.ReadAll(r.Body) // an HTTP/1 front reads no further once it answers
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			w.Write(body)
			w.Header().Set("Announced", "late")
			w.Header().Set(http.TrailerPrefix+"Unannounced", "too")
		}))
		f := s.proxying(backend.URL, nil)
		sent := strings.Repeat("0123456789", 100_000)
		req := s.request("POST", f.url+"/", "")
		req.Body = io.NopCloser(strings.NewReader(sent))
		resp, got, err := f.do(req)
		require.NoError(s, err)
		require.Equal(s, http.StatusOK, resp.StatusCode)
		require.True(s, sent == got, "%d bytes", len(got))
		require.Equal(s, http.Header{"Announced": {"late"}, "Unannounced": {"too"}}, resp.Trailer)
		require.Len(s, backend.Journal().Requests(), 1)
	}, http1, https, http2, h2c)
}

// Each part of a stream goes through when it is there: the server writes the
// next one only when the client has got the last.
func TestAReverseProxyStreamsWithFlushInterval(t *testing.T) {
	overProtos(t, func(s *side) {
		for _, interval := range []time.Duration{-1, time.Millisecond} {
			got := make(chan struct{})
			backend := s.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for range 5 {
					io.WriteString(w, "part\n")
					http.NewResponseController(w).Flush()
					s.await(got, "the client to get a part")
				}
			}))
			f := s.proxying(backend.URL, func(p *httputil.ReverseProxy) { p.FlushInterval = interval })
			resp, err := f.client.Get(f.url)
			require.NoError(s, err)
			part := make([]byte, 5)
			for range 5 {
				_, err := io.ReadFull(resp.Body, part)
				require.NoError(s, err)
				require.Equal(s, "part\n", string(part))
				got <- struct{}{}
			}
			_, err = resp.Body.Read(part)
			require.ErrorIs(s, err, io.EOF)
			require.NoError(s, resp.Body.Close())
		}
	}, http1, h2c)
}

func TestAReverseProxyPassesInterimResponsesOn(t *testing.T) {
	overProtos(t, func(s *side) {
		backend := s.start(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusProcessing)
			io.WriteString(w, "final")
		}))
		f := s.proxying(backend.URL, nil)
		var codes []int
		req := s.request("GET", f.url, "")
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			codes = append(codes, code)
			require.NotEmpty(s, h.Get("Link"))
			return nil
		}}))
		resp, got, err := f.do(req)
		require.NoError(s, err)
		require.Equal(s, http.StatusOK, resp.StatusCode)
		require.Equal(s, "final", got)
		require.Equal(s, []int{http.StatusEarlyHints, http.StatusProcessing}, codes)
	}, http1, https, http2, h2c)
}

func TestAReverseProxyPassesUpgradesThrough(t *testing.T) {
	overProtos(t, func(s *side) {
		e := &echoServer{ended: make(chan struct{}, 1)}
		f := s.proxying(s.serve(e).URL, nil)
		c, _, err := websocket.Dial(s.soon(), f.url, &websocket.DialOptions{HTTPClient: f.client})
		require.NoError(s, err)
		defer c.CloseNow()
		c.SetReadLimit(maxMessage)
		message := bytes.Repeat([]byte("m"), 1<<20)
		sent := make(chan error, 1)
		go func() { sent <- c.Write(s.soon(), websocket.MessageBinary, message) }()
		_, got, err := c.Read(s.soon())
		require.NoError(s, err)
		require.NoError(s, <-sent)
		require.True(s, bytes.Equal(message, got))
		require.NoError(s, c.Close(websocket.StatusNormalClosure, "bye"))
		s.await(e.ended, "the server's side to end")
		require.Equal(s, []websocket.StatusCode{websocket.StatusNormalClosure}, e.endings())
		if upgraded, ok := s.closedFor(idlewise.ClosedUpgraded); ok {
			require.EqualValues(s, 1, upgraded)
		}
	}, http1, https)
}

func TestAClientsAbortCancelsTheRequestBehindTheProxy(t *testing.T) {
	overProtos(t, func(s *side) {
		for _, begun := range []bool{false, true} { // the response
			arrived, gone := make(chan struct{}), make(chan struct{})
			backend := s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(gone)
				if begun {
					io.WriteString(w, "part")
					http.NewResponseController(w).Flush()
				}
				close(arrived)
				<-r.Context().Done()
			}))
			f := s.proxying(backend.URL, func(p *httputil.ReverseProxy) { p.FlushInterval = -1 })
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() {
				_, _, err := f.do(s.request("GET", f.url, "").WithContext(ctx))
				ended <- err
			}()
			s.await(arrived, "the request")
			cancel()
			require.ErrorIs(s, <-ended, context.Canceled)
			s.await(gone, "the handler's context to end")
		}
	}, http1, https, http2, h2c)
}

func TestTheProxysErrorHandlerGetsTheTransportsError(t *testing.T) {
	bothSides(t, http1, func(s *side) {
		backend := s.start(nil, only(faultserver.Fault{Kind: faultserver.FinAfterRequest, ReusedOnly: true}))
		var failures []error
		f := s.proxying(backend.URL, func(p *httputil.ReverseProxy) {
			p.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
				failures = append(failures, err)
				w.WriteHeader(http.StatusBadGateway)
			}
		})
		_, _, err := f.do(s.request("GET", f.url+"/warm", ""))
		require.NoError(s, err)
		resp, _, err := f.do(s.request("POST", f.url+"/", "body"))
		require.NoError(s, err)
		require.Equal(s, http.StatusBadGateway, resp.StatusCode)
		require.Len(s, failures, 1)
		require.ErrorIs(s, failures[0], io.EOF)
		var judged *idlewise.Error
		require.Equal(s, s.ours, errors.As(failures[0], &judged))
		s.sees(backend, 1)
	})
}

// What the proxy is there for: the stale connection behind it does not reach
// the client. The body has no GetBody behind a proxy, but what was not written
// needs none, and DELETE has none.
func TestAStaleConnectionBehindAProxyIsNotTheClientsError(t *testing.T) {
	bothSides(t, http1, func(s *side) {
		backend := s.start(nil, only(faultserver.Fault{Kind: faultserver.FinAfterRequest, ReusedOnly: true, Times: 1}))
		f := s.proxying(backend.URL, nil)
		_, _, err := f.do(s.request("GET", f.url+"/warm", ""))
		require.NoError(s, err)
		resp, _, err := f.do(s.request("DELETE", f.url+"/", ""))
		require.NoError(s, err)
		want := http.StatusBadGateway
		if s.ours {
			want = http.StatusOK
		}
		require.Equal(s, want, resp.StatusCode)
		s.sees(backend, s.onceOrTwice())
	})
}

func TestABrokenResponseIsBrokenBehindTheProxyToo(t *testing.T) {
	overProtos(t, func(s *side) {
		backend := s.start(nil, faultserver.Fault{Kind: faultserver.CloseInBody, Bytes: 3})
		f := s.proxying(backend.URL, nil)
		_, _, err := f.do(s.request("GET", f.url, ""))
		require.Error(s, err, "a response that was cut must not look complete")
		require.Len(s, backend.Journal().Requests(), 1)
	}, http1, h2c)
}
