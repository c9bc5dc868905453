package memnet

import (
	"net"
	"os"
	"sync"
	"syscall"
)

// listener is a net.Listener; its fields below are guarded by network.mu.
type listener struct {
	network *Network
	at      endpoint

	closed   bool
	queue    []*Conn
	acceptor *sync.Cond
}

// Listen announces on address: an IP address or a name, and a port, as in
// "10.0.0.1:80" or "api.example.com:80". Port 0 picks a free one. The address
// is taken as it is written: there are no wildcards.
//
// It fails with a *net.OpError, as net.Listen does; with syscall.EADDRINUSE in
// it while somebody else listens there. A closed listener's address is free at
// once.
func (n *Network) Listen(address string) (net.Listener, error) {
	at, err := parseEndpoint(address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if at.port == 0 {
		for at.port = firstEphemeralPort; n.listeners[at] != nil; at.port++ {
		}
	}
	if n.listeners[at] != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: at.addr(), Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	}
	l := &listener{network: n, at: at, acceptor: sync.NewCond(&n.mu)}
	n.listeners[at] = l
	n.addNameLocked(at.host)
	return l, nil
}

func (l *listener) Addr() net.Addr { return l.at.addr() }

// Accept waits for the next connection. A connection that was reset while it
// waited is returned all the same, as Linux does.
func (l *listener) Accept() (net.Conn, error) {
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	for {
		if l.closed {
			return nil, l.opError("accept")
		}
		if len(l.queue) > 0 {
			c := l.queue[0]
			l.queue[0] = nil
			l.queue = l.queue[1:]
			return c, nil
		}
		l.acceptor.Wait()
	}
}

// Close refuses connections from now on and resets those that nobody has
// accepted. Accepted ones live on.
func (l *listener) Close() error {
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	if l.closed {
		return l.opError("close")
	}
	l.closed = true
	delete(l.network.listeners, l.at)
	l.acceptor.Broadcast()
	waiting := l.queue
	l.queue = nil
	for _, c := range waiting {
		c.abortLocked()
	}
	return nil
}

func (l *listener) opError(op string) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
}

// fullLocked reports whether another connection has to wait outside.
func (l *listener) fullLocked() bool {
	return l.network.backlog > 0 && len(l.queue) >= l.network.backlog
}

// establishedLocked queues a connection whose handshake is complete, or resets
// it if the listener has closed meanwhile.
func (l *listener) establishedLocked(c *Conn) {
	if l.closed {
		c.abortLocked()
		return
	}
	l.queue = append(l.queue, c)
	l.acceptor.Signal()
}
