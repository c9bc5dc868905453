package memnet

import (
	"sync"
	"time"
)

// Defaults, where they are not zero.
const (
	defaultBuffer      = 64 << 10
	defaultSegmentSize = 64 << 10 // the loopback interface's, about

	// Linux's tcp_retries2 of 15 comes to this (Documentation/networking/ip-sysctl).
	defaultGiveUpAfter = 924600 * time.Millisecond
)

// Options describe a network. The zero value is one without any delay, limit or
// loss.
type Options struct {
	// Latency, Jitter, Bandwidth and Loss are those of every [Link] that
	// [Network.SetLink] says nothing else of, in both directions.
	Latency   time.Duration
	Jitter    time.Duration
	Bandwidth int64
	Loss      float64

	// Seed fixes jitter and losses. Each direction of each connection draws
	// from sequences of its own, numbered in the order of dialing, so what
	// other connections do at the same time does not change it.
	Seed uint64

	// DelayedAck is how long an acknowledgement waits for data to ride on.
	// More than SegmentSize bytes that are not acknowledged yet end the wait,
	// as does something missing in front. Linux waits for 40 ms or a little
	// more once a connection is past its first packets. Default 0: every
	// packet is acknowledged at once.
	DelayedAck time.Duration

	// GiveUpAfter is how long an end goes on sending again without any
	// acknowledgement before its connection fails with syscall.ETIMEDOUT.
	// Default 924.6 s, which is what Linux's 15 retries come to.
	GiveUpAfter time.Duration

	// SendBuffer is how many bytes that are not acknowledged one end holds
	// before Write blocks. ReceiveBuffer is how many that are not read: the
	// window. Default 64 KiB each.
	SendBuffer, ReceiveBuffer int

	// SegmentSize is the most data in one packet. Default 64 KiB, like
	// Linux's loopback; 1460 is Ethernet's, for loss and bandwidth in finer
	// grain at a higher cost.
	SegmentSize int

	// Backlog is how many connections wait for a listener's Accept before
	// those who dial get no answer, as if the packet were lost. Default 0: no
	// limit.
	Backlog int
}

// Network connects listeners and dialers. Create it with [New].
//
// Its methods are safe for concurrent use.
type Network struct {
	// Assigned by New, never reassigned.
	seed          uint64
	delayedAck    time.Duration
	giveUpAfter   time.Duration
	sendBuffer    int64
	receiveBuffer int64
	segmentSize   int64
	backlog       int

	// mu guards everything below and both ends of every connection: a packet
	// arrives at one end while the other sends, and one lock keeps that
	// simple. It is never held while anything waits, except by sync.Cond,
	// since waiting for a mutex would stop virtual time.
	mu          sync.Mutex
	link        Link // where no rule of links applies
	links       []linkRule
	linkVersion uint64 // changes with link and links
	listeners   map[endpoint]*listener
	names       map[string]Lookup
	cuts        map[endpoint][]endpoint // what each cut hits, by the place it was given
	cut         map[endpoint]int        // how many of them hit it; port 0: every port of the host
	forgot      map[endpoint]uint64     // connections with a number below this one
	dialed      uint64                  // numbers clients' addresses and draws

	agenda     agenda
	planned    uint64 // orders what is due at one instant
	delivering bool
	timer      *time.Timer
	timerDue   time.Time // zero: not running
}

// New creates a network on which nobody listens. Values below zero count as
// unset, and a Loss above 1 as 1.
func New(opts Options) *Network {
	return &Network{
		seed:          opts.Seed,
		delayedAck:    max(opts.DelayedAck, 0),
		giveUpAfter:   orDefault(opts.GiveUpAfter, defaultGiveUpAfter),
		sendBuffer:    int64(orDefault(opts.SendBuffer, defaultBuffer)),
		receiveBuffer: int64(orDefault(opts.ReceiveBuffer, defaultBuffer)),
		segmentSize:   int64(orDefault(opts.SegmentSize, defaultSegmentSize)),
		backlog:       max(opts.Backlog, 0),
		link: Link{
			Latency:   max(opts.Latency, 0),
			Jitter:    max(opts.Jitter, 0),
			Bandwidth: max(opts.Bandwidth, 0),
			Loss:      min(max(opts.Loss, 0), 1),
		},
		linkVersion: 1,
		listeners:   make(map[endpoint]*listener),
		names:       make(map[string]Lookup),
		cuts:        make(map[endpoint][]endpoint),
		cut:         make(map[endpoint]int),
		forgot:      make(map[endpoint]uint64),
	}
}

func orDefault[T int | time.Duration](value, fallback T) T {
	if value <= 0 {
		return fallback
	}
	return value
}

// pathsLocked returns both directions between two endpoints.
func (n *Network) pathsLocked(client, server endpoint) (out, back *path) {
	return &path{from: client, to: server, number: n.dialed},
		&path{from: server, to: client, number: n.dialed, back: true}
}
