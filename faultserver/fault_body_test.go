package faultserver_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// inVirtualTime runs a test with a raw client of a server in memory, whose
// buffers hold 64 KiB each way, which is its default.
func inVirtualTime(t *testing.T, cfg faultserver.Config, test func(t *testing.T, s *faultserver.Server, c *rawConn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(memnet.Options{})
		ln, err := network.Listen("server:80")
		require.NoError(t, err)
		cfg.Listener, cfg.DialContext = ln, network.DialContext
		s := faultserver.Start(t, cfg)
		nc, err := network.DialContext(t.Context(), "tcp", "server:80")
		require.NoError(t, err)
		defer nc.Close()
		test(t, s, &rawConn{Conn: nc, t: t, br: bufio.NewReader(nc)})
		require.NoError(t, s.Close())
	})
}

func TestAStalledRequestBodyFillsTheClientsBuffers(t *testing.T) {
	for _, executed := range []bool{false, true} {
		cfg := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.StallRequestBody, Bytes: 1000, Executed: executed}}}
		inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
			const size = 1 << 20
			c.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1048576\r\n\r\n")
			c.SetWriteDeadline(time.Now().Add(time.Hour))
			n, err := c.Write(make([]byte, size))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.Less(t, n, 200<<10, "no more than the buffers hold")
			row := onlyRequest(t, s)
			require.Equal(t, executed, row.Executed == 1)
			require.False(t, row.Answered)
			require.Equal(t, faultserver.StillOpen, onlyConn(t, s).ClosedBy)

			require.NoError(t, s.Close())
			row = onlyRequest(t, s)
			require.EqualValues(t, 1000, row.BodyBytes)
			require.False(t, row.BodyComplete)
			require.Equal(t, faultserver.ServerClosed, onlyConn(t, s).Reason)
		})
	}
}

func TestAStalledRequestBodyStandsStillOnARealSocketToo(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.StallRequestBody, Bytes: 1})
	c := dialRaw(t, s)
	c.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\n")
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(300*time.Millisecond)))
	_, err := io.CopyN(c.Conn, neverEnding{}, 1e9)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	s.Kill()
	require.Equal(t, faultserver.Killed, onlyConn(t, s).ClosedBy)
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

func TestAStalledRequestBodyMayGoOn(t *testing.T) {
	cfg := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.StallRequestBody, Bytes: 10, After: time.Minute}}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		since := time.Now()
		c.send(post("/", strings.Repeat("x", 300<<10))) // more than the buffers hold
		resp, body := c.response("POST")
		require.Equal(t, time.Minute, time.Since(since))
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, "POST / 307200\n", body)
		row := onlyRequest(t, s)
		require.True(t, row.Answered)
		require.True(t, row.BodyComplete)
		c.wantAlive()
	})
}

func TestAStalledRequestBodyThatIsTooShortToStallIsNeverAnswered(t *testing.T) {
	cfg := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.StallRequestBody, Bytes: 10}}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		c.send(post("/", "short"))
		c.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := c.br.ReadByte()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.True(t, onlyRequest(t, s).BodyComplete)
		c.Close()
		synctest.Wait()
		require.Equal(t, faultserver.ByClient, onlyConn(t, s).ClosedBy)
	})
}

func TestAnEarlyAnswerComesWhileTheBodyIsStillOnItsWay(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.EarlyAnswer, Code: 413, Bytes: 3, Announced: true})
	c := dialRaw(t, s)
	c.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nabc")
	resp, body := c.response("POST")
	require.Equal(t, 413, resp.StatusCode)
	require.True(t, resp.Close)
	require.Equal(t, "Request Entity Too Large\n", body)
	c.wantFIN()
	row := onlyRequest(t, s)
	require.Zero(t, row.Executed)
	require.True(t, row.Answered)
	require.Equal(t, 413, row.Status)
	require.EqualValues(t, 3, row.BodyBytes)
	require.False(t, row.BodyComplete)
	end := onlyConn(t, s)
	require.Equal(t, faultserver.ServerFIN, end.ClosedBy)
	require.Equal(t, faultserver.EarlyAnswer, end.Fault)

	// Nobody reads any more: what is still sent draws a RST.
	var err error
	for err == nil {
		_, err = c.Write(make([]byte, 1<<16))
	}
	require.True(t, isReset(err), "%v", err)
}

// isReset accepts either of the kernel's words for a connection that was reset:
// a write that comes first after the RST gets ECONNRESET, later ones EPIPE.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func TestAnEarlyAnswerMayReadOnBehindItsFIN(t *testing.T) {
	cfg := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.EarlyAnswer, Code: 413, After: time.Minute}}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		since := time.Now()
		c.send(post("/", strings.Repeat("x", 300<<10)))
		resp, _ := c.response("POST")
		require.Equal(t, 413, resp.StatusCode)
		require.False(t, resp.Close, "not announced")
		c.wantFIN()
		require.Zero(t, time.Since(since))
		c.send("more")
		time.Sleep(time.Minute)
		synctest.Wait()
		_, err := c.Write([]byte("too much"))
		if err == nil {
			synctest.Wait()
			_, err = c.Write([]byte("too much"))
		}
		require.Error(t, err, "the server is gone")
		require.Zero(t, onlyRequest(t, s).BodyBytes)
	})
}

const expecting = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"

func TestThe100ContinueComesLate(t *testing.T) {
	cfg := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.ContinueLate, After: time.Minute}}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		since := time.Now()
		c.send(expecting)
		c.wantBytes("HTTP/1.1 100 Continue\r\n\r\n")
		require.Equal(t, time.Minute, time.Since(since))
		c.send("body")
		_, body := c.response("POST")
		require.Equal(t, "POST / 4\n", body)
		require.True(t, onlyRequest(t, s).Answered)
	})
}

func TestThe100ContinueNeverComes(t *testing.T) {
	cfg := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.ContinueLate}}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		c.send(expecting)
		c.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := c.br.ReadByte()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		c.SetReadDeadline(time.Time{})
		require.Equal(t, 1, onlyRequest(t, s).Executed, "the handler waits for the body")
		c.send("body") // as a client does that has waited long enough
		c.wantBytes("HTTP/1.1 200 OK\r\n")
		require.True(t, onlyRequest(t, s).BodyComplete)
	})
}

func TestAnExpectationCanBeRefused(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.Status, Code: 417})
	c := dialRaw(t, s)
	c.send(expecting)
	resp, _ := c.response("POST")
	require.Equal(t, 417, resp.StatusCode)
	require.Zero(t, onlyRequest(t, s).Executed)
	c.wantFIN()
}

func TestInterimResponsesFloodTheClient(t *testing.T) {
	s := withAbcdef(t, faultserver.Fault{Kind: faultserver.InterimResponses, Code: 103, Count: 1000})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	c.wantBytes(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1000) + "HTTP/1.1 200 OK\r\n")
	row := onlyRequest(t, s)
	require.Equal(t, 200, row.Status)
	require.Equal(t, 1, row.Executed)
}

func TestInterimResponsesMayComeInTheirTimeAndBeAllThereIs(t *testing.T) {
	cfg := faultserver.Config{Faults: []faultserver.Fault{
		{Kind: faultserver.InterimResponses, Code: 102, Count: 3, After: time.Minute}, {Kind: faultserver.NeverAnswer},
	}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		since := time.Now()
		c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		c.wantBytes(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 3))
		require.Equal(t, 2*time.Minute, time.Since(since))
		c.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := c.br.ReadByte()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		row := onlyRequest(t, s)
		require.Zero(t, row.Executed)
		require.False(t, row.Answered)
		require.Zero(t, row.Status)
	})
}

func TestTheFaultsOfTheBodyExistOnHTTP2(t *testing.T) {
	const size = 4 << 20
	large := bytes.Repeat([]byte("x"), size) // more than a stream's window
	for _, test := range []struct {
		fault faultserver.Fault
		takes time.Duration
	}{
		{faultserver.Fault{Kind: faultserver.StallRequestBody, Bytes: 10, After: time.Minute}, time.Minute},
		{faultserver.Fault{Kind: faultserver.SlowBody, Rate: 1}, 14 * time.Second}, // fifteen bytes, the first at once
		{faultserver.Fault{Kind: faultserver.StallInBody, Bytes: 4, After: time.Minute}, time.Minute},
		{faultserver.Fault{Kind: faultserver.InterimResponses, Code: 103, Count: 2, After: time.Minute}, time.Minute},
		{faultserver.Fault{Kind: faultserver.HugeHeader, Bytes: 100_000}, 0},
		{faultserver.Fault{Kind: faultserver.ManyHeaders, Count: 100}, 0},
	} {
		t.Run(test.fault.Kind.String(), func(t *testing.T) {
			cfg := faultserver.Config{Protocols: protocols(h2c), Faults: []faultserver.Fault{test.fault}}
			inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, _ *rawConn) {
				since := time.Now()
				resp, body := do(t, s, "POST", "/", bytes.NewReader(large))
				require.Equal(t, "HTTP/2.0", resp.Proto)
				require.Equal(t, "POST / 4194304\n", body)
				require.Equal(t, test.takes, time.Since(since).Truncate(time.Second))
				row := onlyRequest(t, s)
				require.True(t, row.Answered)
				require.True(t, row.BodyComplete)
				require.Equal(t, []faultserver.Kind{test.fault.Kind}, row.Faults)
				require.Len(t, resp.Header.Get("X-Huge"), map[bool]int{true: 100_000}[test.fault.Kind == faultserver.HugeHeader])
				require.Equal(t, test.fault.Kind == faultserver.ManyHeaders, resp.Header.Get("X-Many-100") == "x")
				s.Client().CloseIdleConnections()
			})
		})
	}
}
