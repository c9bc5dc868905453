package memnet

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	synTimeout = time.Second // doubles each time
	synRetries = 6           // Linux's default: it gives up after 127 s
)

// DialContext connects to address; it has the signature of
// http.Transport.DialContext. network is "tcp", "tcp4" or "tcp6", which mean
// the same here.
//
// It takes one round trip. Where the packet is lost it is sent again after 1,
// 3, 7, 15, 31 and 63 seconds. Errors are *net.OpError, as those of
// net.Dialer: with syscall.ECONNREFUSED in it if nobody listens on address,
// syscall.ETIMEDOUT if nothing answered for 127 seconds, or the context's error
// once that ends. The context has no influence on the connection afterwards.
//
// The connection is a *[Conn].
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
	}
	server, err := parseEndpoint(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	failed := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: server.addr(), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return failed(contextError{err})
	}

	d := n.newDial(server)
	wait := synTimeout
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for attempt := 0; ; attempt++ {
		d.knock()
		select {
		case l := <-d.answer:
			if l == nil {
				return failed(os.NewSyscallError("connect", syscall.ECONNREFUSED))
			}
			return d.established(l), nil
		case <-ctx.Done():
			return failed(contextError{ctx.Err()})
		case <-timer.C:
			if attempt == synRetries {
				return failed(os.NewSyscallError("connect", syscall.ETIMEDOUT))
			}
			wait *= 2
			timer.Reset(wait)
		}
	}
}

// dial is a connection that is being made.
type dial struct {
	network        *Network
	client, server endpoint
	out, back      *path
	answer         chan *listener // nil: refused. Room for one; later answers are dropped
}

func (n *Network) newDial(server endpoint) *dial {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := &dial{network: n, server: server, client: clientEndpoint(n.dialed), answer: make(chan *listener, 1)}
	d.out, d.back = n.pathsLocked(d.client, server)
	n.dialed++
	return d
}

// knock sends a SYN. Whoever listens when it arrives answers.
func (d *dial) knock() {
	n := d.network
	n.mu.Lock()
	defer n.mu.Unlock()
	n.carryLocked(d.out, func() {
		l := n.listeners[d.server]
		n.carryLocked(d.back, func() {
			select {
			case d.answer <- l:
			default:
			}
		})
	})
}

// established makes both ends. The server's is accepted once the handshake's
// last packet has arrived, another latency later.
func (d *dial) established(l *listener) *Conn {
	n := d.network
	n.mu.Lock()
	defer n.mu.Unlock()
	client := newConn(n, d.out)
	server := newConn(n, d.back)
	client.peer, server.peer = server, client
	server.handshake = l
	client.sendLocked(segment{kind: handshake})
	return client
}

// contextError has the words and the meaning of package net's own, which are
// not exported.
type contextError struct{ cause error }

func (e contextError) Error() string {
	if e.Timeout() {
		return "i/o timeout"
	}
	return "operation was canceled"
}
func (e contextError) Timeout() bool { return errors.Is(e.cause, context.DeadlineExceeded) }
func (e contextError) Unwrap() error { return e.cause }
