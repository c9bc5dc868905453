package memnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// LookupFailure is the way in which a lookup fails.
type LookupFailure uint8

const (
	// LookupSucceeds, with the addresses that are set.
	LookupSucceeds LookupFailure = iota
	// NoSuchHost: the name does not exist (NXDOMAIN).
	NoSuchHost
	// ServerFailure: the name server has a problem of its own (SERVFAIL).
	ServerFailure
	// NoAnswer: the lookup ends with its context, or after 10 seconds, which is
	// what Go's resolver takes for two attempts.
	NoAnswer
)

const noAnswerTimeout = 10 * time.Second

// Lookup is what becomes of asking for a name.
type Lookup struct {
	// Addrs are IP addresses, in the order in which they are tried.
	Addrs []string
	// Delay is how long the answer takes. Default 0.
	Delay time.Duration
	// Failure is LookupSucceeds by default.
	Failure LookupFailure
}

// SetHost gives a name its addresses, from now on; with none the name no longer
// exists. Connections that live are not touched. It fails as
// [Network.SetLookup] does.
func (n *Network) SetHost(name string, addrs ...string) error {
	if len(addrs) == 0 {
		return n.SetLookup(name, Lookup{Failure: NoSuchHost})
	}
	return n.SetLookup(name, Lookup{Addrs: addrs})
}

// SetLookup says what becomes of asking for a name, from now on. Lookups that
// have begun end as they would have.
//
// A name that was never set is looked up successfully if a listener was ever
// given it: it is then an address of its own. Other names do not exist.
//
// SetLookup fails if the name is empty or an IP address, if an address is none,
// or if a success has no address, a failure some, or the delay is below zero.
func (n *Network) SetLookup(name string, l Lookup) error {
	failed := func(format string, args ...any) error {
		return fmt.Errorf("memnet: SetLookup(%q): "+format, append([]any{name}, args...)...)
	}
	host := canonicalHost(name)
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return failed("a name is needed, not an address")
	}
	switch {
	case l.Failure > NoAnswer:
		return failed("unknown Failure %d", l.Failure)
	case l.Failure == LookupSucceeds && len(l.Addrs) == 0:
		return failed("no address: set Failure: NoSuchHost if the name is not to exist")
	case l.Failure != LookupSucceeds && len(l.Addrs) > 0:
		return failed("addresses and a failure exclude each other")
	case l.Delay < 0:
		return failed("Delay %v is below zero", l.Delay)
	}
	l.Addrs = slices.Clone(l.Addrs)
	for i, address := range l.Addrs {
		ip, err := netip.ParseAddr(address)
		if err != nil {
			return failed("%q is no IP address (a port belongs to the dial)", address)
		}
		l.Addrs[i] = ip.Unmap().String()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[host] = l
	return nil
}

// addNameLocked makes a listener's name its own address.
func (n *Network) addNameLocked(host string) {
	if _, set := n.names[host]; !set {
		n.names[host] = Lookup{Addrs: []string{host}}
	}
}

// LookupHost returns the addresses of a name, as net.Resolver.LookupHost does;
// an IP address is returned as it is. Errors are *net.DNSError.
func (n *Network) LookupHost(ctx context.Context, name string) ([]string, error) {
	host := canonicalHost(name)
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{host}, nil
	}
	n.mu.Lock()
	l, known := n.names[host]
	n.mu.Unlock()
	if !known {
		l.Failure = NoSuchHost
	}
	if l.Failure == NoAnswer {
		l.Delay = noAnswerTimeout
	}
	if err := wait(ctx, l.Delay); err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: name, IsTimeout: errors.Is(err, context.DeadlineExceeded), UnwrapErr: err}
	}
	switch l.Failure {
	case NoSuchHost:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	case ServerFailure:
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	case NoAnswer:
		return nil, &net.DNSError{Err: "i/o timeout", Name: name, IsTimeout: true, IsTemporary: true}
	}
	return slices.Clone(l.Addrs), nil
}

// wait ends early with the context's error, in package net's words.
func wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return contextError{err}
	}
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contextError{ctx.Err()}
	}
}
