//go:build linux

package servers

import (
	"testing"
	"time"
)

// A server is a kind of server, set up with a short idle timeout.
type server struct {
	name       string
	configured time.Duration // its idle timeout

	// What it announces by Keep-Alive: timeout, to everybody, and to clients
	// that ask by Connection: keep-alive.
	announced, elicited time.Duration

	// Its timer is coarse: closes come up to a second after the timeout. It
	// takes a dozen of them until it is known well how early they may come.
	coarse bool

	start func(t *testing.T) *site // skips the test if it is not installed
}

// A site is a server that runs.
type site struct {
	addr   string
	ledger ledger

	// renew reloads the server's configuration, or has another instance take
	// over its listening socket, and returns when that has begun to serve.
	renew   func()
	renewal string // what that is, for the table
}

func (s *site) url() string { return "http://" + s.addr }

var all = []server{nginx, haproxy, httpd, lighttpd, node, gunicorn, uvicorn, goServer}
