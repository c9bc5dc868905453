// Package faultserver is a real HTTP server that misbehaves on purpose, for
// integration tests of clients, proxies and retry policies.
//
// It speaks HTTP/1.1 close to the socket and HTTP/2 at frame level, with or
// without TLS, over any listener. Beneath the faults runs your own
// http.Handler. Above them a journal records every connection, every request,
// and how often the handler ran for each, so that "nothing was lost and nothing
// was done twice" is a question with an answer.
//
//	s := faultserver.Start(t, faultserver.Config{Handler: h})
//	s.Inject(faultserver.Fault{Kind: faultserver.FinAfterRequest, Executed: true, Times: 1})
//	resp, err := client.Post(s.URL+"/charge", …)
//	s.Journal().AssertNoneExecutedTwice(t, "POST")
//
// # Faults
//
// A [Fault] is plain data: what happens ([Kind]), when (the nth request, reused
// connections only, after an idle time, with a probability), for whom (method,
// path, header) and how often. Faults combine: all that fit a request strike
// it, except that of those which end it, in place of an answer, by an answer of
// their own or within the answer, the first injected wins. The others are as if
// the request had not been: they do not count it, for Nth or for Times. Only
// Status and EarlyAnswer go together with a fault that breaks their answer off.
//
// Faults take effect at once, also on connections that exist and on connections
// that are idle. There are six moments at which a fault is judged:
//
//   - when a connection is accepted (AcceptReset, those of the TLS handshake, and
//     what shapes it for as long as the fault is in force: Latency, Bandwidth,
//     SlowClose, Loss),
//   - when an HTTP/2 connection begins (SettingsLate, StartMaxStreams, …); they
//     choose no request, and reach only connections that are yet to come,
//   - when a connection has been idle for a time (IdleClose, Idle408, …),
//   - at the first byte of a request (CloseOnReuse),
//   - when a request's head has been read (all that concern one request),
//   - when an HTTP/2 PING arrives (PingLate, PingWrong, TooManyPings),
//   - when a name is looked up through Server.Resolver (LookupNXDomain, …).
//
// A few are in force from their injection on, for all who come: RefuseConnections,
// FullBacklog, SilentListener, PauseServer.
//
// What can never strike is refused at injection: kinds of TLS or of HTTP/2 on a
// server without, kinds of HTTP/1 on one that speaks only HTTP/2. So is what
// needs a kernel that can, a right, or a listener that can be made again. The
// error says what is missing.
//
// Faults that withhold an answer have a field Executed. Without it the request
// is lost on its way to the handler, with it the answer is lost on its way
// back; the client sees the same, and must not treat it the same.
//
// A client can be sent elsewhere without a kind of its own: Status with Code 421
// asks for another connection, ResetStream with Code 13 (HTTP_1_1_REQUIRED) for
// another protocol.
//
// # Ways to drive it
//
// All four say the same things in the same words, and a mistake in any is an
// error with its place before a fault can fail to strike:
//
//   - Go: Config.Faults, Server.Inject, Server.SetFaults,
//   - a [Scenario] in YAML: phases with the faults in force during each and what
//     is done to the server when it begins; Config.Scenario, Server.Play,
//   - the control endpoint, on a listener of its own: Config.Control,
//   - a request header, for its own request: Config.HeaderFaults, [FaultHeader].
//
// Command faultserver is the server as a program.
//
// # Personalities
//
// Config.Personality makes the server treat idle connections as a well-known
// one does: uvicorn closes after 5 s and says nothing, Node says 5 s and takes
// 6, Apache answers a hundred requests and lingers when it closes. Drain and
// Restart act as that server does when it stops: gunicorn announces nothing, Go
// hangs up on requests that come too late, Node goes on serving. TimeScale lets
// those times pass faster. DescribePersonality says what is imitated, and from
// which source it is known.
//
// # Ends
//
// A FIN sent by this server is a close(2), as servers do it: a request that
// crosses it is answered with a RST. HalfClose is the exception: behind its FIN
// the server executes what still comes. Under TLS a close_notify goes before
// the FIN, unless NoCloseNotify struck a request of the connection.
//
// The ways out: Drain and Restart are graceful (Connection: close, two-step
// GOAWAY) and keep the listener open, Stop is graceful and closes it; Kill drops
// every connection with a RST, Crash ends everything as the kernel does for a
// killed process, Vanish as a power failure does; Pause does nothing at all for
// a while. Resume brings the server back on the same port. Close ends it and
// leaves no goroutine behind.
//
// # Names and addresses
//
// Config.Addresses makes the server listen on several addresses, of which any
// can be refused or silent. Server.Resolver gives a *net.Resolver that is
// answered inside this process; Server.SetNames changes, while connections live,
// what names stand for.
//
// # Time
//
// The server works inside a testing/synctest bubble over a listener in memory,
// such as that of package memnet: timeouts are then exact and cost nothing. Set
// Config.Listen rather than Config.Listener, so that the server can close it and
// come back. Some interfaces are used where a connection has them: Abort() error
// for a RST (a *net.TCPConn has its own way), CloseWrite() error for a FIN behind
// which the server reads on, Vanish() error to fall silent and Forget() error to
// close without a packet; a listener of such connections says so by a method
// CanVanish() or CanForget().
//
// # Limits
//
// HTTP/1 handlers are not told that their client went away until they read or
// write. Requests that an HTTP/2 client sends after GOAWAY, above its last
// stream, leave no trace in the journal, as they leave none in a real server's.
//
// An HTTP/2 stream's window is 1 MiB and its connection's 4 MiB, granted again
// as handlers read: four large uploads that no handler reads hold up all other
// uploads of their connection, though nothing else.
package faultserver
