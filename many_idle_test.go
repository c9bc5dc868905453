package idlewise

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// holdVariable makes a process of the test binary a server for
// TestTenThousandConnectionsIdle.
const holdVariable = "IDLEWISE_TEST_HOLD"

// holdServer answers requests to /hold when so many of them are there, and
// others at once. It prints its address, and ends with its standard input.
func holdServer(n int) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	var held atomic.Int64
	all := make(chan struct{})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			if held.Add(1) == int64(n) {
				close(all)
			}
			<-all
		}
	})}
	go srv.Serve(ln)
	io.Copy(io.Discard, os.Stdin)
	return srv.Close()
}

// startHoldServer runs holdServer in a process of its own, so that it does not
// share the limit on open files.
func startHoldServer(t *testing.T, n int) (addr string) {
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", holdVariable, n))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	_, err = fmt.Fscanln(bufio.NewReader(stdout), &addr)
	require.NoError(t, err)
	return addr
}

// What it costs to get one of them, and what they take, is measured by bench.
func TestTenThousandConnectionsIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const n = 10_000
	if limit := openFiles(); limit < n+200 {
		t.Skipf("%d files may be open, and %d are needed: raise the limit (ulimit -n)", limit, n+200)
	}
	addr := startHoldServer(t, n)
	tr, err := New(Config{
		Base:         &http.Transport{},
		MaxIdleConns: -1,
		Policies:     Policies{Default: Policy{MaxIdleConns: -1, MaxIdleTime: time.Hour, MaxConnAge: -1}},
	})
	require.NoError(t, err)
	defer tr.Close()
	before := runtime.NumGoroutine()

	get := func(path string) error {
		req, err := http.NewRequestWithContext(context.Background(), "GET", "http://"+addr+path, nil)
		if err != nil {
			return err
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return err
	}
	var callers sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		callers.Go(func() { errs <- get("/hold") })
	}
	callers.Wait()
	for range n {
		require.NoError(t, <-errs)
	}

	s := tr.Stats().Upstreams[0]
	require.Equal(t, n, s.Idle)
	require.EqualValues(t, n, s.Opened)
	p := &theOnlyUpstream(t, tr).pool
	p.mu.Lock()
	timerAt, due := p.timerAt, p.oldest.due
	for c := p.oldest; c != nil; c = c.prev {
		due = earlier(due, c.due) // they came back at once: the first of the list need not be it
	}
	p.mu.Unlock()
	require.Equal(t, due, timerAt, "one timer, for the first that is due")
	// Those of net/http, which are two a connection, and at most a few that are ending.
	require.LessOrEqual(t, runtime.NumGoroutine()-before, 2*n+10)

	for range 100 {
		require.NoError(t, get("/"))
	}
	require.EqualValues(t, n, tr.Stats().Upstreams[0].Opened, "all were reused")

	tr.CloseIdleConnections()
	s = tr.Stats().Upstreams[0]
	require.Zero(t, s.Idle)
	require.Zero(t, s.Open)
}

func theOnlyUpstream(t *testing.T, tr *Transport) *upstream {
	all := tr.registry.all()
	require.Len(t, all, 1)
	return all[0]
}
