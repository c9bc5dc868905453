package faultserver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// nameTable is what names stand for, in lower case and without a dot at the
// end. "*" is any other.
type nameTable map[string][]netip.Addr

// names hold the table in force; nil: every name stands for the server.
type names struct{ table atomic.Pointer[nameTable] }

// SetNames replaces what the names stand for that Server.Resolver resolves:
// host name to IP addresses. The change is atomic, and concerns lookups that
// begin afterwards; connections live on. A name that is not there does not
// exist; "*" stands for any other, but not for one that is there with something
// behind it, which may be a search domain of the machine's resolv.conf: that one
// has the name's addresses. A name with no address exists and has none.
// nil: every name stands for all the server's addresses, as at the start
// without Config.Names.
//
// It fails, and changes nothing, for an address that is none.
func (s *Server) SetNames(addresses map[string][]string) error {
	table, err := parseNames(addresses)
	if err != nil {
		return fmt.Errorf("faultserver: names: %w", err)
	}
	if addresses == nil {
		s.names.table.Store(nil)
	} else {
		s.names.table.Store(&table)
	}
	return nil
}

func parseNames(addresses map[string][]string) (nameTable, error) {
	table := make(nameTable, len(addresses))
	for host, list := range addresses {
		if host == "" {
			return nil, fmt.Errorf("a host name is empty")
		}
		parsed, err := parseAddresses(list)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", host, err)
		}
		table[canonicalHost(host)] = parsed
	}
	return table, nil
}

func parseAddresses(list []string) ([]netip.Addr, error) {
	parsed := make([]netip.Addr, len(list))
	for i, a := range list {
		ip, err := netip.ParseAddr(strings.TrimSpace(a))
		if err != nil {
			return nil, fmt.Errorf("%q is not an IP address", a)
		}
		parsed[i] = ip.Unmap()
	}
	return parsed, nil
}

func canonicalHost(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// addressesOf returns a name's addresses, and whether it exists.
func (s *Server) addressesOf(host string) ([]netip.Addr, bool) {
	table := s.names.table.Load()
	if table == nil {
		var own []netip.Addr
		for _, e := range s.endpoints {
			if ip, err := netip.ParseAddr(hostOf(e.addr)); err == nil {
				own = append(own, ip.Unmap())
			}
		}
		return own, true
	}
	if list, ok := (*table)[host]; ok {
		return list, true
	}
	other, ok := (*table)["*"]
	if !ok {
		return nil, false
	}
	// Go may ask for a name with a search domain first (resolv.conf(5), ndots).
	// Where "*" answered that, the name would stand for something else on a
	// machine with search domains.
	for i := strings.LastIndexByte(host, '.'); i > 0; i = strings.LastIndexByte(host[:i], '.') {
		if list, ok := (*table)[host[:i]]; ok {
			return list, true
		}
	}
	return other, true
}

// fitsHost compares a name with a lookup fault's. Behind it may stand a search
// domain of resolv.conf, else the fault would depend on the machine.
func (f *Fault) fitsHost(host string) bool {
	want := f.Value
	if f.Kind == LookupWrong {
		want, _, _ = parseWrong(f.Value)
	}
	want = canonicalHost(want)
	return want == "" || want == host || strings.HasPrefix(host, want+".")
}

// parseWrong reads the Value of LookupWrong.
func parseWrong(value string) (host string, addresses []netip.Addr, err error) {
	host, list, named := strings.Cut(value, "=")
	if !named {
		host, list = "", value
	}
	addresses, err = parseAddresses(strings.Split(list, ","))
	return host, slices.Clip(addresses), err
}
