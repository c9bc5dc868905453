//go:build linux

package servers

import (
	"os"
	"syscall"
	"testing"
	"time"
)

var nginx = server{name: "nginx", configured: time.Second, start: func(t *testing.T) *site {
	path, dir, addr := find(t, "nginx"), t.TempDir(), freeAddr(t)
	behind, ledger := backend(t)
	config := write(t, dir, "nginx.conf", `
daemon off; pid {dir}/pid; error_log stderr notice; worker_processes 2;
events { worker_connections 2000; }
http {
	access_log off; keepalive_timeout 1s;
	client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
	server { listen {addr}; location / { proxy_pass http://{behind}; } }
}
`, "dir", dir, "addr", addr, "behind", behind)
	p := run(t, nil, path, "-p", dir, "-e", "stderr", "-c", config)
	p.awaitPort(addr)
	reloads := 0
	return &site{addr: addr, ledger: ledger, renewal: "reload (SIGHUP)", renew: func() {
		reloads++
		p.signal(syscall.SIGHUP)
		p.await("gracefully shutting down", 2*reloads)
	}}
}}

var haproxy = server{name: "HAProxy", configured: time.Second, start: func(t *testing.T) *site {
	path, dir, addr := find(t, "haproxy"), t.TempDir(), freeAddr(t)
	behind, ledger := backend(t)
	config := write(t, dir, "haproxy.cfg", `
global
	stats socket {dir}/stats level admin expose-fd listeners
	maxconn 2000
defaults
	mode http
	timeout client 20s
	timeout connect 20s
	timeout server 20s
	timeout http-request 20s
	timeout http-keep-alive 1s
	option http-server-close
frontend front
	bind {addr}
	default_backend behind
backend behind
	server one {behind}
`, "dir", dir, "addr", addr, "behind", behind)
	p := run(t, nil, path, "-W", "-f", config)
	p.awaitPort(addr)
	workers := 1
	return &site{addr: addr, ledger: ledger, renewal: "reload (SIGUSR2)", renew: func() {
		workers++
		p.signal(syscall.SIGUSR2)
		p.await("New worker", workers)
	}}
}}

var httpd = server{name: "Apache httpd", configured: time.Second, elicited: time.Second, start: func(t *testing.T) *site {
	path, dir, addr := find(t, "apache2"), t.TempDir(), freeAddr(t)
	behind, ledger := backend(t)
	// As root it changes to another user, and does not run as root.
	user := ""
	if os.Geteuid() == 0 {
		user = "User nobody\nGroup nogroup"
	}
	config := write(t, dir, "httpd.conf", `
ServerRoot {dir}
DefaultRuntimeDir {dir}
PidFile {dir}/pid
ServerName localhost
Listen {addr}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
{user}
ErrorLog /dev/stderr
LogLevel notice
KeepAlive On
KeepAliveTimeout 1
ProxyPass / http://{behind}/ disablereuse=on
`, "dir", dir, "addr", addr, "behind", behind, "user", user)
	p := run(t, nil, path, "-d", dir, "-f", config, "-DFOREGROUND")
	p.awaitPort(addr)
	starts := 1
	return &site{addr: addr, ledger: ledger, renewal: "graceful (SIGUSR1)", renew: func() {
		starts++
		p.signal(syscall.SIGUSR1)
		p.await("resuming normal operations", starts)
	}}
}}

// lighttpd counts in whole seconds of a clock of its own: it closes up
// to a second later.
var lighttpd = server{name: "lighttpd", configured: 2 * time.Second, coarse: true, start: func(t *testing.T) *site {
	path, dir, addr := find(t, "lighttpd"), t.TempDir(), freeAddr(t)
	behind, ledger := backend(t)
	config := write(t, dir, "lighttpd.conf", `
server.document-root = "{dir}"
server.bind = "127.0.0.1"
server.port = {port}
server.max-fds = 4096
server.max-keep-alive-idle = 2
server.max-keep-alive-requests = 10000
server.modules = ( "mod_proxy" )
proxy.server = ( "" => ( ( "host" => "127.0.0.1", "port" => {behind} ) ) )
`, "dir", dir, "port", port(addr), "behind", port(behind))
	p := run(t, nil, path, "-D", "-f", config)
	p.awaitPort(addr)
	starts := 1
	return &site{addr: addr, ledger: ledger, renewal: "graceful restart (SIGUSR1)", renew: func() {
		starts++
		p.signal(syscall.SIGUSR1)
		p.await("server started", starts)
	}}
}}
