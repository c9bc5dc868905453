package faultserver_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func handled(t *testing.T, h http.HandlerFunc) *faultserver.Server {
	t.Helper()
	return faultserver.Start(t, faultserver.Config{Handler: h})
}

func TestThe100ContinueIsSentWhenTheHandlerReads(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	c := dialRaw(t, s)
	c.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	line, err := c.br.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = c.br.ReadString('\n')
	require.NoError(t, err)
	c.send("body")
	_, body := c.response("POST")
	require.Equal(t, "POST / 4\n", body)
	c.wantAlive()
}

func TestAHandlerThatDoesNotReadNeverSays100ContinueAndCloses(t *testing.T) {
	s := handled(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "no") })
	c := dialRaw(t, s)
	c.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	resp, _ := c.response("POST")
	require.Equal(t, 200, resp.StatusCode)
	require.True(t, resp.Close)
	c.wantFIN()
	require.Equal(t, faultserver.BodyLeftUnread, onlyConn(t, s).Reason)
}

func TestABodyTooLargeToReadPastEndsTheConnectionWithoutARST(t *testing.T) {
	s := handled(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "enough") })
	c := dialRaw(t, s)
	c.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 300_000))
	resp, body := c.response("POST")
	require.True(t, resp.Close)
	require.Equal(t, "enough", body)
	c.wantFIN()
}

func TestInterimResponsesAreSentAtOnce(t *testing.T) {
	s := handled(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(201)
	})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	hints, err := http.ReadResponse(c.br, nil)
	require.NoError(t, err)
	require.Equal(t, 103, hints.StatusCode)
	require.Equal(t, "</style.css>", hints.Header.Get("Link"))
	resp, _ := c.response("GET")
	require.Equal(t, 201, resp.StatusCode)
}

func TestHTTP10ClosesUnlessAskedToStay(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	resp, _ := c.response("GET")
	require.Equal(t, "keep-alive", resp.Header.Get("Connection"))
	c.send("GET / HTTP/1.0\r\n\r\n")
	resp, _ = c.response("GET")
	require.True(t, resp.Close)
	c.wantFIN()
	require.Equal(t, faultserver.RequestAskedClose, onlyConn(t, s).Reason)
}

func TestAnHTTP10BodyOfUnknownLengthEndsWithTheConnection(t *testing.T) {
	s := handled(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		io.WriteString(w, "to the end")
	})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	resp, body := c.response("GET")
	require.Empty(t, resp.TransferEncoding)
	require.Equal(t, "to the end", body)
}

func TestConnectionCloseIsHonoredFromEitherSide(t *testing.T) {
	s := handled(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/handler" {
			w.Header().Set("Connection", "close")
		}
	})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
	resp, _ := c.response("GET")
	require.True(t, resp.Close)
	c.wantFIN()
	c = dialRaw(t, s)
	resp, _ = c.get("/handler")
	require.True(t, resp.Close)
	c.wantFIN()
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	c := dialRaw(t, s)
	c.send(post("/1", "a") + post("/2", "bb"))
	_, first := c.response("POST")
	_, second := c.response("POST")
	require.Equal(t, "POST /1 1\nPOST /2 2\n", first+second)
}

func TestAMalformedRequestIsRefused(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	c := dialRaw(t, s)
	c.send("nonsense\r\n\r\n")
	resp, _ := c.response("GET")
	require.Equal(t, 400, resp.StatusCode)
	c.wantFIN()
	require.Equal(t, faultserver.ProtocolError, onlyConn(t, s).Reason)
}

func TestAHeadIsRefusedAsNetHTTPRefusesIt(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	other := httptest.NewServer(faultserver.Echo)
	t.Cleanup(other.Close)
	for head, want := range map[string]int{
		"GET / HTTP/1.1\r\nHost: test\r\n":                              200,
		"GET / HTTP/1.1\r\nX: 1\r\nhOST:test\r\n":                       200,
		"GET / HTTP/1.1\nHost: test\n":                                  200,
		"GET / HTTP/1.1\r\nHost:\r\n":                                   200,
		"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 9000) + "\r\n":    400,
		"GET / HTTP/1.1\r\n":                                            400,
		"GET http://test/ HTTP/1.1\r\n":                                 400,
		"GET /Host: HTTP/1.1\r\nX: Host: test\r\n Host: test\r\n":       400,
		"GET / HTTP/1.1\r\nHosts: test\r\n":                             400,
		"GET / HTTP/1.1\r\nHost: a b\r\n":                               400,
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n":                      400,
		"GET / HTTP/1.0\r\n":                                            200,
		"GET / HTTP/1.1\r\nHost: test\r\nX[]: 1\r\n":                    400,
		"GET / HTTP/1.1\r\nHost: test\r\nX: a\x01b\r\n":                 400,
		"GET / HTTP/1.1\r\nHost: test\r\nExpect: a miracle\r\n":         417,
		"GET / HTTP/1.1\r\nHost: test\r\nExpect: 100-Continue\r\n":      200,
		"GET / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue, a\r\n":   200,
		"GET / HTTP/1.1\r\nHost: test\r\nExpect: \r\nX: GET / Host\r\n": 200,
	} {
		for _, address := range []string{s.Addr().String(), other.Listener.Addr().String()} {
			nc, err := net.Dial("tcp", address)
			require.NoError(t, err)
			c := &rawConn{Conn: nc, t: t, br: bufio.NewReader(nc)}
			c.send(head + "\r\n")
			resp, _ := c.response("GET")
			require.Equal(t, want, resp.StatusCode, "%q", head)
			require.NoError(t, c.Close())
		}
	}
	for _, row := range s.Journal().Requests() {
		require.Equal(t, 1, row.Executed, "what was refused is no request")
	}
}

func TestEachOfSeveralPipelinedHeadsNeedsAHost(t *testing.T) {
	c := dialRaw(t, faultserver.Start(t, faultserver.Config{}))
	c.send(post("/1", "Host: body\r\n\r\n") + post("/2", "") + "GET /3 HTTP/1.1\r\n\r\n" + post("/4", ""))
	for _, want := range []int{200, 200, 400} {
		resp, _ := c.response("POST")
		require.Equal(t, want, resp.StatusCode)
	}
	c.wantFIN()
}

func TestAnEndlessHeadIsRefused(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20+8<<10))
	resp, _ := c.response("GET")
	require.Equal(t, 431, resp.StatusCode)
}

func TestAPanicClosesTheConnectionAndIsInTheJournal(t *testing.T) {
	s := handled(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/silent" {
			panic(http.ErrAbortHandler)
		}
		panic("boom")
	})
	for _, path := range []string{"/silent", "/loud"} {
		c := dialRaw(t, s)
		c.send("GET " + path + " HTTP/1.1\r\nHost: test\r\nX-Fault-Key: k\r\n\r\n")
		c.wantFIN()
	}
	require.Equal(t, []string{"the handler panicked on GET /loud: boom"}, s.Journal().Warnings())
	require.Equal(t, faultserver.HandlerPanicked, s.Journal().Conns()[0].Reason)
}

func TestAShortBodyClosesTheConnection(t *testing.T) {
	s := handled(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "short")
	})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	got, err := c.rest()
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(got, "\r\n\r\nshort"), got)
	require.False(t, onlyRequest(t, s).Answered)
}

func TestAHijackedConnectionBelongsToTheHandler(t *testing.T) {
	s := handled(t, func(w http.ResponseWriter, r *http.Request) {
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		rw.Flush()
		line, _ := rw.ReadString('\n')
		rw.WriteString(line)
		rw.Flush()
		nc.Close()
	})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	resp, err := http.ReadResponse(c.br, nil)
	require.NoError(t, err)
	require.Equal(t, 101, resp.StatusCode)
	c.send("hello\n")
	rest, err := c.rest()
	require.NoError(t, err)
	require.Equal(t, "hello\n", rest)
	require.Equal(t, faultserver.HandlerAskedClose, onlyConn(t, s).Reason)
}

func TestAHeadBegunBeforeHijackIsSentAtHijack(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		line, _ := rw.ReadString('\n')
		io.WriteString(nc, line)
		nc.Close()
	}
	s := faultserver.Start(t, faultserver.Config{Handler: http.HandlerFunc(handler), KeepAlive: "timeout=5", MaxRequestsPerConn: 1})
	other := httptest.NewServer(http.HandlerFunc(handler)) // the model
	defer other.Close()
	for _, addr := range []string{s.Addr().String(), other.Listener.Addr().String()} {
		nc, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer nc.Close()
		io.WriteString(nc, "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		nc.SetReadDeadline(time.Now().Add(10 * time.Second))
		br := bufio.NewReader(nc)
		var head strings.Builder
		for line := ""; line != "\r\n"; { // before the client says anything more
			line, err = br.ReadString('\n')
			require.NoError(t, err, addr)
			if !strings.HasPrefix(line, "Date: ") {
				head.WriteString(line)
			}
		}
		require.Equal(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", head.String())
		io.WriteString(nc, "hello\n")
		rest, err := io.ReadAll(br)
		require.NoError(t, err)
		require.Equal(t, "hello\n", string(rest))
	}
	require.Equal(t, 101, onlyRequest(t, s).Status)
}

func TestTheIdleTimeoutRunsFromTheResponseAndSendsFIN(t *testing.T) {
	const timeout = 40 * time.Millisecond
	s := faultserver.Start(t, faultserver.Config{IdleTimeout: timeout})
	c := dialRaw(t, s)
	for range 3 {
		c.get("/")
	}
	since := time.Now()
	c.wantFIN()
	require.GreaterOrEqual(t, time.Since(since), timeout-5*time.Millisecond)
	row := onlyConn(t, s)
	require.Equal(t, faultserver.IdleTimeout, row.Reason)
	require.Equal(t, 3, row.Requests)
	require.GreaterOrEqual(t, row.IdleAge, timeout)
}

func TestMaxRequestsPerConnIsAnnounced(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{MaxRequestsPerConn: 2, KeepAlive: "timeout=9"})
	c := dialRaw(t, s)
	resp, _ := c.get("/")
	require.False(t, resp.Close)
	require.Equal(t, "timeout=9", resp.Header.Get("Keep-Alive"))
	resp, _ = c.get("/")
	require.True(t, resp.Close)
	require.Empty(t, resp.Header.Get("Keep-Alive"))
	c.wantFIN()
	require.Equal(t, faultserver.RequestLimit, onlyConn(t, s).Reason)
}
