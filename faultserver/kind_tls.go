package faultserver

// The kinds that exist only under TLS, see [Kind]. Kind.onlyUnderTLS names the
// first and the last.
const (
	// NoCloseNotify makes whatever ends the connection after this request,
	// another fault, a timeout or a drain, omit TLS's close_notify, so that the
	// client cannot tell the end from a truncation. Only under TLS.
	NoCloseNotify Kind = iota + IdleHalfClose + 1

	// TLS: the handshake. These are judged when a connection is accepted, and
	// only under TLS. Nth counts connections. Where the handshake fails for
	// one, the journal names it as what ended the connection.

	// TLSRefused answers the ClientHello with the fatal alert Code (RFC 8446
	// section 6; 0: 40, handshake_failure) and closes.
	TLSRefused
	// TLSStalled lets the client wait for the ServerHello for After (plus up to
	// Jitter); 0: until it gives up.
	TLSStalled
	// TLSCut closes after Bytes bytes (0: half of the first flight) of what the
	// server has to say in the handshake.
	TLSCut
	// TLSPlaintext answers the ClientHello with Value in clear ("": a 400 in
	// HTTP/1) and closes, as a port without TLS does.
	TLSPlaintext
	// CertificateWrongName shows a certificate for Value ("":
	// wrong-name.invalid) in place of the server's. Like the other two it is
	// signed by the certificate the server makes for itself: under a TLSConfig
	// of your own the client finds an unknown authority too. And like them it
	// makes the handshake a full one, for in a resumed session no certificate
	// is shown.
	CertificateWrongName
	// CertificateExpired shows a certificate that has expired.
	CertificateExpired
	// CertificateUnknownAuthority shows a certificate that it signed itself.
	CertificateUnknownAuthority
	// ALPNRefused knows none of the protocols that the client offers, and says
	// so with the alert no_application_protocol. A client that offers none is
	// served.
	ALPNRefused
	// ALPNMissing does not answer the client's ALPN offer and speaks HTTP/1.1.
	ALPNMissing
	// ALPNMismatch agrees on HTTP/2 and speaks HTTP/1.1, or the other way
	// round.
	ALPNMismatch
	// ResumptionRefused ends the handshake with the alert handshake_failure if
	// the client offers to resume a session. Others are served.
	ResumptionRefused
	// ResumptionForgotten knows no session: every handshake is a full one.
	ResumptionForgotten
)
