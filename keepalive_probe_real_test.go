package idlewise

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// realServersVariable asks for tests that need a quiet machine, since they
// assert on real time, and other servers:
//
//	IDLEWISE_REAL_SERVERS=1 go test -run TestAProbeMeasuresRealServers -v .
const realServersVariable = "IDLEWISE_REAL_SERVERS"

func TestAProbeMeasuresRealServers(t *testing.T) {
	if os.Getenv(realServersVariable) == "" {
		t.Skipf("it asserts on real time; set %s=1 to run it", realServersVariable)
	}
	for _, c := range []struct {
		name, program string
		start         func(t *testing.T, addr string) []string // the command line

		announced, truth time.Duration
		late             time.Duration // by which its timer is known to fire later
	}{
		{name: "Go", truth: 4 * time.Second},
		{name: "Node", program: "node", announced: 5 * time.Second, truth: 6 * time.Second, start: nodeCommand},
		{name: "nginx", program: "nginx", truth: 3 * time.Second, start: nginxCommand},
		// gthread looks at its connections when it has something to do, and
		// else once a second.
		{name: "gunicorn", program: "gunicorn", truth: 2 * time.Second, late: time.Second, start: gunicornCommand},
		{name: "uvicorn", program: "uvicorn", truth: 5 * time.Second, start: uvicornCommand},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var target string
			if c.program == "" {
				srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
				srv.Config.IdleTimeout = c.truth
				srv.Start()
				t.Cleanup(srv.Close)
				target = srv.URL
			} else {
				target = "http://" + startProgram(t, c.program, c.start)
			}
			r := probeOnce(t, &http.Transport{}, target, ProbeOptions{})
			t.Logf("announced %v, true %v, measured %v to %v (%+v), by %v", r.Announced, c.truth, r.Lower, r.Upper, r.Lower-c.truth, r.End)
			tolerance := max(c.truth*3/100, 100*time.Millisecond)
			require.Equal(t, ProbeTimeout, r.Finding, r.String())
			require.Equal(t, 3, r.Measured, r.String())
			require.Equal(t, c.announced, r.Announced)
			require.InDelta(t, c.truth, r.Lower, float64(tolerance+c.late))
			require.InDelta(t, c.truth, r.Upper, float64(tolerance+c.late))
		})
	}
}

// startProgram starts a server and returns its address once it accepts.
func startProgram(t *testing.T, program string, command func(*testing.T, string) []string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: %v", program, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(path, command(t, addr)...)
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	cmd.WaitDelay = time.Second
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
	})
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	t.Cleanup(func() { <-exited })
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return addr
		}
		select {
		case <-exited:
			t.Skipf("%s did not start: %v", program, err)
		case <-t.Context().Done():
			t.Fatal(err)
		default:
			runtime.Gosched() // it listens, or ends
		}
	}
}

func nodeCommand(_ *testing.T, addr string) []string {
	_, port, _ := net.SplitHostPort(addr)
	return []string{"-e", fmt.Sprintf("require('http').createServer((q,r)=>r.end('ok')).listen(%s,'127.0.0.1')", port)}
}

func nginxCommand(t *testing.T, addr string) []string {
	dir := t.TempDir()
	config := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error;
events {}
http {
	access_log off; keepalive_timeout 3s;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	server { listen %[2]s; location / { return 200 ok; } }
}
`, dir, addr)
	file := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	return []string{"-p", dir, "-e", filepath.Join(dir, "error"), "-c", file}
}

func gunicornCommand(t *testing.T, addr string) []string {
	dir := t.TempDir()
	app := "def app(environ, start):\n    start('200 OK', [('Content-Length', '0')])\n    return [b'']\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "probed.py"), []byte(app), 0o600))
	return []string{"--chdir", dir, "-k", "gthread", "--threads", "8", "--keep-alive", "2", "-b", addr, "probed:app"}
}

func uvicornCommand(t *testing.T, addr string) []string {
	dir := t.TempDir()
	app := `async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "probed.py"), []byte(app), 0o600))
	host, port, _ := net.SplitHostPort(addr)
	return []string{"--app-dir", dir, "--host", host, "--port", port, "probed:app"}
}
