package memnet

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// endpoint is a host and a port in one spelling, so that it can be compared.
type endpoint struct {
	host string // an IP address as netip writes it, or a name in lower case, without a dot at its end
	port uint16
}

func parseEndpoint(address string) (endpoint, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return endpoint{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return endpoint{}, &net.AddrError{Err: "invalid port", Addr: port}
	}
	return endpoint{canonicalHost(host), uint16(number)}, nil
}

// parsePlace also takes a host without a port.
func parsePlace(address string) (endpoint, error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	if _, err := netip.ParseAddr(bare); err == nil || !strings.Contains(address, ":") {
		return endpoint{host: canonicalHost(bare)}, nil
	}
	return parseEndpoint(address)
}

func canonicalHost(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(host, ".")) // the dot only keeps search domains away
}

func (e endpoint) wholeHost() endpoint { return endpoint{host: e.host} }

// addr is a *net.TCPAddr where the host is an IP address, as callers of
// package net expect to be able to assert.
func (e endpoint) addr() net.Addr {
	if ip, err := netip.ParseAddr(e.host); err == nil {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, e.port))
	}
	return nameAddr(net.JoinHostPort(e.host, strconv.Itoa(int(e.port))))
}

type nameAddr string

func (nameAddr) Network() string  { return "tcp" }
func (a nameAddr) String() string { return string(a) }

// Linux's default range of ephemeral ports.
const (
	firstEphemeralPort = 32768
	ephemeralPorts     = 28232
)

// clientEndpoint returns the address of the dialer with this number. When the
// ports of one address are used up the next address serves (198.18.0.0/15 is
// set aside for tests, RFC 2544), so that an address names one connection.
func clientEndpoint(number uint64) endpoint {
	var ip [4]byte
	binary.BigEndian.PutUint32(ip[:], 198<<24|18<<16|uint32(1+number/ephemeralPorts))
	return endpoint{
		host: netip.AddrFrom4(ip).String(),
		port: uint16(firstEphemeralPort + number%ephemeralPorts),
	}
}
