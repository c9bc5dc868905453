package memnet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Link says how packets travel one way from one place to another. The zero
// value carries everything at once.
type Link struct {
	// Latency is the time a packet takes. Default 0: packets arrive before
	// the call that sent them returns.
	Latency time.Duration

	// Jitter is the most that is added to a packet's latency, uniformly
	// distributed. It never reorders packets of one direction of one
	// connection: one that would overtake arrives together with the one in
	// front. Default 0.
	Jitter time.Duration

	// Bandwidth is how many bytes of data a second each direction of each
	// connection carries. A packet arrives as a whole, its latency after its
	// last byte was sent. Default 0: no limit.
	Bandwidth int64

	// Loss is the probability, from 0 to 1, with which a packet is lost, of
	// whatever kind. Data is sent again after a time-out, and everything
	// behind it waits for it. Default 0.
	Loss float64

	// LoseAcks loses packets that are nothing but acknowledgements. Data is
	// sent again and again although it has arrived, until an acknowledgement
	// comes back with data or [Options.GiveUpAfter] is over. Default false.
	LoseAcks bool
}

func (l Link) validate() error {
	switch {
	case l.Latency < 0:
		return fmt.Errorf("link: Latency %v is below zero", l.Latency)
	case l.Jitter < 0:
		return fmt.Errorf("link: Jitter %v is below zero", l.Jitter)
	case l.Bandwidth < 0:
		return fmt.Errorf("link: Bandwidth %d is below zero", l.Bandwidth)
	case !(l.Loss >= 0 && l.Loss <= 1):
		return fmt.Errorf("link: Loss %v is no probability: it goes from 0 to 1", l.Loss)
	}
	return nil
}

// linkRule is a Link between two places; the empty endpoint is any place.
type linkRule struct {
	from, to endpoint
	link     Link
}

// specificity is higher the more a place says.
func (e endpoint) specificity() int {
	switch {
	case e == endpoint{}:
		return 0
	case e.port == 0:
		return 1
	}
	return 2
}

func (e endpoint) covers(other endpoint) bool {
	return e == endpoint{} || e == other || e == other.wholeHost()
}

// SetLink says how packets travel from one place to another from now on. A
// place is an address with its port, a host for all its ports, or "" for
// everywhere; the most specific pair of places counts, of equally specific
// ones the last that was set. Where none applies, [Options] do. Packets on
// their way keep what they got, and a later one does not overtake them. A name
// stands for itself and for the addresses that it has now ([Network.SetHost]).
//
// It fails if a place is no address, or a field of link is out of its range.
func (n *Network) SetLink(from, to string, link Link) error {
	fromPlace, err := parseAnyPlace(from)
	if err != nil {
		return fmt.Errorf("memnet: SetLink: from: %w", err)
	}
	toPlace, err := parseAnyPlace(to)
	if err != nil {
		return fmt.Errorf("memnet: SetLink: to: %w", err)
	}
	if err := link.validate(); err != nil {
		return fmt.Errorf("memnet: SetLink: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// A name that is unknown may yet become a listener's.
	froms, _ := n.standsForLocked(fromPlace)
	tos, _ := n.standsForLocked(toPlace)
	for _, f := range froms {
		for _, t := range tos {
			n.links = slices.DeleteFunc(n.links, func(r linkRule) bool { return r.from == f && r.to == t })
			n.links = append(n.links, linkRule{f, t, link})
		}
	}
	n.linkVersion++
	return nil
}

func parseAnyPlace(place string) (endpoint, error) {
	if place == "" {
		return endpoint{}, nil
	}
	return parsePlace(place)
}

// SetLatency changes the one-way latency of packets sent from now on, where no
// [Network.SetLink] applies; below zero counts as zero.
func (n *Network) SetLatency(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link.Latency = max(d, 0)
	n.linkVersion++
}

func (n *Network) linkLocked(p *path) *Link {
	if p.linkVersion == n.linkVersion {
		return &p.link
	}
	p.link, p.linkVersion = n.link, n.linkVersion
	best := -1
	for _, r := range n.links {
		weight := r.from.specificity() + r.to.specificity()
		if weight >= best && r.from.covers(p.from) && r.to.covers(p.to) {
			best, p.link = weight, r.link
		}
	}
	return &p.link
}

// Jitter and losses are drawn from two sequences, so that one setting does not
// change what the other does.
func (n *Network) drawsLocked(p *path, sequence uint64) *rand.Rand {
	if p.back {
		sequence += 2
	}
	return rand.New(rand.NewPCG(n.seed, 4*p.number+sequence))
}

func (n *Network) jitterLocked(p *path, l *Link) time.Duration {
	if l.Jitter == 0 {
		return 0
	}
	if p.jitter == nil {
		p.jitter = n.drawsLocked(p, 0)
	}
	return time.Duration(p.jitter.Int64N(int64(l.Jitter) + 1))
}

func (n *Network) losesLocked(p *path, l *Link) bool {
	if l.Loss == 0 {
		return false
	}
	if p.losses == nil {
		p.losses = n.drawsLocked(p, 1)
	}
	return p.losses.Float64() < l.Loss
}
