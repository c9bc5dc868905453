package faultserver_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// arrivals reads n bytes and says when each came.
func (c *rawConn) arrivals(n int) (text string, at []time.Duration) {
	c.t.Helper()
	since := time.Now()
	for range n {
		b, err := c.br.ReadByte()
		require.NoError(c.t, err)
		text += string(b)
		at = append(at, time.Since(since))
	}
	return text, at
}

const abcdefHead = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"

// abcdefAtOnce answers abcdef's six bytes with their length.
var abcdefAtOnce = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header()["Date"], w.Header()["Content-Type"] = nil, nil
	io.WriteString(w, "abcdef")
})

func TestSlowHeadersComeByteByByte(t *testing.T) {
	cfg := faultserver.Config{Handler: abcdefAtOnce, Faults: []faultserver.Fault{{Kind: faultserver.SlowHeaders, Rate: 2}}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		got, at := c.arrivals(len(abcdefHead) + 6)
		require.Equal(t, abcdefHead+"abcdef", got)
		for i := range len(abcdefHead) {
			require.Equal(t, time.Duration(i)*time.Second/2, at[i])
		}
		require.Equal(t, at[len(abcdefHead)-1], at[len(got)-1], "the body is not slow")
		require.True(t, onlyRequest(t, s).Answered)
	})
}

func TestASlowBodyComesInPortions(t *testing.T) {
	for _, test := range []struct {
		fault faultserver.Fault
		at    [6]time.Duration // of each byte
	}{
		{faultserver.Fault{Rate: 1}, [6]time.Duration{0, 1, 2, 3, 4, 5}},
		{faultserver.Fault{Rate: 1, Bytes: 4}, [6]time.Duration{0, 0, 0, 0, 4, 4}},
		{faultserver.Fault{Rate: 2, Bytes: 2}, [6]time.Duration{0, 0, 1, 1, 2, 2}},
		{faultserver.Fault{Rate: 1000}, [6]time.Duration{}},
	} {
		test.fault.Kind = faultserver.SlowBody
		cfg := faultserver.Config{Handler: abcdefAtOnce, Faults: []faultserver.Fault{test.fault}}
		inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
			c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			c.wantBytes(abcdefHead)
			var got [6]time.Duration
			since := time.Now()
			for i := range got {
				_, err := c.br.ReadByte()
				require.NoError(t, err)
				got[i] = time.Since(since) / time.Second
				complete := test.at[i] == test.at[5]
				require.Equal(t, complete, onlyRequest(t, s).Answered, "byte %d", i)
			}
			require.Equal(t, test.at, got)
			require.Equal(t, faultserver.StillOpen, onlyConn(t, s).ClosedBy)
		})
	}
}

func TestASlowBodyKeepsItsRateOverManyWrites(t *testing.T) {
	cfg := faultserver.Config{
		Faults: []faultserver.Fault{{Kind: faultserver.SlowBody, Rate: 10_000}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			for range 100 {
				w.Write(make([]byte, 1000))
			}
		}),
	}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		since := time.Now()
		_, body := c.get("/")
		require.Len(t, body, 100_000)
		require.InDelta(t, 10, time.Since(since).Seconds(), 0.03)
	})
}

func TestASlowBodyEndsWithItsClient(t *testing.T) {
	cfg := faultserver.Config{Handler: abcdefAtOnce, Faults: []faultserver.Fault{{Kind: faultserver.SlowBody, Rate: 1}}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		c.wantBytes(abcdefHead + "ab")
		c.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.False(t, onlyRequest(t, s).Answered)
		require.Equal(t, faultserver.ByClient, onlyConn(t, s).ClosedBy)
	})
}

func TestAResponseStallsInItsBody(t *testing.T) {
	cfg := faultserver.Config{Handler: abcdefAtOnce, Faults: []faultserver.Fault{{Kind: faultserver.StallInBody, Bytes: 4}}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		c.wantBytes(abcdefHead + "abcd")
		c.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := c.br.ReadByte()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 1, onlyRequest(t, s).Executed)
		require.False(t, onlyRequest(t, s).Answered)
		c.Close()
		synctest.Wait()
		require.False(t, onlyRequest(t, s).Answered)
		require.Equal(t, faultserver.ByClient, onlyConn(t, s).ClosedBy)
		require.Equal(t, faultserver.ClientClosed, onlyConn(t, s).Reason)
	})
}

func TestAStallAtTheBodysEndWithholdsTheEndIfThereIsOne(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		cfg := faultserver.Config{Handler: abcdefAtOnce, Faults: []faultserver.Fault{{Kind: faultserver.StallInBody, Bytes: 6}}}
		want := abcdefHead + "abcdef"
		if chunked {
			cfg.Handler = abcdef
			want = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n"
		}
		inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
			c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			c.wantBytes(want)
			c.SetReadDeadline(time.Now().Add(time.Hour))
			_, err := c.br.ReadByte()
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.Equal(t, !chunked, onlyRequest(t, s).Answered)
		})
	}
}

func TestAResponseThatStalledMayGoOn(t *testing.T) {
	for _, slow := range []bool{false, true} {
		cfg := faultserver.Config{Handler: abcdefAtOnce, Faults: []faultserver.Fault{{Kind: faultserver.StallInBody, Bytes: 4, After: time.Minute}}}
		last := time.Minute
		if slow {
			cfg.Faults = append(cfg.Faults, faultserver.Fault{Kind: faultserver.SlowBody, Rate: 1})
			last += 4 * time.Second // three between the first four, and one between the last two
		}
		inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
			c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			c.wantBytes(abcdefHead)
			got, at := c.arrivals(6)
			require.Equal(t, "abcdef", got)
			require.Less(t, at[3], time.Minute)
			require.Equal(t, last, at[5])
			require.True(t, onlyRequest(t, s).Answered)
			c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			c.wantBytes(abcdefHead)
		})
	}
}

func TestAnEmptyResponseStallsBeforeItsEndOnHTTP2(t *testing.T) {
	cfg := faultserver.Config{
		Protocols: protocols(h2c), Faults: []faultserver.Fault{{Kind: faultserver.StallInBody, After: time.Minute}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}),
	}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, _ *rawConn) {
		since := time.Now()
		resp, err := s.Client().Get(s.URL)
		require.NoError(t, err)
		require.Zero(t, time.Since(since))
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, time.Minute, time.Since(since))
		resp.Body.Close()
		s.Client().CloseIdleConnections()
	})
}

// spyListener shows what the server writes before it is on its way.
type spyListener struct {
	net.Listener
	onWrite func(p []byte)
}

func (l spyListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return spyConn{nc, l.onWrite}, err
}

type spyConn struct {
	net.Conn
	onWrite func(p []byte)
}

func (c spyConn) Write(p []byte) (int, error) {
	c.onWrite(p)
	return c.Conn.Write(p)
}

func TestASlowAnswerIsInTheJournalWhenItsLastByteLeavesAndNotBefore(t *testing.T) {
	for _, test := range []struct {
		kind    faultserver.Kind
		handler http.HandlerFunc
	}{
		{faultserver.SlowBody, abcdefAtOnce},
		{faultserver.SlowBody, func(w http.ResponseWriter, r *http.Request) {}},
		{faultserver.SlowHeaders, abcdefAtOnce},
		{faultserver.SlowHeaders, func(w http.ResponseWriter, r *http.Request) {}},
	} {
		synctest.Test(t, func(t *testing.T) {
			network := memnet.New(memnet.Options{})
			ln, err := network.Listen("server:80")
			require.NoError(t, err)
			var s *faultserver.Server
			var answered []bool // at each write
			s = faultserver.Start(t, faultserver.Config{
				Handler: test.handler, Faults: []faultserver.Fault{{Kind: test.kind, Rate: 1, Bytes: 5}},
				Listener: spyListener{ln, func([]byte) { answered = append(answered, onlyRequest(t, s).Answered) }},
			})
			nc, err := network.DialContext(t.Context(), "tcp", "server:80")
			require.NoError(t, err)
			defer nc.Close()
			c := &rawConn{Conn: nc, t: t, br: bufio.NewReader(nc)}
			c.get("/")
			synctest.Wait()
			require.NotEmpty(t, answered)
			for i, yes := range answered {
				require.Equal(t, i == len(answered)-1, yes, "write %d of %d", i+1, len(answered))
			}
			require.NoError(t, s.Close())
		})
	}
}
