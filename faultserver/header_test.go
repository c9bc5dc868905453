package faultserver_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// showFault answers with the header it was given.
var showFault = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "X-Fault: %q", r.Header.Values(faultserver.FaultHeader))
})

func withFault(value string) string {
	return "GET / HTTP/1.1\r\nHost: t\r\nX-Fault: " + value + "\r\n\r\n"
}

func TestARequestCarriesItsOwnFaults(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{HeaderFaults: true, Handler: showFault})
	c := dialRaw(t, s)
	c.send(withFault("status code=503 value=7"))
	resp, _ := c.response("GET")
	require.Equal(t, 503, resp.StatusCode)
	require.Equal(t, "7", resp.Header.Get("Retry-After"))
	c.wantAlive() // the next request has none

	c.send(withFault("kind=delay after=1ms; announce-close"))
	resp, body := c.response("GET")
	require.True(t, resp.Close)
	require.Equal(t, "X-Fault: []", body, "the handler does not see it")
	c.wantFIN()

	c = dialRaw(t, s)
	c.send(withFault("fin-after-request executed"))
	c.wantFIN()
	rows := s.Journal().Requests()
	require.Equal(t, []faultserver.Kind{faultserver.Delay, faultserver.AnnounceClose}, rows[2].Faults)
	require.Equal(t, 1, rows[3].Executed)
	require.False(t, rows[3].Answered)
}

func TestAHeadersSelectorsSpareAFreshConnection(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{HeaderFaults: true})
	c := dialRaw(t, s)
	c.send(withFault("rst-after-request reused_only"))
	c.response("GET")
	c.send(withFault("rst-after-request reused_only"))
	c.wantRST()
}

func TestSeveralFaultHeadersAddUp(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{HeaderFaults: true})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.1\r\nHost: t\r\nX-Fault: status code=418\r\nX-Fault: announce-close\r\n\r\n")
	resp, _ := c.response("GET")
	require.Equal(t, 418, resp.StatusCode)
	c.wantFIN()
}

func TestTheFaultHeaderIsOffByDefault(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Handler: showFault})
	c := dialRaw(t, s)
	c.send(withFault("status code=503"))
	_, body := c.response("GET")
	require.Equal(t, `X-Fault: ["status code=503"]`, body)
}

func TestAFaultHeaderWithAMistakeIsAnsweredWithIt(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{HeaderFaults: true})
	c := dialRaw(t, s)
	for header, want := range map[string]string{
		"fin-after-requst":                   `X-Fault:1:1: kind: unknown kind of fault "fin-after-requst"; did you mean fin-after-request?`,
		"kind=delay aftr=5s":                 `X-Fault:1:12: aftr: unknown field "aftr"; did you mean after?`,
		"delay after=5":                      `X-Fault:1:13: after: "5" is not a duration, such as 5s, 250ms or 1m30s`,
		"silent-close; status":               `X-Fault:1:15: [1].code: status needs it`,
		"idle-close after=5s":                `X-Fault:1:1: kind: idle-close is not judged for one request: inject it on the server`,
		"silent-close times=1":               `X-Fault:1:20: times: a request's own faults are for this request alone`,
		"silent-close probability=0":         `X-Fault:1:26: probability: 0 is not in (0, 1]: leave the whole fault out, or, if it is always to strike, probability`,
		"silent-close nth=1":                 `X-Fault:1:18: nth: a request's own faults are for this request alone`,
		"reused_only":                        `X-Fault:1:1: kind: is missing`,
		`surplus-bytes value="a`:             `X-Fault:1:21: a quoted value that is not quoted as in Go, or does not end`,
		`surplus-bytes value="a"b`:           `X-Fault:1:21: a space or a semicolon must follow a quoted value`,
		`surplus-bytes value=a"b"`:           `X-Fault:1:21: a quote in the middle of a value: quote the whole value`,
		`surplus-bytes value="\xff"`:         `X-Fault:1:21: value: is not UTF-8, which no text can carry: inject the fault from Go`,
		"silent-close kind=delay after=10ms": `X-Fault:1:14: kind: is there twice, first in line 1`,
		"delay after=-1s; delay after=5":     "X-Fault:1:13: [0].after: -1s is negative\nX-Fault:1:30: [1].after: \"5\" is not a duration, such as 5s, 250ms or 1m30s",
	} {
		c.send(withFault(header))
		resp, body := c.response("GET")
		require.Equal(t, 400, resp.StatusCode)
		require.Equal(t, want+"\n", body, header)
	}
	require.Zero(t, s.Journal().Totals().Executions)
	c.wantAlive()
}

func TestAFaultIsWrittenAndReadInEveryForm(t *testing.T) {
	for _, f := range []faultserver.Fault{
		{Kind: faultserver.SilentClose},
		{Kind: faultserver.FinAfterRequest, Executed: true, Times: 1, Method: "POST", Path: "/a b;c", Header: "X-A: \"1\""},
		{Kind: faultserver.Delay, After: 90 * time.Second, Jitter: time.Nanosecond, Probability: 1e-9, IdleAtLeast: time.Hour},
		{Kind: faultserver.SurplusBytes, Value: "HTTP/1.1 200 OK\r\n\r\n\t\\", Nth: 3},
		{Kind: faultserver.ResetStream, Code: 1<<32 - 1, ReusedOnly: true, NthOnConn: 7},
		{Kind: faultserver.CloseInBody, Bytes: 1 << 62},
		{Kind: faultserver.CloseAfterRequests, Requests: 9, Announced: true},
	} {
		parsed, err := faultserver.ParseFault(f.String())
		require.NoError(t, err, "%s", f)
		require.Equal(t, f, parsed, "%s", f)
		text, err := json.Marshal(f)
		require.NoError(t, err)
		var back faultserver.Fault
		require.NoError(t, json.Unmarshal(text, &back), "%s", text)
		require.Equal(t, f, back)
	}
	_, err := faultserver.ParseFault("silent-close; silent-close")
	require.ErrorContains(t, err, "2 faults where one belongs")
	_, err = faultserver.ParseFault(" ")
	require.ErrorContains(t, err, "0 faults")
	several, err := faultserver.ParseFaults("silent-close;; delay after=1s ;")
	require.NoError(t, err)
	require.Len(t, several, 2)
	require.Error(t, json.Unmarshal([]byte(`{"kind":"delay"}`), new(faultserver.Fault)))
}

func TestARequestCarriesItsOwnFaultsOnHTTP2(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{HeaderFaults: true, Protocols: protocols(h2c)})
	ask := func(header string) (*http.Response, error) {
		req, err := http.NewRequest("POST", s.URL, nil)
		require.NoError(t, err)
		req.Header.Set("X-Fault", header)
		resp, err := s.Client().Do(req)
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		return resp, err
	}
	_, err := ask("reset-stream code=INTERNAL_ERROR")
	require.ErrorContains(t, err, "INTERNAL_ERROR")
	resp, err := ask("announce-close")
	require.NoError(t, err)
	require.Equal(t, 400, resp.StatusCode, "HTTP/2 has no such fault")
}
