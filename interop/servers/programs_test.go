//go:build linux

package servers

import (
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

// Node announces its timeout, rounded down to seconds, and closes a second
// later.
var node = server{name: "Node", configured: time.Second, announced: time.Second, elicited: time.Second, start: func(t *testing.T) *site {
	path, dir := find(t, "node"), t.TempDir()
	ledger := newFileLedger(dir)
	script := write(t, dir, "server.js", `
const fs = require('fs'), http = require('http');
const ledger = fs.openSync(process.argv[2], 'a');
const server = http.createServer((req, res) => {
	req.resume();
	req.on('end', () => {
		fs.writeSync(ledger, new URL(req.url, 'http://localhost').searchParams.get('key') + '\n');
		res.end('ok');
	});
});
server.keepAliveTimeout = 1000;
server.listen({fd: 3}, () => console.log('ready'));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
`)
	return replaced(t, ledger, "ready", path, script, string(ledger))
}}

var uvicorn = server{name: "uvicorn", configured: time.Second, start: func(t *testing.T) *site {
	path, dir := find(t, "uvicorn"), t.TempDir()
	ledger := newFileLedger(dir)
	write(t, dir, "counted.py", `
import os
from urllib.parse import parse_qs

ledger = os.open("{ledger}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    key = parse_qs(scope["query_string"].decode()).get("key", [""])[0]
    os.write(ledger, key.encode() + b"\n")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
`, "ledger", string(ledger))
	return replaced(t, ledger, "Uvicorn running on", path, "--app-dir", dir, "--fd", "3", "--timeout-keep-alive", "1", "--no-access-log", "counted:app")
}}

// replaced is a site of programs that take over the listening socket one from
// the other: the next is started, and then the last is told to end.
func replaced(t *testing.T, l ledger, ready, path string, args ...string) *site {
	addr, socket := listen(t)
	start := func() *program {
		p := run(t, []*os.File{socket}, path, args...)
		p.await(ready, 1)
		return p
	}
	serving := start()
	return &site{addr: addr, ledger: l, renewal: "next instance, SIGTERM to the last", renew: func() {
		last := serving
		serving = start()
		last.signal(syscall.SIGTERM)
		select {
		case <-last.exited:
		case <-time.After(patience):
			require.Fail(t, "the last instance does not end", last.said())
		}
	}}
}

// gunicorn's threaded worker looks at its idle connections about once a second.
var gunicorn = server{name: "gunicorn", configured: 2 * time.Second, coarse: true, start: func(t *testing.T) *site {
	path, dir, addr := find(t, "gunicorn"), t.TempDir(), freeAddr(t)
	ledger := newFileLedger(dir)
	write(t, dir, "counted.py", `
import os
from urllib.parse import parse_qs

ledger = os.open("{ledger}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def app(environ, start):
    environ["wsgi.input"].read()
    key = parse_qs(environ["QUERY_STRING"]).get("key", [""])[0]
    os.write(ledger, key.encode() + b"\n")
    start("200 OK", [("Content-Length", "2")])
    return [b"ok"]
`, "ledger", string(ledger))
	p := run(t, nil, path, "--chdir", dir, "-k", "gthread", "--threads", "8", "--keep-alive", "2", "-b", addr, "counted:app")
	p.awaitPort(addr)
	p.await("Booting worker", 1)
	workers := 1
	return &site{addr: addr, ledger: ledger, renewal: "reload (SIGHUP)", renew: func() {
		workers++
		p.signal(syscall.SIGHUP)
		p.await("Booting worker", workers)
	}}
}}

// goServer is net/http's, in the test's own process.
var goServer = server{name: "Go", configured: time.Second, start: func(t *testing.T) *site {
	addr, socket := listen(t)
	ledger := &handlerLedger{}
	start := func() *http.Server {
		l, err := net.FileListener(socket)
		require.NoError(t, err)
		srv := &http.Server{Handler: ledger, IdleTimeout: time.Second}
		go srv.Serve(l)
		t.Cleanup(func() { srv.Close() })
		return srv
	}
	serving := start()
	return &site{addr: addr, ledger: ledger, renewal: "next instance, Shutdown of the last", renew: func() {
		last := serving
		serving = start()
		require.NoError(t, last.Shutdown(t.Context()))
	}}
}}
