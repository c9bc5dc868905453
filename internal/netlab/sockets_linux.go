package netlab

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// Dialer dials from the client's namespace. The function it returns is one for
// http.Transport's DialContext; it knows the networks "tcp" and "tcp4", and
// returns a *net.TCPConn that is not a Multipath TCP one, with net.Dialer's
// defaults otherwise. Names are looked up outside of the namespace.
func (l *Lab) Dialer() func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if network != "tcp" && network != "tcp4" {
			return nil, net.UnknownNetworkError(network)
		}
		leave, err := l.sides[Client].enter()
		if err != nil {
			return nil, err
		}
		defer leave()

		// Only making the socket takes the namespace. The thread is back at
		// home while the dial waits for the other side, and it may wait for
		// long, and many at once. net.Dialer calls ControlContext in the
		// goroutine that called it, if it has addresses of one kind only, as
		// with tcp4.
		made := false
		d := net.Dialer{ControlContext: func(context.Context, string, string, syscall.RawConn) error {
			if made {
				// Of another address or after a lack of ports, and outside.
				return errors.New("netlab: a second socket for one dial")
			}
			made = true
			leave()
			return nil
		}}
		d.SetMultipathTCP(false)
		return d.DialContext(ctx, "tcp4", addr)
	}
}

// Listen listens on TCP in the server's namespace, on a *net.TCPListener without
// Multipath TCP. The address is an IP address, [ServerIP] mostly, and a port, 0
// for any.
func (l *Lab) Listen(addr string) (net.Listener, error) {
	leave, err := l.sides[Server].enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(context.Background(), "tcp4", addr)
}
