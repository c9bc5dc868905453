package memnet

import "net/netip"

// Cut makes everything vanish that is sent to or from address, and everything
// that would arrive there or from there, until it is called with on == false.
// Nobody is told: nothing is reset, and acknowledgements stay out. What was lost
// is sent again, as by Linux: after a time-out of about 200 ms and a round
// trip, then after twice that, and so on up to every 2 minutes. So a cut that
// heals is noticed when the next time-out is over, and one that does not ends
// in syscall.ETIMEDOUT ([Options.GiveUpAfter]) for whoever had sent something.
// Who only waits to receive waits for ever.
//
// address is what a listener listens on or what [Conn.LocalAddr] says of a
// client, or a host without a port for all its ports. A name stands for itself
// and for the addresses that it has when the cut begins ([Network.SetHost]); a
// call with on == false ends the cut that was begun with the same address, even
// if the name has moved. Cut panics if the port is not a number, or if the name
// to be cut was neither set nor listened on, since a cut that hits nothing would
// make a test that proves nothing.
func (n *Network) Cut(address string, on bool) {
	place, err := parsePlace(address)
	if err != nil {
		panic("memnet: Cut: " + err.Error())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.cuts[place] {
		if n.cut[e]--; n.cut[e] == 0 {
			delete(n.cut, e)
		}
	}
	delete(n.cuts, place)
	if !on {
		return
	}
	n.cuts[place] = n.mustStandForLocked("Cut", place)
	for _, e := range n.cuts[place] {
		n.cut[e]++
	}
}

// standsForLocked returns the endpoints that a place means: its own, and, if it
// is a name, those of its addresses. It is false for a name that is unknown.
func (n *Network) standsForLocked(place endpoint) ([]endpoint, bool) {
	all := []endpoint{place}
	if _, err := netip.ParseAddr(place.host); err == nil {
		return all, true
	}
	l, known := n.names[place.host]
	for _, host := range l.Addrs {
		if host != place.host {
			all = append(all, endpoint{host, place.port})
		}
	}
	return all, known
}

func (n *Network) mustStandForLocked(what string, place endpoint) []endpoint {
	all, known := n.standsForLocked(place)
	if !known {
		panic("memnet: " + what + ": no such host: " + place.host + ": give it addresses by SetHost, or listen on it, before")
	}
	return all
}

func (n *Network) isCutLocked(p *path) bool {
	if p.dead {
		return true
	}
	if len(n.cut) == 0 {
		return false
	}
	return n.cut[p.from] > 0 || n.cut[p.to] > 0 ||
		n.cut[p.from.wholeHost()] > 0 || n.cut[p.to.wholeHost()] > 0
}

// Forget makes the network forget every connection that exists now to or from
// address, as a load balancer or a NAT does after a while: whoever sends a
// packet on one gets a RST in its stead, a round trip later, and the other end
// hears nothing. (One that drops such packets silently is a [Network.Cut] of
// the client's address.) address is as for Cut, and so are the panics.
func (n *Network) Forget(address string) {
	place, err := parsePlace(address)
	if err != nil {
		panic("memnet: Forget: " + err.Error())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.mustStandForLocked("Forget", place) {
		n.forgot[e] = n.dialed
	}
}

// forgotten reports whether the path's connection is older than what was
// forgotten of one of its places.
func (n *Network) forgotten(p *path) bool {
	if len(n.forgot) == 0 {
		return false
	}
	for _, e := range [...]endpoint{p.from, p.to, p.from.wholeHost(), p.to.wholeHost()} {
		if p.number < n.forgot[e] {
			return true
		}
	}
	return false
}
