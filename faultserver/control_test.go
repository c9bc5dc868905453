package faultserver_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

func controlled(t *testing.T, cfg faultserver.Config) *faultserver.Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg.Control = ln
	return faultserver.Start(t, cfg)
}

// control sends a request to the control endpoint and returns the status and
// the body. Headers are "Name: value".
func control(t *testing.T, s *faultserver.Server, request, body string, headers ...string) (int, string) {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, s.ControlURL+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Close = true
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ": ")
		if !ok {
			continue
		}
		req.Header.Set(name, value)
		if name == "Host" {
			req.Host = value
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

func mustControl(t *testing.T, s *faultserver.Server, request, body string, headers ...string) string {
	t.Helper()
	status, text := control(t, s, request, body, headers...)
	require.Equal(t, 200, status, text)
	return text
}

func TestFaultsAreInjectedListedAndClearedFromOutside(t *testing.T) {
	s := controlled(t, faultserver.Config{})
	c := dialRaw(t, s)
	c.wantAlive()
	require.JSONEq(t, `{"ids":[1]}`, mustControl(t, s, "POST /faults", `{"kind":"status","code":503,"times":1}`))
	require.JSONEq(t, `{"ids":[2,3]}`, mustControl(t, s, "POST /faults",
		"- {kind: delay, after: 1ms}\n- kind: idle-close\n  after: 1h\n", "Content-Type: application/yaml"))
	require.JSONEq(t, `{"ids":[4]}`, mustControl(t, s, "POST /faults", "silent-close path=/x\n", "Content-Type: text/plain"))
	resp, _ := c.get("/")
	require.Equal(t, 503, resp.StatusCode, "existing connections too")
	require.JSONEq(t, `{"faults":[
		{"id":1,"fault":{"kind":"status","times":1,"code":503},"struck":1,"spent":true},
		{"id":2,"fault":{"kind":"delay","after":"1ms"},"struck":1,"spent":false},
		{"id":3,"fault":{"kind":"idle-close","after":"1h0m0s"},"struck":0,"spent":false},
		{"id":4,"fault":{"kind":"silent-close","path":"/x"},"struck":0,"spent":false}]}`, mustControl(t, s, "GET /faults", ""))
	require.NotContains(t, mustControl(t, s, "DELETE /faults/2", ""), "delay")
	status, text := control(t, s, "DELETE /faults/2", "")
	require.Equal(t, 404, status)
	require.Contains(t, text, `no fault with the id \"2\"`)
	require.JSONEq(t, `{"faults":[{"id":5,"fault":{"kind":"silent-close"},"struck":0,"spent":false}]}`,
		mustControl(t, s, "PUT /faults", `[{"kind":"silent-close"}]`))
	require.JSONEq(t, `{"faults":[]}`, mustControl(t, s, "DELETE /faults", ""))
	c.wantAlive()
}

func TestAListOfFaultsIsInjectedWhollyOrNotAtAll(t *testing.T) {
	s := controlled(t, faultserver.Config{})
	status, text := control(t, s, "POST /faults", "[{\"kind\": \"silent-close\"},\n {\"kind\": \"delay\", \"aftr\": \"5s\"},\n 3]")
	require.Equal(t, 400, status)
	require.JSONEq(t, `{"errors":[
		{"message":"unknown field \"aftr\"; did you mean after?","file":"body","line":2,"column":20,"field":"[1].aftr"},
		{"message":"is a single value where fields with values belong","file":"body","line":3,"column":2,"field":"[2]"}]}`, text)
	require.Empty(t, s.Faults())
}

func TestControlMistakesAreExplained(t *testing.T) {
	s := controlled(t, faultserver.Config{})
	large := strings.Repeat(" ", 64<<10+1)
	for _, test := range []struct {
		request, body, headers string
		status                 int
		want                   string
	}{
		{"POST /faults", "", "", 400, "is empty"},
		{"POST /faults", "{", "", 400, "ends too early"},
		{"POST /faults", `{"kind":"dealy"}`, "", 400, "did you mean delay?"},
		{"POST /faults", "", "Content-Type: text/plain", 400, "is empty"},
		{"POST /faults", "a: [", "Content-Type: application/yaml", 400, `"line": 1`},
		{"POST /faults", "<a/>", "Content-Type: text/xml", 415, "text/xml"},
		{"POST /faults", large, "", 413, "larger than 65536 bytes"},
		{"POST /scenario", large, "", 413, "larger than 65536 bytes"},
		{"POST /scenario", "silent-close", "Content-Type: text/plain", 415, "a scenario is"},
		{"POST /scenario", `{"name":"a","phases":[{"name":"b"},{"name":"c"}]}`, "", 400, "never ends"},
		{"POST /scenario?name=uvicorn-six-seconds", "", "", 404, "did you mean uvicorn-five-seconds?"},
		{"POST /scenario?name=../../etc/passwd", "", "", 404, "unknown scenario"},
		{"POST /scenario?name=uvicorn-five-seconds", "", "", 409, "server.personality: uvicorn"},
		{"POST /do/explode", "", "", 404, "unknown operation"},
		{"POST /do/drain?timeout=5", "", "", 400, "is not a duration"},
		{"GET /journal?follow=yes", "", "", 400, "neither true nor false"},
		{"GET /jurnal", "", "", 404, "/jurnal: there is nothing here"},
		{"GET /reset", "", "", 405, "allowed are POST"},
		{"PATCH /faults", "", "", 405, "allowed are DELETE, GET, HEAD, POST, PUT"},
		{"DELETE /faults/x", "", "", 404, "no fault"},
	} {
		status, text := control(t, s, test.request, test.body, strings.Split(test.headers, "\n")...)
		require.Equal(t, test.status, status, "%s: %s", test.request, text)
		require.True(t, json.Valid([]byte(text)))
		require.Contains(t, text, test.want, test.request)
	}
	require.Empty(t, s.Faults())
}

func TestTheControlEndpointRefusesWebPagesAndOtherNames(t *testing.T) {
	s := controlled(t, faultserver.Config{})
	for header, ok := range map[string]bool{
		"Host: localhost:1234":                  true,
		"Host: [::1]:80":                        true,
		"Host: 127.8.9.1":                       true,
		"Host: evil.example:8081":               false,
		"Host: 10.0.0.1":                        false,
		"Host: localhost.evil.example":          false,
		"Origin: http://evil.example":           false,
		"Origin: null":                          false,
		"Origin: http://127.0.0.1:1":            false,
		"Origin: " + s.ControlURL:               true,
		"Sec-Fetch-Site: cross-site":            false,
		"Sec-Fetch-Site: same-site":             false,
		"Sec-Fetch-Site: none":                  true,
		"Sec-Fetch-Site: same-origin":           true,
		"Origin: " + s.ControlURL + ".evil.com": false,
	} {
		status, text := control(t, s, "GET /faults", "", header)
		want := 403
		if ok {
			want = 200
		}
		require.Equal(t, want, status, "%s: %s", header, text)
	}
}

func TestTheControlEndpointListensOnLoopbackOnlyUnlessTold(t *testing.T) {
	everywhere := func() net.Listener {
		ln, err := net.Listen("tcp", "0.0.0.0:0")
		require.NoError(t, err)
		return ln
	}
	_, err := faultserver.New(faultserver.Config{Control: everywhere()})
	require.ErrorContains(t, err, "can be reached from other machines: listen on 127.0.0.1, or set ControlRemote")
	s := faultserver.Start(t, faultserver.Config{Control: everywhere(), ControlRemote: true})
	mustControl(t, s, "GET /", "", "Host: test.example")

	// A handler in a server of one's own is reached however that listens.
	own := faultserver.Start(t, faultserver.Config{}).ControlHandler()
	w := newRecorder()
	r, err := http.NewRequest("GET", "http://localhost/", nil)
	require.NoError(t, err)
	r.RemoteAddr = "192.0.2.1:1234"
	own.ServeHTTP(w, r)
	require.Equal(t, 403, w.status)
	require.Contains(t, w.body.String(), "192.0.2.1 is another machine")
}

type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func newRecorder() *recorder                    { return &recorder{header: make(http.Header)} }
func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(p []byte) (int, error) { return w.body.Write(p) }

func TestOperationsAreDoneFromOutside(t *testing.T) {
	handler, arrived, release := gated()
	s := controlled(t, faultserver.Config{Handler: handler})
	idle, busy := dialRaw(t, s), dialRaw(t, s)
	idle.get("/")
	<-arrived
	busy.send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n")
	<-arrived
	status, text := control(t, s, "POST /do/drain?timeout=10ms", "")
	require.Equal(t, 504, status)
	require.Contains(t, text, "1 of 2 connections may still be open")
	idle.wantFIN()
	close(release)
	busy.response("GET")
	busy.wantFIN()
	mustControl(t, s, "POST /do/restart", "")
	c := dialRaw(t, s)
	c.get("/")
	mustControl(t, s, "POST /do/kill", "")
	c.wantRST()
	require.Equal(t, 2, s.Journal().Conns()[2].Generation)
}

func TestTheJournalIsReadAndFollowedFromOutside(t *testing.T) {
	handler, arrived, release := gated()
	s := controlled(t, faultserver.Config{Handler: handler})
	c := dialRaw(t, s)
	c.get("/before")
	<-arrived
	text := mustControl(t, s, "GET /journal", "")
	require.Equal(t, 2, strings.Count(text, "\n"))
	require.Contains(t, text, `"closed_by":"open"`)
	require.Contains(t, mustControl(t, s, "GET /summary", ""), `"connections": 1,`)

	req, err := http.NewRequestWithContext(t.Context(), "GET", s.ControlURL+"/journal?follow=true", nil)
	require.NoError(t, err)
	req.Close = true
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	next := func(want string) {
		t.Helper()
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, want)
	}
	next(`"path":"/before"`)
	mustControl(t, s, "DELETE /journal", "")
	slow := dialRaw(t, s)
	slow.send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n")
	<-arrived
	c.get("/after")
	<-arrived
	next(`"path":"/after"`) // the other is still running
	close(release)
	slow.response("GET")
	next(`"path":"/wait"`)
	c.Close()
	next(`"closed_by":"client"`)
	require.NoError(t, s.Close(), "which ends the stream")
	_, err = io.ReadAll(lines)
	if err != nil {
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
}

func TestAScenarioIsPlayedFromOutside(t *testing.T) {
	s := controlled(t, faultserver.Config{})
	c := dialRaw(t, s)
	mustControl(t, s, "POST /scenario", "name: mine\nphases: [{name: a, faults: [{kind: status, code: 503}], duration: 1h}]",
		"Content-Type: application/yaml")
	resp, _ := c.get("/")
	require.Equal(t, 503, resp.StatusCode)
	require.Contains(t, mustControl(t, s, "GET /scenario", ""), `"phase": "a"`)
	other := `{"name":"other","phases":[{"name":"b","duration":"1h"}]}`
	status, text := control(t, s, "POST /scenario", other)
	require.Equal(t, 409, status)
	require.Contains(t, text, "a scenario is being played: mine")
	require.Contains(t, mustControl(t, s, "PUT /scenario", other), `"scenario": "other"`)
	c.wantAlive()
	require.Contains(t, mustControl(t, s, "DELETE /scenario", ""), `"ended": true`)
	mustControl(t, s, "POST /faults", `{"kind":"silent-close"}`)
	mustControl(t, s, "POST /reset", "")
	require.Empty(t, s.Faults())
	require.Empty(t, s.Journal().Requests())
	require.Contains(t, mustControl(t, s, "GET /scenarios", ""), "uvicorn-five-seconds")
	require.Contains(t, mustControl(t, s, "GET /kinds", ""), "close-on-reuse")
	require.Contains(t, mustControl(t, s, "GET /", ""), "POST /faults")
}

func TestTheControlEndpointWorksInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(memnet.Options{Latency: virtualLatency})
		ln, err := network.Listen("control:80")
		require.NoError(t, err)
		s, dial := virtual(t, faultserver.Config{Control: ln, ControlRemote: true})
		c := dial()
		transport := &http.Transport{DialContext: network.DialContext}
		resp, err := (&http.Client{Transport: transport}).Post("http://control:80/do/drain", "", nil)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 200, resp.StatusCode)
		transport.CloseIdleConnections()
		endVirtual(s, c)
		time.Sleep(5 * time.Minute)
	})
}
