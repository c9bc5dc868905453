//go:build unix && !race

// The race detector ends programs with more than 8128 goroutines.

package faultserver_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

const (
	idleConns = 10_000
	// idleFiles is what each of the two processes needs: the client is a child,
	// which halves it.
	idleFiles    = idleConns + 500
	idleClientAt = "FAULTSERVER_TEST_IDLE_CLIENT"
)

func TestTenThousandIdleConnectionsAreHeldAndStillServed(t *testing.T) {
	if testing.Short() {
		t.Skip("it opens 10,000 connections")
	}
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	// Go has raised the soft limit to the hard one.
	if limit.Cur < idleFiles {
		t.Skipf("the limit on open files is %d, %d are needed: ulimit -n", limit.Cur, idleFiles)
	}
	s := faultserver.Start(t, faultserver.Config{})
	before := memoryInUse()

	client := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestIdleClientProcess$", "-test.v")
	client.Env = append(os.Environ(), idleClientAt+"="+s.Addr().String())
	in, err := client.StdinPipe()
	require.NoError(t, err)
	out, err := client.StdoutPipe()
	require.NoError(t, err)
	client.Stderr = os.Stderr
	require.NoError(t, client.Start())
	lines := bufio.NewScanner(out)
	said := func(want string) {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == want {
				return
			}
		}
		t.Fatalf("the client ended without saying %q", want)
	}

	said("all asked")
	open := 0
	for _, c := range s.Journal().Conns() {
		if c.ClosedBy == faultserver.StillOpen {
			open++
		}
	}
	require.Equal(t, idleConns, open)
	t.Logf("%d bytes of heap and stack per idle connection, its journal rows included", (memoryInUse()-before)/idleConns)

	fmt.Fprintln(in, "again")
	said("all asked again")
	for _, r := range s.Journal().Requests() {
		require.True(t, r.Answered)
	}
	require.Len(t, s.Journal().Requests(), 2*idleConns)
	require.Len(t, s.Journal().Conns(), idleConns, "none was replaced")
	in.Close()
	require.NoError(t, client.Wait())
}

func memoryInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// TestIdleClientProcess is the other side of the test above, in a process of
// its own.
func TestIdleClientProcess(t *testing.T) {
	addr := os.Getenv(idleClientAt)
	if addr == "" {
		t.Skip("it is run by TestTenThousandIdleConnectionsAreHeldAndStillServed")
	}
	conns := make([]net.Conn, idleConns)
	ask := func(i int) error {
		nc := conns[i]
		if nc == nil {
			var err error
			if nc, err = net.DialTimeout("tcp", addr, time.Minute); err != nil {
				return err
			}
			conns[i] = nc
		}
		nc.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: t\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
		}
		return err
	}
	askAll := func() {
		var wg sync.WaitGroup
		const workers = 64
		for w := range workers {
			wg.Go(func() {
				for i := w; i < idleConns; i += workers {
					if err := ask(i); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	askAll()
	fmt.Println("\nall asked")
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	askAll()
	fmt.Println("\nall asked again")
	in.Scan()
	for _, nc := range conns {
		nc.Close()
	}
}
