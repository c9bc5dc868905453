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
// # What it models
//
//   - Connections as Linux's, seen through package net: the same error values,
//     the same order of data, EOF and errors, half-closing in both directions,
//     RST in answer to what nobody can read any more. An error is told to
//     whoever asks first, be it Read, Write, [Conn.TakeError] or [Conn.Peek].
//   - The kernel's books: [Conn.Accounting] means what TCP_INFO, SIOCOUTQ and
//     SO_ERROR mean. A test compares them with real sockets, step by step,
//     over written scripts and ones drawn at random.
//   - Acknowledgements that come at once, or late ([Options.DelayedAck]), or
//     never ([Link.LoseAcks]); a RST's own, which does not count.
//   - Links, per direction and place ([Network.SetLink]): latency, jitter that
//     never reorders a stream, bandwidth, losses. What is lost is sent again
//     after the kernel's time-outs, holds up what is behind it, and in the end
//     is given up with ETIMEDOUT ([Options.GiveUpAfter]).
//   - Flow control: a reader that does not read closes the window; then probes
//     go out, and a peer that answers them is alive.
//   - Silence ([Network.Cut]), and a middlebox that forgot a connection
//     ([Network.Forget]).
//   - Names with several addresses, which change at run time, of which some
//     refuse or are silent, and lookups that fail or take long
//     ([Network.SetHost], [Network.SetLookup]); full backlogs
//     ([Options.Backlog]).
//
// # Time
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
// A kernel that waits for an acknowledgement or for a window has a timer
// running. So a Write that waits for ever for a reader that never comes does
// not end a bubble with a deadlock, as a Read does that waits for ever, but
// lets virtual time run on, probe by probe: give it a deadline.
//
// A clock that jumps is not the network's to offer: in a bubble times have no
// monotonic reading, and a program's clock is its own. What the network sees of
// a suspended client is silence, a [Network.Cut] of its address.
//
// # The same again
//
// Everything random follows [Options.Seed]: each direction of each connection
// draws from sequences of its own, numbered in the order of dialing. Packets
// due at one instant arrive in the order in which they were sent. What a seed
// does not fix is the order in which goroutines run that are ready at the same
// instant; callers that begin a little apart in time, or a single one, see the
// same run twice.
//
// # What it does not
//
//   - Congestion control, fast retransmission and selective acknowledgement: a
//     gap waits for a time-out, further gaps in front of it for a round trip
//     each.
//   - Corruption, duplication and reordering of packets. (A packet is
//     duplicated only by being sent again too early.)
//   - The quick acknowledgements at the beginning of a connection:
//     [Options.DelayedAck] holds from the first packet on.
//   - Keep-alive probes, TCP_USER_TIMEOUT, and the minute after which Linux
//     forgets a closed connection that waits for the other's FIN.
//   - ICMP: nobody is unreachable, only silent.
//   - Two families of addresses tried at once (RFC 8305), and search domains.
//   - Nagle's algorithm, as in package net, which switches it off: each Write
//     is a packet, if the window has room for it.
package memnet
