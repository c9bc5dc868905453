// Package memnet is a TCP network in memory, for tests in virtual time.
//
// Packets take time to arrive, and so a FIN or a RST can cross a request that
// is already on its way: the race a keep-alive connection dies of. What each
// end can know about it is kept as a kernel keeps it: which bytes the other
// kernel acknowledged, which are still queued, which error is pending.
//
//	synctest.Test(t, func(t *testing.T) {
//		network := memnet.New(memnet.Options{Latency: 25 * time.Millisecond})
//		listener, _ := network.Listen("api.example.com:80")
//		go server.Serve(listener)
//		transport := &http.Transport{DialContext: network.DialContext}
//		…
//	})
//
// It works inside a [testing/synctest] bubble and outside. Every wait is on a
// condition or a channel and every delay is a timer, so virtual time advances
// whenever nobody has anything left to do. A [Network] belongs to the bubble
// it is first used in. It starts no goroutines of its own but those of timers
// that fire, so once both ends are closed nothing is left running; but what
// was sent last needs its latency to arrive, and virtual time stands still
// once a bubble's first goroutine has returned: close, then sleep a latency,
// before the test returns.
//
// Connections behave as Linux's do, seen through package net: the same error
// values, the same order of data, EOF and errors, as far as modelled.
//
// # Not modelled
//
//   - Retransmission. A connection that lost a packet to [Network.Cut] never
//     delivers anything after the gap, even when the cut has healed; only
//     dialing tries again.
//   - Acknowledgements that are delayed or coalesced: each arrival is
//     acknowledged at once. (A real server that reads a little and closes at
//     once often sends its RST before its acknowledgement.)
//   - The way of a window update: room that the reader makes is known to the
//     writer at once. There are no window probes.
//   - Bandwidth, segment sizes, congestion: a Write is one packet for as much
//     of it as the buffer has room for.
//   - A backlog: a listener's queue has no end.
//   - Time-outs of the kernel's own: keep-alive, FIN_WAIT2, TCP_USER_TIMEOUT.
//   - Name resolution. A name is an address like any other.
package memnet
