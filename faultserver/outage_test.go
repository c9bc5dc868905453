package faultserver_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func newReader(nc net.Conn) *bufio.Reader { return bufio.NewReader(nc) }

func TestAPausedServerDoesNothingAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := inMemory(t, faultserver.Config{IdleTimeout: time.Minute})
		nc := dial()
		roundTrip(t, nc, "GET", "")
		s.Pause()
		s.Pause()
		late := dial()
		io.WriteString(late, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		time.Sleep(time.Hour)
		require.Equal(t, faultserver.StillOpen, onlyConn(t, s).ClosedBy, "its timers stand still too")
		require.NoError(t, s.Resume())
		synctest.Wait()
		require.Equal(t, faultserver.IdleTimeout, s.Journal().Conns()[0].Reason)
		_, err := late.Read(make([]byte, 1))
		require.NoError(t, err)
		events := s.Journal().ServerEvents()
		require.Len(t, events, 2)
		require.Equal(t, faultserver.ServerPaused, events[0].What)
		require.Equal(t, faultserver.ServerResumed, events[1].What)
		require.Equal(t, time.Hour, events[1].Time.Sub(events[0].Time))
	})
}

func TestPauseServerPausesForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := inMemory(t, faultserver.Config{})
		nc := dial()
		roundTrip(t, nc, "GET", "")
		s.Inject(faultserver.Fault{Kind: faultserver.PauseServer, After: time.Minute})
		took, _ := roundTrip(t, nc, "GET", "")
		require.Equal(t, time.Minute, took)
	})
}

func TestAPausedServerCanBeKilledAndClosed(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	c := dialRaw(t, s)
	c.wantAlive()
	s.Pause()
	c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	s.Kill()
	c.wantRST()
	require.NoError(t, s.Close())
}

// ends says how a server's end looks to a connection that is idle, one whose
// request has been read, and one that sent something unread.
type ends struct{ idle, busy, unread error }

// behold has three connections to a server that waits in its handler, lets it
// die, and says what they saw. With its answer to "/" the handler has not read
// the body yet.
func behold(t *testing.T, address string, arrived func(), die func()) ends {
	t.Helper()
	dial := func() *rawConn {
		nc, err := net.Dial("tcp", address)
		require.NoError(t, err)
		t.Cleanup(func() { nc.Close() })
		require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
		return &rawConn{Conn: nc, t: t, br: bufio.NewReader(nc)}
	}
	idle, busy, unread := dial(), dial(), dial()
	idle.get("/")
	arrived()
	busy.send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
	arrived()
	// More than any server reads ahead: some of it stays in the kernel.
	unread.send("POST /wait HTTP/1.1\r\nHost: test\r\nContent-Length: 60000\r\n\r\n")
	arrived()
	unread.send(string(make([]byte, 60000)))
	die()
	var e ends
	_, e.idle = idle.rest()
	_, e.busy = busy.rest()
	_, e.unread = unread.rest()
	return e
}

func TestACrashLooksLikeAKilledProcess(t *testing.T) {
	crash := func(t *testing.T) ends {
		handler, arrived, _ := gated()
		s := faultserver.Start(t, faultserver.Config{Handler: handler})
		e := behold(t, s.Addr().String(), func() { <-arrived }, func() { require.NoError(t, s.Crash()) })
		wantRefused(t, s.Addr().String())
		for _, c := range s.Journal().Conns() {
			require.Equal(t, faultserver.Killed, c.ClosedBy)
			require.Equal(t, faultserver.ProcessCrashed, c.Reason)
		}
		return e
	}
	kill := func(t *testing.T) ends {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestVictim$", "-test.v")
		cmd.Env = append(os.Environ(), "FAULTSERVER_VICTIM=1")
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		next := func(prefix string) (rest string) {
			for lines.Scan() {
				if after, ok := strings.CutPrefix(lines.Text(), prefix); ok {
					return after
				}
			}
			t.Fatal("the victim ended early")
			return ""
		}
		return behold(t, next("listens "), func() { next("arrived") }, func() {
			require.NoError(t, cmd.Process.Kill())
			cmd.Wait()
		})
	}
	ours, real := crash(t), kill(t)
	require.NoError(t, ours.idle, "a FIN")
	require.NoError(t, ours.busy, "a FIN")
	require.ErrorIs(t, ours.unread, syscall.ECONNRESET)
	require.NoError(t, real.idle)
	require.NoError(t, real.busy)
	require.ErrorIs(t, real.unread, syscall.ECONNRESET)
}

// TestVictim is the process that TestACrashLooksLikeAKilledProcess kills.
func TestVictim(t *testing.T) {
	if os.Getenv("FAULTSERVER_VICTIM") == "" {
		t.Skip("runs in a process of its own")
	}
	handler, arrived, _ := gated()
	s := faultserver.Start(t, faultserver.Config{Handler: handler})
	fmt.Println("listens " + s.Addr().String())
	for range arrived {
		fmt.Println("arrived")
	}
}

func TestStopRefusesAndDrainsAndResumeServesAgain(t *testing.T) {
	handler, arrived, release := gated()
	s := faultserver.Start(t, faultserver.Config{Handler: handler})
	idle, busy := dialRaw(t, s), dialRaw(t, s)
	idle.get("/")
	<-arrived
	busy.send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
	<-arrived
	stopped := make(chan error)
	go func() { stopped <- s.Stop(t.Context()) }()
	idle.wantFIN()
	wantRefused(t, s.Addr().String())
	close(release)
	resp, _ := busy.response("GET")
	require.True(t, resp.Close)
	require.NoError(t, <-stopped)

	require.NoError(t, s.Resume())
	require.NoError(t, s.Resume())
	dialRaw(t, s).get("/")
	require.Equal(t, 2, s.Journal().Conns()[2].Generation)
}

// A closing listener runs f when it is closed.
type closing struct {
	net.Listener
	f func()
}

func (l closing) Close() error {
	err := l.Listener.Close()
	l.f()
	return err
}

func TestWhoeverIsRefusedFindsLaterAnswersToBeTheLast(t *testing.T) {
	handler, arrived, release := gated()
	var busy *rawConn
	var last bool
	s := faultserver.Start(t, faultserver.Config{Handler: handler, Listen: func(address string) (net.Listener, error) {
		ln, err := net.Listen("tcp", address)
		return closing{ln, func() {
			close(release)
			resp, _ := busy.response("GET")
			last = resp.Close
		}}, err
	}})
	busy = dialRaw(t, s)
	busy.send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
	<-arrived
	require.NoError(t, s.Stop(t.Context()))
	require.True(t, last)
}

func TestStopDropsWhatTheContextDoesNotWaitFor(t *testing.T) {
	handler, arrived, release := gated()
	defer close(release)
	s := faultserver.Start(t, faultserver.Config{Handler: handler})
	busy := dialRaw(t, s)
	busy.send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Stop(ctx), context.Canceled)
	busy.wantFIN()
	require.Equal(t, faultserver.StopTimeout, onlyConn(t, s).Reason)
}

func TestAnAbruptRestartLeavesAGap(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	c := dialRaw(t, s)
	c.wantAlive()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.RestartAbruptly(ctx, time.Hour), context.Canceled)
	c.wantFIN()
	wantRefused(t, s.Addr().String())
	require.NoError(t, s.RestartAbruptly(t.Context(), time.Millisecond))
	dialRaw(t, s).wantAlive()
}

// counted counts what arrives.
type counted struct {
	net.Conn
	received int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received += n
	return n, err
}

func TestCrashUnderTLSSendsNoCloseNotify(t *testing.T) {
	for name, end := range map[string]func(*faultserver.Server) error{
		"Crash": (*faultserver.Server).Crash,
		"Drain": func(s *faultserver.Server) error { return s.Drain(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			s := faultserver.Start(t, faultserver.Config{TLS: true})
			nc, err := dialAt(t, s.Addr().String(), patience)
			require.NoError(t, err)
			wire := &counted{Conn: nc}
			cfg := s.TLSClientConfig()
			cfg.ServerName = "localhost"
			c := tls.Client(wire, cfg)
			roundTrip(t, c, "GET", "")
			before := wire.received
			require.NoError(t, end(s))
			_, err = c.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
			require.Equal(t, name == "Crash", wire.received == before)
		})
	}
}

func TestARequestCrashesTheServerForATime(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		cfg.Faults = []faultserver.Fault{{Kind: faultserver.CrashOnRequest, Path: "/oom", Executed: true, After: time.Millisecond}}
		s := faultserver.Start(t, cfg)
		other := dialRaw(t, s)
		_, err := s.Client().Post(s.URL+"/oom", "", nil)
		require.Error(t, err)
		other.wantFIN()
		awaitEvent(t, s, faultserver.ServerResumed)
		require.Eventually(t, func() bool {
			resp, err := s.Client().Get(s.URL)
			if err == nil {
				resp.Body.Close()
			}
			return err == nil
		}, patience, time.Millisecond)
		require.Equal(t, 1, s.Journal().Requests()[0].Executed)
		s.Journal().AssertNoneExecutedTwice(t, "POST")
	})
}
