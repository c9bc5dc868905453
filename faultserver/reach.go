package faultserver

import (
	"errors"
	"fmt"
	"slices"
)

// reach is how a server can be spoken to. A fault that strikes in no such way
// would be a test that proves nothing.
type reach struct {
	http1, http2, tls bool
	unoffered         bool // HTTP/2 is allowed, but not among the NextProtos
}

// reach follows from the configuration alone, before anything listens.
func (cfg *Config) reach() reach {
	r := reach{http1: true, http2: cfg.TLS, tls: cfg.TLS}
	if p := cfg.Protocols; p != nil {
		r.http1, r.http2 = p.HTTP1(), p.HTTP2() || p.UnencryptedHTTP2()
	}
	if t := cfg.TLSConfig; t != nil && r.tls {
		// ALPN decides, and the given list counts.
		if t.GetConfigForClient != nil {
			r.http2 = true // whatever it returns
		} else if len(t.NextProtos) > 0 {
			offered := slices.Contains(t.NextProtos, "h2")
			r.http2, r.unoffered = offered, r.http2 && !offered
		}
	}
	return r
}

// Where the setting is made, in each of the ways to start a server.
const (
	tlsSetting       = "(Config.TLS, server.tls, -tls)"
	protocolsSetting = "(Config.Protocols, server.protocols, -protocols)"
)

// lacks says why a kind can never strike, and what would let it.
func (r reach) lacks(k Kind) error {
	protos := k.spec().protos
	switch {
	case !r.http1 && !r.http2: // a mistake of its own
		return nil
	case k.onlyUnderTLS() && !r.tls:
		return errors.New("strikes only under TLS, which this server does not serve: start it with TLS " + tlsSetting)
	case protos == onHTTP1 && !r.http1:
		return errors.New("strikes only on HTTP/1, which this server does not serve: add http1 to its protocols " + protocolsSetting)
	case protos == onHTTP2 && r.unoffered:
		return errors.New("strikes only on HTTP/2, which this server does not serve: add h2 to Config.TLSConfig.NextProtos")
	case protos == onHTTP2 && !r.http2 && r.tls:
		return errors.New("strikes only on HTTP/2, which this server does not serve: add http2 to its protocols " + protocolsSetting)
	case protos == onHTTP2 && !r.http2:
		return errors.New("strikes only on HTTP/2, which this server does not serve: start it with TLS " + tlsSetting +
			" or add h2c to its protocols " + protocolsSetting)
	}
	return nil
}

// supports is lacks for a fault, as an error that names the kind.
func (r reach) supports(f Fault) error {
	if err := r.lacks(f.Kind); err != nil {
		return fmt.Errorf("fault %v: %w", f.Kind, err)
	}
	return nil
}
