package faultserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// hold is a reason for which an address does not take connections.
type hold uint8

const (
	refusing    hold = iota // nobody listens
	deaf                    // the kernel answers no SYN
	overflowing             // the queue is full
	paused                  // the queue fills
	holdCount
)

// endpoint is one address the server listens on. Several reasons can hold it at
// a time; what it does follows from all of them.
type endpoint struct {
	addr   net.Addr
	listen func() (net.Listener, error) // there again; nil: impossible

	mu       sync.Mutex   // guards what follows; held during calls that do not block
	ln       net.Listener // nil while nobody listens
	times    int          // how often it was listened; names ln, which may not be comparable
	holds    [holdCount]int
	isDeaf   bool // what the kernel was told of ln
	isShort  bool
	reserved func() // releases the port kept while nobody listens; may be nil
	closed   bool
	inAccept bool          // the acceptor is in ln.Accept
	changed  chan struct{} // closed and replaced when any of this changes
}

func newEndpoint(ln net.Listener, listen func() (net.Listener, error)) *endpoint {
	return &endpoint{addr: ln.Addr(), ln: ln, listen: listen, changed: make(chan struct{})}
}

// supports says why the endpoint cannot be held for that reason, or nil.
func (e *endpoint) supports(h hold) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, isTCP := e.addr.(*net.TCPAddr)
	_, hasSocket := e.ln.(syscall.Conn)
	switch {
	case h == refusing && e.listen == nil:
		return fmt.Errorf("Config.Listener is a %T, which cannot be made again once it is closed: set Config.Listen instead", e.ln)
	case h == paused, h == refusing:
		return nil
	case !isTCP || e.ln != nil && !hasSocket:
		return fmt.Errorf("the listener on %v is not a TCP socket", e.addr)
	case h == overflowing:
		return canSetBacklog()
	case e.ln == nil || e.isDeaf:
		return nil
	}
	if err := deafen(e.ln.(syscall.Conn), false); err != nil {
		return fmt.Errorf("the listener on %v: %w%s", e.addr, err, remedyFor(err))
	}
	return nil
}

// hold adds a reason; release takes it back. Both take effect before they
// return.
func (e *endpoint) hold(h hold) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.holds[h]++
	if err := e.applyLocked(); err != nil {
		e.holds[h]--
		return err
	}
	// An acceptor on its way into the kernel would still take one.
	for _, wakes := e.ln.(deadliner); e.inAccept && !e.acceptsLocked() && (wakes || e.ln == nil); {
		changed := e.changed
		e.mu.Unlock()
		<-changed
		e.mu.Lock()
	}
	return nil
}

// deadliner is a listener whose Accept can be woken.
type deadliner interface{ SetDeadline(time.Time) error }

// release fails if the address cannot be listened on again; the reason is gone
// all the same, and retry tries again.
func (e *endpoint) release(h hold) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.holds[h]--
	return e.applyLocked()
}

func (e *endpoint) retry() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.applyLocked()
}

// applyLocked makes the kernel do what the holds ask for.
func (e *endpoint) applyLocked() error {
	defer e.announceLocked()
	if e.closed {
		return nil
	}
	if e.holds[refusing] > 0 {
		e.stopListeningLocked()
		return nil
	}
	if e.ln == nil {
		ln, err := e.listen()
		if err != nil {
			return fmt.Errorf("faultserver: listen on %v again: %w", e.addr, err)
		}
		e.ln, e.isDeaf, e.isShort = ln, false, false
		e.times++
		if e.reserved != nil {
			e.reserved()
		}
	}
	if err := e.tellKernelLocked(); err != nil {
		return err
	}
	// Wakes an Accept that must not go on, and lets later ones wait.
	if ln, ok := e.ln.(deadliner); ok {
		var at time.Time
		if !e.acceptsLocked() {
			at = time.Unix(1, 0)
		}
		ln.SetDeadline(at)
	}
	return nil
}

func (e *endpoint) announceLocked() {
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *endpoint) stopListeningLocked() {
	if e.ln == nil {
		return
	}
	e.ln.Close()
	e.ln = nil
	e.reserved = reservePort(e.addr)
}

func (e *endpoint) tellKernelLocked() error {
	sc, ok := e.ln.(syscall.Conn)
	if !ok {
		return nil // supports has refused what would need one
	}
	if want := e.holds[deaf] > 0; want != e.isDeaf {
		if err := deafen(sc, want); err != nil {
			return fmt.Errorf("faultserver: %w", err)
		}
		e.isDeaf = want
	}
	if want := e.holds[overflowing] > 0; want != e.isShort {
		length := maxBacklog
		if want {
			length = 0
		}
		if err := setBacklog(sc, length); err != nil {
			return fmt.Errorf("faultserver: %w", err)
		}
		e.isShort = want
	}
	return nil
}

func (e *endpoint) acceptsLocked() bool {
	return e.ln != nil && e.holds[overflowing] == 0 && e.holds[paused] == 0
}

// accept returns the next connection. It fails with net.ErrClosed after close,
// or if the listener was closed by somebody else.
func (e *endpoint) accept() (net.Conn, error) {
	for {
		ln, nth, err := e.listener()
		if err != nil {
			return nil, err
		}
		nc, err := ln.Accept()
		e.leftAccept()
		switch {
		case err == nil && e.admits(nth):
			return nc, nil
		case err == nil: // it died in the queue
			nc.Close()
		case e.accepts(nth):
			return nil, err
		}
	}
}

func (e *endpoint) leftAccept() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inAccept = false
	e.announceLocked()
}

// listener waits until connections are to be accepted, and marks the caller as
// one that accepts.
func (e *endpoint) listener() (ln net.Listener, nth int, err error) {
	for {
		e.mu.Lock()
		ln, nth, ready, closed, changed := e.ln, e.times, e.acceptsLocked(), e.closed, e.changed
		e.inAccept = ready && !closed
		e.mu.Unlock()
		switch {
		case closed:
			return nil, 0, net.ErrClosed
		case ready:
			return ln, nth, nil
		}
		<-changed
	}
}

// admits waits with a connection that slipped through a hold, as if it were
// still in the queue, and is false if the listener was closed meanwhile.
func (e *endpoint) admits(nth int) bool {
	for {
		e.mu.Lock()
		same, ready, changed := e.ln != nil && e.times == nth && !e.closed, e.acceptsLocked(), e.changed
		e.mu.Unlock()
		if !same || ready {
			return same
		}
		<-changed
	}
}

// accepts reports whether an error of that listener's is its own, and not the
// work of a hold.
func (e *endpoint) accepts(nth int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.closed && e.times == nth && e.acceptsLocked()
}

func (e *endpoint) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.announceLocked()
	if e.ln == nil {
		if e.reserved != nil {
			e.reserved()
		}
		return nil
	}
	return e.ln.Close()
}

// listenTries is how often a port that is free on the first address is looked
// for until it is free on all.
const listenTries = 20

// openEndpoints listens on every address of the configuration, on one port.
func openEndpoints(cfg *Config) ([]*endpoint, error) {
	if cfg.Listener != nil {
		var again func() (net.Listener, error)
		if _, ok := cfg.Listener.(*net.TCPListener); ok {
			addr := cfg.Listener.Addr()
			again = func() (net.Listener, error) { return listenTCP(addr.String()) }
		}
		return []*endpoint{newEndpoint(cfg.Listener, again)}, nil
	}
	listen := cfg.Listen
	if listen == nil {
		listen = listenTCP
	}
	hosts := cfg.Addresses
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1"}
	}
	var err error
	for range listenTries {
		var all []*endpoint
		if all, err = listenOnAll(hosts, cfg.Port, listen); err == nil {
			return all, nil
		}
		if cfg.Port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return nil, err
}

// listenTCP is net.Listen without Multipath TCP, whose sockets the kernel does
// not let go deaf.
func listenTCP(address string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(context.Background(), "tcp", address)
}

func listenOnAll(hosts []string, wanted int, listen func(string) (net.Listener, error)) ([]*endpoint, error) {
	var all []*endpoint
	port := strconv.Itoa(wanted)
	for _, host := range hosts {
		ln, err := listen(net.JoinHostPort(host, port))
		if err != nil {
			for _, e := range all {
				e.close()
			}
			return nil, fmt.Errorf("faultserver: listen on %s: %w%s", host, err, remedyFor(err))
		}
		address := ln.Addr().String()
		all = append(all, newEndpoint(ln, func() (net.Listener, error) { return listen(address) }))
		if port == "0" {
			_, port, _ = net.SplitHostPort(address)
		}
	}
	return all, nil
}

func remedyFor(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return " (this machine has no such address; on Linux all of 127.0.0.0/8 is there, elsewhere add it: ifconfig lo0 alias)"
	case errors.Is(err, syscall.EOPNOTSUPP):
		return " (it may be a Multipath TCP socket, net.Listen's default: use net.ListenConfig.SetMultipathTCP(false))"
	}
	return ""
}

// hostOf is an address without its port.
func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}
