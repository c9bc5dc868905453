package faultserver

// The kinds of TCP and of names, see [Kind].
const (
	// TCP. Those that say "Linux" are refused by Server.InjectE elsewhere, and
	// where the kernel does not let them, with an error that says what is
	// missing.

	// AcceptReset resets a connection as soon as it is accepted; the client's
	// dial succeeds or, now and then, fails with the RST. Judged when a
	// connection is accepted; Nth counts connections.
	AcceptReset Kind = iota + ResumptionForgotten + 1
	// AcceptLate leaves a connection After (plus up to Jitter) alone before it
	// is read from, and accepts no other on that address meanwhile, as a server
	// whose only acceptor is busy; the kernel completes the handshakes. Judged
	// when a connection is accepted.
	AcceptLate
	// Latency makes everything take After (plus up to Jitter) longer, in either
	// direction: data and FIN, but neither a RST nor the kernel's handshake and
	// acknowledgements. Order is kept. Judged when a connection is accepted and,
	// for those that are open, at injection; it ends for all when it is removed.
	Latency
	// Bandwidth carries at most Rate bytes per second in either direction, on
	// each connection; of several the lowest counts. Judged as Latency is.
	Bandwidth
	// SlowClose makes every FIN of the server's come After later than decided.
	// The journal has the time of the decision. Judged as Latency is.
	SlowClose
	// Loss makes the kernel drop a share of the packets from the client, Value,
	// such as "2.5%", so that data, acknowledgements and FINs come late by
	// retransmission; packets to the client are not lost. It is not drawn from
	// Config.Seed. Judged as Latency is. Linux; recent kernels want
	// CAP_NET_ADMIN.
	Loss

	// RefuseConnections closes the listener, so that connections are refused,
	// and listens on the same address again After later (plus up to Jitter; 0:
	// when the fault is removed). Connections that are open live on; those that
	// were in the queue are reset. Value is the host of one of Config.Addresses,
	// "" all. In force at once. A Config.Listener that is not a
	// *net.TCPListener cannot be made again: set Config.Listen.
	RefuseConnections
	// FullBacklog accepts nothing and cuts the kernel's queue down to one
	// connection: further SYNs are not answered, and the client repeats them
	// after 1, 3, 7 … seconds. Parameters are RefuseConnections'. Linux.
	FullBacklog
	// SilentListener answers no SYN, as if the machine were gone; connections
	// that are open live on. Parameters are RefuseConnections'. Linux.
	SilentListener
	// PauseServer is Server.Pause for After (plus up to Jitter; 0: until the
	// fault is removed). In force at once.
	PauseServer

	// IdleVanish drops a connection silently after After (plus up to Jitter) of
	// idleness: no FIN, no RST, and nothing the client sends is acknowledged,
	// until the server is closed. Linux, or memnet.
	IdleVanish
	// IdleForget drops a connection silently after After (plus up to Jitter) of
	// idleness; the client's next packet, of whatever kind, is answered with a
	// RST. Linux, where it wants CAP_NET_ADMIN or a network device beside the
	// loopback, or memnet.
	IdleForget
	// VanishOnRequest reads the whole request and then drops the connection
	// like IdleVanish; Executed runs the handler first. Linux, or memnet.
	VanishOnRequest
	// CrashOnRequest reads the whole request and then crashes the server as
	// Server.Crash does; Executed runs the handler first. The server is back
	// After later (plus up to Jitter; 0: at Server.Resume).
	CrashOnRequest

	// Names: what the server of Server.Resolver answers. They are judged for
	// each question; Value is the host name, also with a search domain behind
	// it, "" any. Go asks two for each name (A and AAAA), and those that fail
	// more than once.

	// LookupNXDomain says that the name does not exist.
	LookupNXDomain
	// LookupServFail says that the name server failed (SERVFAIL).
	LookupServFail
	// LookupEmpty says that the name exists but has no address.
	LookupEmpty
	// LookupDelay answers After (plus up to Jitter) later. It combines with the
	// others; several of them add up.
	LookupDelay
	// LookupSilence never answers.
	LookupSilence
	// LookupTruncated cuts answers over UDP off, so that the resolver asks again
	// over TCP.
	LookupTruncated
	// LookupWrong answers with other addresses: Value is "host=addresses", or
	// "addresses" for any host, with commas between them.
	LookupWrong

	kindEnd
)
