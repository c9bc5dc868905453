package faultserver_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// wantOnlyExecuted waits until the nth request has been executed, and checks
// that nothing came of it.
func wantOnlyExecuted(t *testing.T, s *faultserver.Server, n int, bytes int64) {
	t.Helper()
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool {
		all := s.Journal().Requests()
		return len(all) == n && all[n-1].Executed == 1 && all[n-1].BodyComplete
	}))
	row := s.Journal().Requests()[n-1]
	require.Equal(t, faultserver.PhaseExecuted, row.Phase)
	require.False(t, row.Answered)
	require.Equal(t, bytes, row.BodyBytes)
}

func TestAHalfClosedServerExecutesWhatStillComes(t *testing.T) {
	for _, announced := range []bool{false, true} {
		s := with(t, faultserver.Fault{Kind: faultserver.HalfClose, Announced: announced, Times: 1})
		c := dialRaw(t, s)
		resp, body := c.get("/")
		require.Equal(t, announced, resp.Close)
		require.Equal(t, "GET / 0\n", body)
		c.wantFIN()
		row := onlyConn(t, s)
		require.Equal(t, faultserver.ServerFIN, row.ClosedBy)
		require.Equal(t, faultserver.FaultStruck, row.Reason)
		require.Equal(t, faultserver.HalfClose, row.Fault)
		require.True(t, s.Journal().Requests()[0].Answered)

		c.send(post("/charge", "body")) // draws no RST
		wantOnlyExecuted(t, s, 2, 4)
		s.Inject(faultserver.Fault{Kind: faultserver.InterimResponses, Code: 103, Count: 1}) // goes nowhere either
		c.send(post("/again", ""))
		wantOnlyExecuted(t, s, 3, 0)
		c.send(post("/and/again", ""))
		wantOnlyExecuted(t, s, 4, 0)
		c.wantFIN()
		require.Equal(t, row.Closed, onlyConn(t, s).Closed, "the FIN was its end")
		require.Equal(t, 4, onlyConn(t, s).Requests)
	}
}

func TestAHalfClosedServerExecutesUnderTLSToo(t *testing.T) {
	s := withTLS(t, faultserver.Fault{Kind: faultserver.HalfClose, Times: 1})
	c, tap := mustDialTLS(t, s)
	c.get("/")
	c.wantFIN()
	_, err := io.ReadAll(tap)
	require.NoError(t, err, "behind the close_notify a FIN")
	c.send(post("/charge", "body"))
	wantOnlyExecuted(t, s, 2, 4)
}

func TestAHalfClosedServerReadsPastWhatItsHandlerLeaves(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{
		Faults:  []faultserver.Fault{{Kind: faultserver.HalfClose}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}),
	})
	c := dialRaw(t, s)
	c.get("/")
	c.wantFIN()
	c.send(post("/charge", strings.Repeat("x", 1<<20)))
	wantOnlyExecuted(t, s, 2, 1<<20)
	c.send(post("/again", ""))
	wantOnlyExecuted(t, s, 3, 0)
}

func TestAnIdleServerHalfCloses(t *testing.T) {
	cfg := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.IdleHalfClose, After: time.Minute}}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		c.get("/")
		since := time.Now()
		c.wantFIN()
		require.Equal(t, time.Minute, time.Since(since))
		row := onlyConn(t, s)
		require.Equal(t, faultserver.IdleHalfClose, row.Fault)
		require.Equal(t, time.Minute, row.IdleAge)
		c.send(post("/charge", "body"))
		synctest.Wait()
		wantOnlyExecuted(t, s, 2, 4)
		time.Sleep(time.Hour) // what it does when idle again changes nothing
		c.send(post("/charge", "body"))
		synctest.Wait()
		wantOnlyExecuted(t, s, 3, 4)
		c.Close()
		synctest.Wait()
		require.Equal(t, row.Closed, onlyConn(t, s).Closed)
	})
}

func TestAHalfClosedServerClosesAltogetherLater(t *testing.T) {
	cfg := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.HalfClose, After: time.Minute}}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		c.get("/")
		c.wantFIN()
		at := onlyConn(t, s).Closed
		time.Sleep(59 * time.Second)
		c.send(post("/charge", "body"))
		synctest.Wait()
		wantOnlyExecuted(t, s, 2, 4)
		time.Sleep(2 * time.Second)
		c.Write([]byte("GET"))
		synctest.Wait()
		_, err := c.Write([]byte(" / HTTP/1.1\r\nHost: test\r\n\r\n"))
		require.True(t, isReset(err), "%v", err)
		require.Len(t, s.Journal().Requests(), 2)
		require.Equal(t, at, onlyConn(t, s).Closed)
	})
}

func TestAPanicBehindAFINEndsTheConnection(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{
		Faults: []faultserver.Fault{{Kind: faultserver.HalfClose}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				panic(http.ErrAbortHandler)
			}
		}),
	})
	c := dialRaw(t, s)
	c.get("/")
	c.wantFIN()
	c.send(post("/", ""))
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool { return len(s.Journal().Requests()) == 2 }))
	var err error
	for err == nil {
		_, err = c.Write([]byte("x"))
	}
	require.True(t, isReset(err), "%v", err)
	require.Equal(t, faultserver.HalfClose, onlyConn(t, s).Fault)
}

// The other side: a client that sends its FIN behind its request.

func TestAClientThatHalfClosedIsStillAnswered(t *testing.T) {
	for _, fault := range []faultserver.Fault{
		{Kind: faultserver.KeepAliveHeader, Value: "timeout=5"},
		{Kind: faultserver.Delay, After: 20 * time.Millisecond},
		{Kind: faultserver.SlowBody, Rate: 1000},
	} {
		s := with(t, fault)
		c := dialRaw(t, s)
		c.send(post("/1", "a") + post("/2", "bb"))
		require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
		for _, want := range []string{"POST /1 1\n", "POST /2 2\n"} {
			_, body := c.response("POST")
			require.Equal(t, want, body)
		}
		c.wantFIN()
		for _, row := range s.Journal().Requests() {
			require.True(t, row.Answered)
		}
		row := onlyConn(t, s)
		require.Equal(t, faultserver.ByClient, row.ClosedBy)
		require.Equal(t, faultserver.ClientClosed, row.Reason)
	}
}

func TestAClientThatHalfClosedIsStillAnsweredUnderTLS(t *testing.T) {
	s := withTLS(t)
	c, _ := mustDialTLS(t, s)
	c.send(post("/1", "a"))
	require.NoError(t, c.Conn.(*tls.Conn).CloseWrite())
	_, body := c.response("POST")
	require.Equal(t, "POST /1 1\n", body)
	c.wantFIN()
	require.True(t, onlyRequest(t, s).Answered)
	require.Equal(t, faultserver.ByClient, onlyConn(t, s).ClosedBy)
}

func TestAClientThatHalfClosesInItsRequestIsNotExecuted(t *testing.T) {
	s := with(t)
	c := dialRaw(t, s)
	c.send("POST / HTTP/1.1\r\nHost: test\r\n")
	require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
	_, err := c.rest()
	require.NoError(t, err)
	require.Empty(t, s.Journal().Requests())
	require.Equal(t, faultserver.ByClient, onlyConn(t, s).ClosedBy)
}

func TestBothSidesMayHalfClose(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.HalfClose})
	c := dialRaw(t, s)
	c.get("/")
	c.wantFIN()
	c.send(post("/charge", "body"))
	require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
	wantOnlyExecuted(t, s, 2, 4)
	c.wantFIN()
	require.Equal(t, faultserver.ServerFIN, onlyConn(t, s).ClosedBy)
}
