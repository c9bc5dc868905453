//go:build linux

package servers

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what is bound to happen.
const patience = 30 * time.Second

// A program is a server's process and those that it starts, which are its
// process group. It ends with the test, and with the test's process.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	exited chan struct{}

	mu     sync.Mutex
	output bytes.Buffer
	grew   chan struct{} // closed at the next write
}

// find returns the path of a program, and skips the test if it is not there.
// Servers are installed where only root's PATH leads.
func find(t *testing.T, name string) string {
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// run starts a program, to which the files are 3 and up.
func run(t *testing.T, files []*os.File, path string, args ...string) *program {
	p := &program{t: t, cmd: exec.Command(path, args...), exited: make(chan struct{}), grew: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.ExtraFiles = files
	p.cmd.WaitDelay = time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	require.NoError(t, p.cmd.Start())
	go func() { p.cmd.Wait(); close(p.exited) }()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(path), p.said())
		}
	})
	return p
}

// Write takes what the program says.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.grew)
	p.grew = make(chan struct{})
	return p.output.Write(b)
}

func (p *program) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// await waits until the program has said something so many times.
func (p *program) await(what string, times int) {
	late := time.After(patience)
	for {
		p.mu.Lock()
		n, grew := strings.Count(p.output.String(), what), p.grew
		p.mu.Unlock()
		if n >= times {
			return
		}
		select {
		case <-grew:
		case <-p.exited:
			require.Failf(p.t, "the server has ended", "it never said %q; it said:\n%s", what, p.said())
		case <-late:
			require.Failf(p.t, "waited in vain", "for %q; it said:\n%s", what, p.said())
		}
	}
}

// awaitPort waits until the program accepts connections.
func (p *program) awaitPort(addr string) {
	late := time.After(patience)
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-p.exited:
			require.Failf(p.t, "the server has ended", "it said:\n%s", p.said())
		case <-late:
			require.NoError(p.t, err)
		}
	}
}

func (p *program) signal(s syscall.Signal) {
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// stop ends the program, gracefully if it can, and whatever it has left.
func (p *program) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(patience / 3):
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.exited
}

// freeAddr returns an address at which nothing listens yet.
func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// listen returns a listening socket to hand to programs one after the other, so
// that none refuses a connection while they change over.
func listen(t *testing.T) (addr string, socket *os.File) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	socket, err = l.(*net.TCPListener).File()
	require.NoError(t, err)
	t.Cleanup(func() { socket.Close() })
	return l.Addr().String(), socket
}

// write writes a file of the test's own and returns its path. In the text,
// {name} stands for a value.
func write(t *testing.T, dir, name, text string, values ...string) string {
	for i := 0; i < len(values); i += 2 {
		text = strings.ReplaceAll(text, "{"+values[i]+"}", values[i+1])
	}
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644), fmt.Sprint(values))
	return path
}
