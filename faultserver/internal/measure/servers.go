//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// kind is a server and how to run it. files are written to the run's directory,
// args are the command line; in both $DIR, $H1, $H2 and $BACKEND are replaced.
type kind struct {
	name    string
	idle    time.Duration // as configured
	half    time.Duration // limit for a request's head, 0: none configured
	program string        // looked up in PATH
	needs   string        // a file, besides
	version []string
	files   map[string]string
	args    []string
	http2   bool
	signal  os.Signal
	serve   func(h1, h2 string) (shutdown func(), closeAll func()) // in this process instead
}

func servers() []kind {
	nginx := func(name string, signal os.Signal) kind {
		return kind{
			name: name, idle: 2 * time.Second, half: 2 * time.Second, program: "nginx", version: []string{"-v"}, http2: true, signal: signal,
			files: map[string]string{"nginx.conf": nginxConf},
			args:  []string{"-e", "$DIR/error.log", "-p", "$DIR", "-c", "$DIR/nginx.conf"},
		}
	}
	haproxy := func(name string, signal os.Signal) kind {
		return kind{
			name: name, idle: 2 * time.Second, half: 3 * time.Second, program: "haproxy", version: []string{"-v"}, http2: true, signal: signal,
			files: map[string]string{"haproxy.cfg": haproxyConf}, args: []string{"-W", "-db", "-f", "$DIR/haproxy.cfg"},
		}
	}
	apache := func(name string, signal os.Signal) kind {
		return kind{
			name: name, idle: 2 * time.Second, half: 2 * time.Second, program: "apache2", version: []string{"-v"}, http2: true, signal: signal,
			files: map[string]string{"apache.conf": apacheConf, "index.html": "ok"}, args: []string{"-d", "$DIR", "-f", "$DIR/apache.conf", "-DFOREGROUND"},
		}
	}
	tomcat := "/usr/share/tomcat10/bin/"
	python := map[string]string{"app.py": pythonApps}
	return []kind{
		{name: "go", idle: 2 * time.Second, http2: true, serve: serveGo},
		{
			name: "node", idle: 2 * time.Second, half: 3 * time.Second, program: "node", version: []string{"--version"}, http2: true, signal: syscall.SIGTERM,
			files: map[string]string{"app.js": nodeApp}, args: []string{"$DIR/app.js"},
		},
		nginx("nginx (quit)", syscall.SIGQUIT), nginx("nginx (reload)", syscall.SIGHUP),
		haproxy("haproxy (soft stop)", syscall.SIGUSR1), haproxy("haproxy (reload)", syscall.SIGUSR2),
		apache("apache (graceful-stop)", syscall.SIGWINCH), apache("apache (graceful)", syscall.SIGUSR1),
		{
			name: "caddy", idle: 2 * time.Second, half: 2 * time.Second, program: "caddy", version: []string{"version"}, http2: true, signal: syscall.SIGTERM,
			files: map[string]string{"Caddyfile": caddyConf}, args: []string{"run", "--config", "$DIR/Caddyfile"},
		},
		{
			name: "gunicorn (gthread)", idle: 2 * time.Second, program: "gunicorn", version: []string{"--version"}, signal: syscall.SIGTERM,
			files: python, args: []string{"--chdir", "$DIR", "-k", "gthread", "--threads", "8", "-b", "$H1", "app:wsgi"},
		},
		{
			name: "uvicorn", idle: 5 * time.Second, program: "uvicorn", version: []string{"--version"}, signal: syscall.SIGTERM,
			files: python, args: []string{"--app-dir", "$DIR", "--host", "127.0.0.1", "--port", "$PORT1", "app:asgi"},
		},
		{
			name: "hypercorn", idle: 5 * time.Second, program: "hypercorn", version: []string{"--version"}, http2: true, signal: syscall.SIGTERM,
			files: python, args: []string{"-b", "$H1", "-b", "$H2", "$DIR/app.py:asgi"},
		},
		{
			name: "puma", idle: 2 * time.Second, half: 3 * time.Second, program: "puma", version: []string{"--version"}, signal: syscall.SIGTERM,
			files: map[string]string{"puma.rb": pumaConf}, args: []string{"-C", "$DIR/puma.rb"},
		},
		{
			name: "tomcat", idle: 2 * time.Second, half: 3 * time.Second, program: "java", http2: true, signal: syscall.SIGTERM,
			needs:   tomcat + "bootstrap.jar",
			version: []string{"-cp", "/usr/share/tomcat10/lib/catalina.jar", "org.apache.catalina.util.ServerInfo"},
			files: map[string]string{
				"conf/server.xml": tomcatConf, "conf/web.xml": tomcatServlets,
				"webapps/ROOT/slow.jsp": `<% Thread.sleep(1500); %>ok`, "webapps/ROOT/index.jsp": "ok",
			},
			args: []string{
				"-cp", tomcat + "bootstrap.jar:" + tomcat + "tomcat-juli.jar", "-Dcatalina.home=/usr/share/tomcat10",
				"-Dcatalina.base=$DIR", "-Djava.io.tmpdir=$DIR", "org.apache.catalina.startup.Bootstrap", "start",
			},
		},
	}
}

type running struct {
	http1, http2 string // addresses
	version      string
	signal, kill func()
}

func freeAddress() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func start(k kind, backend string, verbose bool) (*running, error) {
	h1, h2 := freeAddress(), freeAddress()
	if k.serve != nil {
		shutdown, closeAll := k.serve(h1, h2)
		return &running{http1: h1, http2: h2, version: runtime.Version()[2:], signal: shutdown, kill: closeAll}, awaitListening(h1, h2)
	}
	path, err := exec.LookPath(k.program)
	if err != nil {
		return nil, errors.New("it is not installed")
	}
	if k.needs != "" {
		if _, err := os.Stat(k.needs); err != nil {
			return nil, fmt.Errorf("it is not installed: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "measure")
	if err != nil {
		return nil, err
	}
	os.Chmod(dir, 0o755) // some servers change their user
	_, port1, _ := net.SplitHostPort(h1)
	_, port2, _ := net.SplitHostPort(h2)
	fill := strings.NewReplacer("$DIR", dir, "$H1", h1, "$H2", h2, "$PORT1", port1, "$PORT2", port2, "$BACKEND", backend)
	for name, text := range k.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(fill.Replace(text)), 0o644); err != nil {
			return nil, err
		}
	}
	var args []string
	for _, a := range k.args {
		args = append(args, fill.Replace(a))
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its workers end with it
	if verbose {
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	run := &running{http1: h1, version: version(path, k.version), signal: func() { cmd.Process.Signal(k.signal) }}
	run.kill = func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		os.RemoveAll(dir)
		run.kill = func() {}
	}
	addrs := []string{h1}
	if k.http2 {
		run.http2 = h2
		addrs = append(addrs, h2)
	}
	err = awaitListening(addrs...)
	if err == nil {
		err = warmUp(h1)
	}
	if err != nil {
		run.kill()
		return nil, err
	}
	return run, nil
}

func awaitListening(addrs ...string) error {
	for _, a := range addrs {
		for n := 0; ; n++ {
			nc, err := net.Dial("tcp", a)
			if err == nil {
				nc.Close()
				break
			}
			if n == 150 {
				return fmt.Errorf("it does not listen: %w (see -v)", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return nil
}

var number = regexp.MustCompile(`\d+\.\d+(\.\d+)?`)

func version(path string, args []string) string {
	out, _ := exec.Command(path, args...).CombinedOutput()
	return number.FindString(string(out))
}

func serveGo(h1, h2 string) (shutdown, closeAll func()) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: http.HandlerFunc(answer), IdleTimeout: 2 * time.Second, Protocols: protocols}
	for _, addr := range []string{h1, h2} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			panic(err)
		}
		go s.Serve(ln)
	}
	return func() { go s.Shutdown(context.Background()) }, func() { io.Closer(s).Close() }
}
