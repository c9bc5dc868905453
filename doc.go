// Package idlewise is an http.RoundTripper that does not send requests on
// connections that the server is about to close, and that recovers, without
// doing anything twice, when it happened all the same.
//
//	client := &http.Client{Transport: idlewise.DefaultTransport}
//
// # The problem
//
// A server closes a keep-alive connection that has been idle for some time,
// and now and then a client sends a request on it at that very moment. The
// client sees EOF or "connection reset by peer" and cannot tell whether the
// request was executed. net/http repeats GET, HEAD, OPTIONS and TRACE and
// gives the error of every other request to the caller.
//
// # Three lines of defence
//
// Do not be there. An idle connection is closed before the server does it. Its
// deadline is configured ([Policy.ServerKeepAlive]), announced by the server
// (Keep-Alive: timeout=N) or learned from what it does, less a margin that covers
// the round trip and what timers are late by; [Policy.MaxIdleTime] limits it in
// any case.
//
// Look before you write. A connection that is known to be closed, that was
// told to close (Connection: close, max=0, GOAWAY), or on which the server
// sent something unasked, is not used.
//
// Prove, then retry. When a request met a closed connection all the same, it
// is sent again on a fresh one if none of it was written ([Unsent]), if the
// server said that it did not process it ([Refused]), if the kernel shows that
// nothing of it had reached the server before that closed ([Undelivered]; on
// Linux, and unless [Policy.Evidence] is Off), or if it may be executed twice
// without harm: because of its method, because it carries an Idempotency-Key, or
// because the caller or the operator says so ([WithIdempotent], [Retry.NonIdempotent]).
// So a POST is sent again too, where one of the first three is proven. Otherwise
// the caller gets an [*Error] that says what is known and what to do.
//
// # Use
//
// A [Transport] takes the dialer, TLS, proxy and HTTP/2 settings of an
// *http.Transport and sends HTTP/1.1 and HTTP/2 through net/http itself.
// [New] makes one from a [Config]; [Wrap] and [WrapClient] take over what an
// existing transport carries; the zero value and [DefaultTransport] work as
// they are. [Policies] tune each upstream. [Transport.Explain] says how a URL
// is treated and why, [Transport.Stats] what happened, and [Config].OnEvent and
// Logger tell as it happens. [Observe] reports on a transport that is not
// idlewise's what would have been different.
//
// Everything is safe for concurrent use.
package idlewise
