package idlewise

import "fmt"

// A CloseReason says why a connection was closed, or left the pool.
type CloseReason uint8

// The close reasons.
const (
	reasonNone CloseReason = iota

	// ClosedIdleDeadline: it had been idle for as long as the server's
	// keep-alive, less the margin, or MaxIdleTime allow.
	ClosedIdleDeadline
	// ClosedMaxAge: it had reached MaxConnAge.
	ClosedMaxAge
	// ClosedMaxRequests: it had served MaxRequestsPerConn requests, or as
	// many as the server's Keep-Alive: max=N allowed.
	ClosedMaxRequests
	// ClosedConnectionClose: the request or the response said that the
	// connection ends with it, or the response was HTTP/1.0's.
	ClosedConnectionClose
	// ClosedGoAway: the server sent an HTTP/2 GOAWAY.
	ClosedGoAway
	// ClosedServerFIN: the server closed it while it was idle.
	ClosedServerFIN
	// ClosedServerRST: the server reset it while it was idle.
	ClosedServerRST
	// ClosedLiveness: a look at its socket, before a request was sent on it,
	// found that the server had closed it or sent something.
	ClosedLiveness
	// ClosedStaleOnUse: the server had closed it when a request was sent.
	ClosedStaleOnUse
	// ClosedSibling: a request met a connection that the server had closed,
	// and this one, to the same address, had to be expected to be closed too.
	ClosedSibling
	// ClosedVanished: its peer had acknowledged nothing for UnackedTimeout, or
	// the kernel had given it up (ETIMEDOUT).
	ClosedVanished
	// ClosedPingTimeout: the server did not answer an HTTP/2 PING.
	ClosedPingTimeout
	// ClosedUnexpectedData: bytes came that no request had asked for.
	ClosedUnexpectedData
	// ClosedBodyUnread: the program closed a response body before its end.
	ClosedBodyUnread
	// ClosedCanceled: the context of its request ended.
	ClosedCanceled
	// ClosedFailed: a request on it failed otherwise: a timeout, a
	// malformed response, a request body that could not be read, or a
	// connection that broke in mid-response.
	ClosedFailed
	// ClosedUpgraded: a 101 response handed it to the program.
	ClosedUpgraded
	// ClosedPoolFull: more connections were idle than MaxIdleConns allows, or this one
	// was in the way of one that a caller needed, or was not needed itself.
	ClosedPoolFull
	// ClosedShutdown: by Close, Shutdown or CloseIdleConnections.
	ClosedShutdown

	closeReasons
)

var closeReasonNames = [closeReasons]string{
	ClosedIdleDeadline:    "idle_deadline",
	ClosedMaxAge:          "max_age",
	ClosedMaxRequests:     "max_requests",
	ClosedConnectionClose: "connection_close",
	ClosedGoAway:          "goaway",
	ClosedServerFIN:       "server_fin",
	ClosedServerRST:       "server_rst",
	ClosedLiveness:        "liveness",
	ClosedStaleOnUse:      "stale_on_use",
	ClosedSibling:         "sibling",
	ClosedVanished:        "vanished",
	ClosedPingTimeout:     "ping_timeout",
	ClosedUnexpectedData:  "unexpected_data",
	ClosedBodyUnread:      "body_unread",
	ClosedCanceled:        "canceled",
	ClosedFailed:          "failed",
	ClosedUpgraded:        "upgraded",
	ClosedPoolFull:        "pool_full",
	ClosedShutdown:        "shutdown",
}

// String returns the reason as metrics name it, such as "idle_deadline".
func (r CloseReason) String() string {
	if r > reasonNone && r < closeReasons {
		return closeReasonNames[r]
	}
	return fmt.Sprintf("CloseReason(%d)", uint8(r))
}

// endsIdleness reports whether it was the server that ended an idle connection,
// at an age that can be learned from.
func (r CloseReason) endsIdleness() bool {
	switch r {
	case ClosedGoAway, ClosedServerFIN, ClosedServerRST, ClosedUnexpectedData:
		return true
	}
	return false
}

// byServerWhileIdle reports whether it was the server that ended an idle
// connection.
func (r CloseReason) byServerWhileIdle() bool {
	return r.endsIdleness() || r == ClosedLiveness
}

// foundIdle reports whether a connection that was taken, and closed for this
// reason, was found to be of no use before a request was sent on it.
func (r CloseReason) foundIdle() bool {
	switch r {
	case ClosedServerFIN, ClosedServerRST, ClosedLiveness, ClosedIdleDeadline:
		return true
	}
	return false
}

// byServer reports whether the server ended the connection, after it had been
// of use.
func (r CloseReason) byServer() bool {
	switch r {
	case ClosedConnectionClose, ClosedGoAway, ClosedServerFIN, ClosedServerRST, ClosedLiveness, ClosedStaleOnUse:
		return true
	}
	return false
}

// MarshalText makes the reason readable in JSON, also as a map's key.
func (r CloseReason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
