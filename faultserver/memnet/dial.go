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

	synAckRetries = 5 // and whoever was dialed after 63 s
)

// DialContext connects to address; it has the signature of
// http.Transport.DialContext. network is "tcp", "tcp4" or "tcp6", which mean
// the same here.
//
// A name is looked up first ([Network.SetHost]), and its addresses are tried one
// after the other, as net.Dialer does: the first that answers wins, a deadline
// is shared out among those that are left (at least 2 s for each), and if none
// answers the first one's error counts. Two families of addresses are not tried
// at once (RFC 8305, "Happy Eyeballs"): the order is the one that was set.
//
// Connecting takes one round trip. Where the packet is lost it is sent again
// after 1, 3, 7, 15, 31 and 63 seconds. Errors are *net.OpError, as those of
// net.Dialer: with syscall.ECONNREFUSED in it if nobody listens on address,
// syscall.ETIMEDOUT if nothing answered for 127 seconds, a *net.DNSError, or the
// context's error once that ends. The context has no influence on the connection
// afterwards.
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
	addresses, err := n.LookupHost(ctx, server.host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	var first error
	for i, host := range addresses {
		server.host = host
		c, err := n.dialOne(ctx, network, server, len(addresses)-i)
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// leastShare is the least time that one of several addresses gets, unless the
// context has less left (net's dialSerial).
const leastShare = 2 * time.Second

// dialOne tries one address, of so many that are left.
func (n *Network) dialOne(ctx context.Context, network string, server endpoint, left int) (net.Conn, error) {
	failed := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: server.addr(), Err: err}
	}
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		remaining := time.Until(deadline)
		share := max(remaining/time.Duration(left), min(leastShare, remaining))
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, share)
		defer cancel()
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

	// Guarded by network.mu.
	knocks                int
	knockedAt, answeredAt time.Time
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
	d.knocks++
	d.knockedAt = time.Now()
	n.carryLocked(&event{path: d.out, run: func() {
		l := n.listeners[d.server]
		if l != nil && l.fullLocked() {
			return
		}
		d.answeredAt = time.Now()
		n.carryLocked(&event{path: d.back, run: func() {
			select {
			case d.answer <- l:
			default:
			}
		}}, 0)
	}}, 0)
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
	client.dialed = true
	if d.knocks == 1 { // otherwise it is not known which one was answered
		client.timing.measured(time.Since(d.knockedAt))
	}
	server.handshake = l
	server.timing.since = d.answeredAt
	n.planLocked(&server.timing.timer, d.answeredAt.Add(synTimeout))
	client.sendSegmentLocked(segment{kind: acknowledgement})
	return client
}

// acceptableLocked ends the handshake on the accepting side.
func (c *Conn) acceptableLocked() {
	c.network.cancelLocked(&c.timing.timer)
	if c.timing.backoff == 0 {
		c.timing.measured(time.Since(c.timing.since))
	}
	c.receivedAt = time.Now()
}

// repeatHandshakeLocked asks again for the handshake's last packet.
func (c *Conn) repeatHandshakeLocked() {
	if c.timing.backoff == synAckRetries {
		c.endLocked()
		return
	}
	c.timing.backoff++
	c.network.planLocked(&c.timing.timer, time.Now().Add(synTimeout<<c.timing.backoff))
	c.sendSegmentLocked(segment{kind: handshake})
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
