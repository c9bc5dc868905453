package memnet

import (
	"math/rand/v2"
	"sync"
	"time"
)

const defaultBufferSize = 64 << 10

// Options describe a network. The zero value is one without any delay.
type Options struct {
	// Latency is the time a packet takes one way; a round trip takes twice
	// as long. Default 0: packets arrive before the call that sent them
	// returns.
	Latency time.Duration

	// Jitter is the most that is added to a packet's latency, uniformly
	// distributed. It never reorders packets of one direction of one
	// connection. Default 0.
	Jitter time.Duration

	// Seed fixes the jitter. Each direction of each connection draws from a
	// sequence of its own, numbered in the order of dialing, so what other
	// connections do at the same time does not change it.
	Seed uint64

	// BufferSize is how many bytes one direction of one connection holds,
	// in flight and not yet read, before Write blocks. Default 64 KiB.
	BufferSize int
}

// Network connects listeners and dialers. Create it with [New].
//
// Its methods are safe for concurrent use.
type Network struct {
	bufferSize int
	jitter     time.Duration
	seed       uint64

	// mu guards everything below and both ends of every connection: a packet
	// arrives at one end while the other sends, and one lock keeps that
	// simple. It is never held while anything waits, except by sync.Cond,
	// since waiting for a mutex would stop virtual time.
	mu        sync.Mutex
	latency   time.Duration
	listeners map[endpoint]*listener
	cut       map[endpoint]bool // port 0: every port of the host
	dialed    uint64            // numbers clients' addresses and jitter

	air        flights
	launched   uint64 // orders packets due at one instant
	delivering bool
	timer      *time.Timer
	timerDue   time.Time // zero: not running
}

// New creates a network on which nobody listens. Values below zero count as
// unset.
func New(opts Options) *Network {
	if opts.BufferSize <= 0 {
		opts.BufferSize = defaultBufferSize
	}
	return &Network{
		bufferSize: opts.BufferSize,
		jitter:     max(opts.Jitter, 0),
		seed:       opts.Seed,
		latency:    max(opts.Latency, 0),
		listeners:  make(map[endpoint]*listener),
		cut:        make(map[endpoint]bool),
	}
}

// SetLatency changes the one-way latency of packets sent from now on; below
// zero counts as zero. Packets already on their way keep theirs, and a later
// packet of the same direction does not overtake them.
func (n *Network) SetLatency(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.latency = max(d, 0)
}

// Cut makes everything vanish that is sent to or from address, and everything
// that would arrive there or from there, until it is called with on == false.
// Nobody is told: nothing is reset, and acknowledgements stay out.
//
// address is what a listener listens on or what [Conn.LocalAddr] says of a
// client, or a host without a port for all its ports. Cut panics if the port
// is not a number, since a cut that hits nothing would make a test that proves
// nothing.
func (n *Network) Cut(address string, on bool) {
	place, err := parsePlace(address)
	if err != nil {
		panic("memnet: Cut: " + err.Error())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if on {
		n.cut[place] = true
	} else {
		delete(n.cut, place)
	}
}

func (n *Network) isCutLocked(p *path) bool {
	if len(n.cut) == 0 {
		return false
	}
	return n.cut[p.from] || n.cut[p.to] ||
		n.cut[p.from.wholeHost()] || n.cut[p.to.wholeHost()]
}

// pathsLocked returns both directions between two endpoints.
func (n *Network) pathsLocked(client, server endpoint) (out, back *path) {
	out = &path{from: client, to: server}
	back = &path{from: server, to: client}
	if n.jitter > 0 {
		out.jitter = rand.New(rand.NewPCG(n.seed, 2*n.dialed))
		back.jitter = rand.New(rand.NewPCG(n.seed, 2*n.dialed+1))
	}
	return out, back
}
