package idlewise

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// A base is the http.Transport that connections are made with.
type base struct {
	// original is the program's. Requests with other schemes, and with
	// Passthrough all requests, go to it.
	original http.RoundTripper

	// http is a clone of it, changed where NewClientConn asks for it. Its
	// own pool is never used.
	http *http.Transport

	proxy func(*http.Request) (*url.URL, error) // the program's, or nil
	http2 bool                                  // HTTP/2 may be negotiated over TLS
}

// newBase prepares a clone of t. The traps are those of http.ClientConn.
func newBase(t *http.Transport) *base {
	b := &base{original: t}
	clone := t.Clone() // also settles what t does about HTTP/2
	b.http = clone
	b.http2 = speaksHTTP2(t)

	// Trap: with a limit here, closing a ClientConn panics in net/http. The
	// limit is the pool's.
	clone.MaxConnsPerHost = 0
	// Trap: enforced on HTTP/2 ClientConns only. Deadlines are the pool's.
	clone.IdleConnTimeout = 0

	// Trap: a Base that x/net/http2 was configured into cannot make HTTP/2
	// ClientConns once cloned. The bundled implementation can. (An empty
	// map means that the program wants no HTTP/2; it stays.)
	if clone.TLSNextProto["h2"] != nil {
		clone.TLSNextProto = nil
	}
	// A DialContext, which is installed below, would switch HTTP/2 off.
	if b.http2 && clone.Protocols == nil {
		clone.ForceAttemptHTTP2 = true
	}

	clone.TLSClientConfig = withResumption(clone.TLSClientConfig)
	b.trackDials(t)

	// Trap: NewClientConn asks Proxy about an invented request that lacks
	// the port. The program's function is asked about the real one, once per
	// request, and the answer comes back through the dial's context.
	b.proxy = t.Proxy
	clone.Proxy = func(req *http.Request) (*url.URL, error) {
		if rec, ok := req.Context().Value(dialRecordKey{}).(*dialRecord); ok {
			return rec.proxy, nil
		}
		return nil, nil
	}
	return b
}

// speaksHTTP2 reports whether t, which was cloned before, negotiates HTTP/2.
func speaksHTTP2(t *http.Transport) bool {
	if t.Protocols != nil {
		return t.Protocols.HTTP2()
	}
	// Cloning made t decide: it then has an entry here, its own or x/net's.
	return t.TLSNextProto["h2"] != nil
}

func (b *base) unencryptedHTTP2() bool {
	p := b.http.Protocols
	return p != nil && p.UnencryptedHTTP2() && !p.HTTP1()
}

// mayNegotiateHTTP2 reports whether a connection for scheme can turn out to
// be HTTP/2.
func (b *base) mayNegotiateHTTP2(scheme string) bool {
	if scheme == "http" {
		return b.unencryptedHTTP2()
	}
	return b.http2
}

// withResumption lets TLS sessions be resumed, which saves a redial a round
// trip and the handshake's signatures.
//
// Not where the program authenticates by client certificate or verifies the
// server's in a callback of its own: a resumed session skips
// VerifyPeerCertificate and keeps the identity it began with.
func withResumption(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		cfg = &tls.Config{}
	}
	if cfg.ClientSessionCache == nil && len(cfg.Certificates) == 0 &&
		cfg.GetClientCertificate == nil && cfg.VerifyPeerCertificate == nil {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	return cfg
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// trackDials puts a tracked connection under everything that t dials.
//
// Trap: on Go 1.26 a DialTLSContext must return a *tls.Conn or HTTP/2 is
// lost, so what it returns is only remembered, not wrapped.
func (b *base) trackDials(t *http.Transport) {
	dial := plainDialer(t)
	dropLegacyDialers(b.http)
	b.http.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		rec, ok := ctx.Value(dialRecordKey{}).(*dialRecord)
		if err != nil || c == nil || !ok {
			return c, err
		}
		wrapped, tr := track(c)
		tr.onClose = rec.onClose
		rec.raw, rec.tcp = c, tr
		return wrapped, nil
	}
	if dialTLS := tlsDialer(t); dialTLS != nil {
		b.http.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialTLS(ctx, network, addr)
			if rec, ok := ctx.Value(dialRecordKey{}).(*dialRecord); ok && err == nil {
				rec.raw = c
			}
			return c, err
		}
	}
}

// firstDefaultTransport is what http.DefaultTransport was when the program
// started. It is a reference, not a copy: settings made before the first use
// count.
var firstDefaultTransport = http.DefaultTransport

// defaultBase finds the http.Transport to copy where the program named none.
func defaultBase() (*http.Transport, error) {
	if t, err := underlying(http.DefaultTransport); err == nil {
		return t, nil
	}
	// The program has replaced it, perhaps by idlewise itself.
	t, err := underlying(firstDefaultTransport)
	if err != nil {
		return nil, fmt.Errorf("Config.Base is nil and http.DefaultTransport cannot be copied: %w", err)
	}
	return t, nil
}
