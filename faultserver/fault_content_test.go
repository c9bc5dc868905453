package faultserver_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// abcdef reads its request and answers with six bytes and no header that changes
// from run to run.
var abcdef = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header()["Date"], w.Header()["Content-Type"] = nil, nil
	io.WriteString(w, "abc")
	w.(http.Flusher).Flush()
	io.WriteString(w, "def")
})

func withAbcdef(t *testing.T, faults ...faultserver.Fault) *faultserver.Server {
	t.Helper()
	return faultserver.Start(t, faultserver.Config{Faults: faults, Handler: abcdef})
}

// wantBytes reads exactly what is expected.
func (c *rawConn) wantBytes(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c.br, got)
	require.NoError(c.t, err, "after %q", got[:n])
	require.Equal(c.t, want, string(got))
}

func TestAResponseThatKeepsTheConnectionLiesAboutItsContent(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, test := range []struct {
		name     string
		fault    faultserver.Fault
		want     string
		answered bool
	}{
		{"too long", faultserver.Fault{Kind: faultserver.ContentLengthTooLong}, ok + "Content-Length: 7\r\n\r\nabcdef", false},
		{"much too long", faultserver.Fault{Kind: faultserver.ContentLengthTooLong, Bytes: 100}, ok + "Content-Length: 106\r\n\r\nabcdef", false},
		{"too short", faultserver.Fault{Kind: faultserver.ContentLengthTooShort}, ok + "Content-Length: 5\r\n\r\nabcdef", true},
		{"shorter than nothing", faultserver.Fault{Kind: faultserver.ContentLengthTooShort, Bytes: 9}, ok + "Content-Length: 0\r\n\r\nabcdef", true},
		{"no number", faultserver.Fault{Kind: faultserver.ContentLengthValue, Value: "six"}, ok + "Content-Length: six\r\n\r\nabcdef", false},
		{"twice the same", faultserver.Fault{Kind: faultserver.DoubleContentLength}, ok + "Content-Length: 6\r\nContent-Length: 6\r\n\r\nabcdef", true},
		{"two different", faultserver.Fault{Kind: faultserver.DoubleContentLength, Value: "3"}, ok + "Content-Length: 6\r\nContent-Length: 3\r\n\r\nabcdef", false},
		{
			"both", faultserver.Fault{Kind: faultserver.LengthAndChunked},
			ok + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n", true,
		},
		{
			"both, differently", faultserver.Fault{Kind: faultserver.LengthAndChunked, Value: "2"},
			ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n", true,
		},
		{
			"status line without a reason", faultserver.Fault{Kind: faultserver.StatusLine, Value: "HTTP/1.1 299"},
			"HTTP/1.1 299\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", true,
		},
		{
			"another protocol's status line", faultserver.Fault{Kind: faultserver.StatusLine, Value: "ICY 200 OK"},
			"ICY 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", false,
		},
		{
			"huge header", faultserver.Fault{Kind: faultserver.HugeHeader, Bytes: 100_000},
			ok + "Transfer-Encoding: chunked\r\nX-Huge: " + strings.Repeat("x", 100_000) + "\r\n\r\n", true,
		},
		{
			"many headers", faultserver.Fault{Kind: faultserver.ManyHeaders, Count: 3},
			ok + "Transfer-Encoding: chunked\r\nX-Many-1: x\r\nX-Many-2: x\r\nX-Many-3: x\r\n\r\n", true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.fault.Times = 1
			s := withAbcdef(t, test.fault)
			c := dialRaw(t, s)
			c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\nGET /next HTTP/1.1\r\nHost: test\r\n\r\n")
			c.wantBytes(test.want)
			if strings.HasSuffix(test.want, "f") { // the body is there, and the next response follows
				c.wantBytes("HTTP/1.1 200 OK\r\n")
			}
			require.NoError(t, s.Journal().Wait(t.Context(), func() bool {
				all := s.Journal().Requests()
				return len(all) == 2 && all[1].Answered
			}))
			row := s.Journal().Requests()[0]
			require.Equal(t, test.answered, row.Answered)
			require.Equal(t, 1, row.Executed)
			require.Equal(t, 200, row.Status)
			require.Equal(t, []faultserver.Kind{test.fault.Kind}, row.Faults)
			require.Equal(t, faultserver.StillOpen, onlyConn(t, s).ClosedBy)
		})
	}
}

func TestAResponseEndsWithTheConnectionAndLiesAboutItsContent(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, test := range []struct {
		name     string
		faults   []faultserver.Fault
		want     string
		executed int
		answered bool
	}{
		{"no length", []faultserver.Fault{{Kind: faultserver.CloseDelimited}}, "HTTP/1.1 200 OK\r\n\r\nabcdef", 1, true},
		{
			"no length, announced", []faultserver.Fault{{Kind: faultserver.CloseDelimited, Announced: true}},
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcdef", 1, true,
		},
		{
			"no length, cut", []faultserver.Fault{{Kind: faultserver.CloseInBody, Bytes: 4}, {Kind: faultserver.CloseDelimited}},
			"HTTP/1.1 200 OK\r\n\r\nabcd", 1, false,
		},
		{
			"too long, closed", []faultserver.Fault{{Kind: faultserver.ContentLengthTooLong, Bytes: 4}, {Kind: faultserver.SilentClose}},
			"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcdef", 1, false,
		},
		{"HTTP/0.9", []faultserver.Fault{{Kind: faultserver.HTTP09Answer}}, "abcdef", 1, false},
		{"no chunk at all", []faultserver.Fault{{Kind: faultserver.BrokenChunk}}, chunked + "not a size\r\n", 1, false},
		{"no second chunk", []faultserver.Fault{{Kind: faultserver.BrokenChunk, Bytes: 3, Value: "-1\r\n"}}, chunked + "3\r\nabc\r\n-1\r\n", 1, false},
		{
			"no third chunk", []faultserver.Fault{{Kind: faultserver.BrokenChunk, Bytes: 4, Value: "2\r\nxxx"}},
			chunked + "3\r\nabc\r\n1\r\nd\r\n2\r\nxxx", 1, false,
		},
		{
			"no last chunk", []faultserver.Fault{{Kind: faultserver.BrokenChunk, Bytes: 7, Value: "0\r\nno trailer\r\n\r\n"}},
			chunked + "3\r\nabc\r\n3\r\ndef\r\n0\r\nno trailer\r\n\r\n", 1, false,
		},
		{"raw", []faultserver.Fault{{Kind: faultserver.RawAnswer, Value: "SSH-2.0-OpenSSH_9.9\r\n"}}, "SSH-2.0-OpenSSH_9.9\r\n", 0, false},
		{"raw, executed", []faultserver.Fault{{Kind: faultserver.RawAnswer, Value: "\x00", Executed: true}}, "\x00", 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := withAbcdef(t, test.faults...)
			c := dialRaw(t, s)
			c.send(post("/", "body"))
			got, err := c.rest()
			require.NoError(t, err, "a FIN, not an error")
			require.Equal(t, test.want, got)
			row := onlyRequest(t, s)
			require.Equal(t, test.answered, row.Answered)
			require.Equal(t, test.executed, row.Executed)
			require.EqualValues(t, 4, row.BodyBytes)
			end := onlyConn(t, s)
			require.Equal(t, faultserver.ServerFIN, end.ClosedBy)
			require.Equal(t, faultserver.FaultStruck, end.Reason)
			require.Contains(t, row.Faults, end.Fault)
		})
	}
}

func TestRandomBytesComeFromTheSeed(t *testing.T) {
	run := func(seed uint64, n int64) string {
		s := faultserver.Start(t, faultserver.Config{Seed: seed, Faults: []faultserver.Fault{
			{Kind: faultserver.RandomBytes, Bytes: n, Executed: true},
		}})
		c := dialRaw(t, s)
		c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		got, err := c.rest()
		require.NoError(t, err)
		require.Equal(t, 1, onlyRequest(t, s).Executed)
		require.False(t, onlyRequest(t, s).Answered)
		require.Equal(t, faultserver.RandomBytes, onlyConn(t, s).Fault)
		return got
	}
	require.Len(t, run(1, 1000), 1000)
	one := run(1, 0)
	require.Len(t, one, 64)
	require.Equal(t, one, run(1, 0))
	require.NotEqual(t, one, run(2, 0))
}

func TestResponsesWithoutABodyHaveNoLengthToLieAbout(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{
		Faults: []faultserver.Fault{{Kind: faultserver.BrokenChunk}, {Kind: faultserver.ContentLengthTooLong}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Date"] = nil
			w.WriteHeader(204)
		}),
	})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	c.wantBytes("HTTP/1.1 204 No Content\r\n\r\n")
	require.True(t, onlyRequest(t, s).Answered)
}

func TestHEADIsToldTheWrongLengthAndNothingFollows(t *testing.T) {
	s := withAbcdef(t, faultserver.Fault{Kind: faultserver.ContentLengthTooLong})
	c := dialRaw(t, s)
	c.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
	c.wantBytes("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
	require.True(t, onlyRequest(t, s).Answered)
	c.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
	c.wantBytes("HTTP/1.1 200 OK\r\n")
}

func TestAnEmptyBodyCanBeAnnouncedToo(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{
		Faults:  []faultserver.Fault{{Kind: faultserver.ContentLengthTooLong}, {Kind: faultserver.SilentClose}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header()["Date"] = nil }),
	})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	got, err := c.rest()
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", got)
	require.False(t, onlyRequest(t, s).Answered)
}

func TestAnyKeepAliveHeaderIsSentAsItStands(t *testing.T) {
	for _, values := range [][]string{
		{"timeout=99999"}, {"timeout=1"}, {"timeout=0"}, {"timeout=5, max=0"}, {"max=0"}, {"timeout=-1"}, {"timeout=abc"},
		{";;=,="}, {"timeout=5", "timeout=60"}, {"timeout=5", "timeout=5"},
	} {
		var faults []faultserver.Fault
		for _, v := range values {
			faults = append(faults, faultserver.Fault{Kind: faultserver.KeepAliveHeader, Value: v})
		}
		// Also where the personality has an announcement of its own.
		s := faultserver.Start(t, faultserver.Config{Personality: "node", Faults: faults})
		c := dialRaw(t, s)
		c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		var got []string
		for {
			line, err := c.br.ReadString('\n')
			require.NoError(t, err)
			if line == "\r\n" {
				break
			}
			if v, ok := strings.CutPrefix(line, "Keep-Alive: "); ok {
				got = append(got, strings.TrimSuffix(v, "\r\n"))
			}
		}
		require.Equal(t, values, got)
		c.wantBytes("GET / 0\n")
		c.wantAlive()
		require.True(t, onlyConn(t, s).Closed.IsZero())
	}
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.Status, Code: 429, Value: "120", Times: 1},
		faultserver.Fault{Kind: faultserver.Status, Code: 503, After: 90 * time.Second, NthOnConn: 2})
	c := dialRaw(t, s)
	resp, _ := c.get("/")
	require.Equal(t, 429, resp.StatusCode)
	require.Equal(t, "120", resp.Header.Get("Retry-After"))
	before := time.Now()
	resp, _ = c.get("/")
	require.Equal(t, 503, resp.StatusCode)
	at, err := http.ParseTime(resp.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.False(t, at.Before(before.Add(89*time.Second)), "a date has whole seconds")
	require.False(t, at.After(time.Now().Add(90*time.Second)))
	for _, row := range s.Journal().Requests() {
		require.Zero(t, row.Executed)
		require.True(t, row.Answered)
	}
}
