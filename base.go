package idlewise

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// A base is the http.Transport that connections are made with.
type base struct {
	// original is the program's. Requests with other schemes, and with
	// Passthrough all requests, go to it.
	original http.RoundTripper

	// http is a clone of it, changed where NewClientConn asks for it. Its
	// own pool is never used. HTTP/2 connections are made with copies of it.
	http *http.Transport

	// http1 is like http without HTTP/2.
	http1 *http.Transport

	proxy func(*http.Request) (*url.URL, error) // the program's, or nil
	http2 bool                                  // HTTP/2 may be negotiated over TLS

	pingsMu sync.Mutex // for dials; held while one copy is made
	pings   map[pinging]*http.Transport
}

// newBase prepares a clone of t. The traps are those of http.ClientConn.
func newBase(t *http.Transport) *base {
	b := &base{original: t}
	b.http = b.clone(t)
	b.http1 = b.clone(t)
	withoutHTTP2(b.http1)
	return b
}

func (b *base) clone(t *http.Transport) *http.Transport {
	clone := t.Clone() // also settles what t does about HTTP/2
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
	trackDials(clone, t)

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
	return clone
}

// withoutHTTP2 makes a clone that was not used yet speak HTTP/1 only.
func withoutHTTP2(t *http.Transport) {
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	t.ForceAttemptHTTP2 = false
	if t.Protocols != nil {
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(false)
		t.Protocols.SetUnencryptedHTTP2(false)
	}
	t.TLSClientConfig.NextProtos = slices.DeleteFunc(slices.Clone(t.TLSClientConfig.NextProtos), func(p string) bool { return p == "h2" })
}

// needsHTTP1 reports whether HTTP/2 cannot carry req, as with a WebSocket's
// upgrade. http.Transport sends such requests over HTTP/1 whatever else it
// speaks with the server.
func needsHTTP1(req *http.Request) bool {
	if req.URL.Scheme != "https" || len(req.Header["Upgrade"]) == 0 || !strings.EqualFold(req.Header.Get("Upgrade"), "websocket") {
		return false
	}
	for _, v := range req.Header["Connection"] {
		for token := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return true
			}
		}
	}
	return false
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

// forUpstream returns the Transport that connections for k are made with.
func (b *base) forUpstream(k upstreamKey, p pinging) *http.Transport {
	switch {
	case k.onlyHTTP1:
		return b.http1
	case b.mayNegotiateHTTP2(k.scheme):
		return b.withPings(p)
	}
	return b.http
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
func trackDials(clone, t *http.Transport) {
	dial := plainDialer(t)
	dropLegacyDialers(clone)
	clone.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		rec, ok := ctx.Value(dialRecordKey{}).(*dialRecord)
		if err != nil || c == nil || !ok {
			return c, err
		}
		wrapped, tr := track(c)
		tr.onClose = rec.onClose
		rec.raw, rec.tcp = c, tr
		rec.keepAlive(c)
		if rec.direct && rec.plain {
			tr.setUp(true) // net/http reads as soon as it has the connection
		}
		return wrapped, nil
	}
	if dialTLS := tlsDialer(t); dialTLS != nil {
		clone.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
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
