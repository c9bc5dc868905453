package interop

import (
	"context"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/idlewise/idlewise/faultserver"
)

// anyHTTP2 is HTTP/2 with and without TLS.
var anyHTTP2 = []proto{http2, h2c}

// Error codes of RFC 9113 §7.
const (
	protocolError     = 1
	internalError     = 2
	refusedStream     = 7
	cancelStream      = 8
	enhanceYourCalm   = 11
	http11Required    = 13
	inadequateSecrecy = 12
)

func reset(code uint32) faultserver.Fault {
	return faultserver.Fault{Kind: faultserver.ResetStream, Code: code}
}

func goAway(code uint32) faultserver.Fault {
	return faultserver.Fault{Kind: faultserver.GoAwayError, Code: code}
}

var failuresOfHTTP2 = []failure{
	{name: "GOAWAY with INTERNAL_ERROR, new connection, POST", over: anyHTTP2, provoke: func(s *side) error { return s.ending(nil).fresh(goAway(internalError), "POST", "body", 1) }},
	{name: "GOAWAY with ENHANCE_YOUR_CALM, new connection, GET", over: anyHTTP2, provoke: func(s *side) error { return s.ending(nil).fresh(goAway(enhanceYourCalm), "GET", "", 1) }},
	{name: "GOAWAY with INTERNAL_ERROR, reused connection, POST", over: anyHTTP2, provoke: func(s *side) error { return s.ending(nil).met(goAway(internalError), "POST", "body", 1) }},
	{name: "GOAWAY below a stream whose body cannot be repeated", over: anyHTTP2, provoke: func(s *side) error {
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.GoAwayBelow, ReusedOnly: true}))
		s.warm(srv.URL)
		return s.fail(s.once("POST", srv.URL+"/", "body"))
	}},
	{name: "closed without GOAWAY, new connection, GET", over: anyHTTP2, provoke: func(s *side) error {
		return s.ending(nil).fresh(faultserver.Fault{Kind: faultserver.CloseWithoutGoAway}, "GET", "", 1)
	}},
	{name: "closed without GOAWAY, new connection, POST", over: anyHTTP2, provoke: func(s *side) error {
		return s.ending(nil).fresh(faultserver.Fault{Kind: faultserver.CloseWithoutGoAway}, "POST", "body", 1)
	}},
	{name: "closed without GOAWAY, reused connection, POST", over: anyHTTP2, provoke: func(s *side) error {
		return s.ending(nil).met(faultserver.Fault{Kind: faultserver.CloseWithoutGoAway}, "POST", "body", 1)
	}},
	{name: "closed without GOAWAY, reused connection, GET", over: anyHTTP2, remedied: "net/http repeats nothing whose HTTP/2 connection broke, not even a GET", provoke: func(s *side) error {
		srv := s.ending(nil).start(nil, only(faultserver.Fault{Kind: faultserver.CloseWithoutGoAway, ReusedOnly: true, Times: 1}))
		s.warm(srv.URL)
		err := s.fail(s.request("GET", srv.URL+"/", ""))
		s.sees(srv, s.onceOrTwice())
		return err
	}},
	{name: "closed without GOAWAY, reused connection and the next, GET", over: anyHTTP2, provoke: func(s *side) error {
		srv := s.ending(nil).start(nil, only(faultserver.Fault{Kind: faultserver.CloseWithoutGoAway}))
		s.warm(srv.URL)
		return s.fail(s.request("GET", srv.URL+"/", ""))
	}},
	{name: "reset on a reused HTTP/2 connection, POST", over: anyHTTP2, provoke: func(s *side) error { return s.ending(syscall.ECONNRESET).met(rstAfter, "POST", "body", 1) }},
	{name: "reset on a new HTTP/2 connection, POST", over: anyHTTP2, provoke: func(s *side) error { return s.ending(syscall.ECONNRESET).fresh(rstAfter, "POST", "body", 1) }},

	{name: "stream reset with INTERNAL_ERROR, GET", over: anyHTTP2, provoke: func(s *side) error { return s.fresh(reset(internalError), "GET", "", 1) }},
	{name: "stream reset with INTERNAL_ERROR, reused, POST", over: anyHTTP2, provoke: func(s *side) error { return s.met(reset(internalError), "POST", "body", 1) }},
	{name: "stream reset with CANCEL", over: anyHTTP2, provoke: func(s *side) error { return s.fresh(reset(cancelStream), "POST", "body", 1) }},
	{name: "stream reset with ENHANCE_YOUR_CALM", over: anyHTTP2, provoke: func(s *side) error { return s.fresh(reset(enhanceYourCalm), "GET", "", 1) }},
	{name: "stream reset with INADEQUATE_SECURITY", over: anyHTTP2, provoke: func(s *side) error { return s.fresh(reset(inadequateSecrecy), "GET", "", 1) }},
	{name: "stream reset with HTTP_1_1_REQUIRED", over: anyHTTP2, provoke: func(s *side) error { return s.fresh(reset(http11Required), "GET", "", 1) }},
	{name: "stream reset with PROTOCOL_ERROR, body that cannot be repeated", over: anyHTTP2, provoke: func(s *side) error {
		srv := s.start(nil, only(reset(protocolError)))
		err := s.fail(s.once("POST", srv.URL+"/", "body"))
		s.sees(srv, 1)
		return err
	}, varies: map[string]string{
		theText:        "Go 1.26 puts its own words around the cause, as with the other unrepeatable bodies; Go 1.27 gives the cause",
		"connect code": "connect-go goes by the text's beginning, \"stream error: \", which Go 1.27 leaves bare and idlewise does not",
	}},
	{name: "stream refused, body that cannot be repeated", over: anyHTTP2, provoke: func(s *side) error {
		srv := s.start(nil, only(reset(refusedStream)))
		err := s.fail(s.once("POST", srv.URL+"/", "body"))
		s.sees(srv, 1)
		return err
	}},
	{name: "stream refused for ever, POST", over: anyHTTP2, provoke: func(s *side) error {
		// Without an end of its own, net/http waits for half a minute between
		// its attempts.
		srv := s.start(nil, only(reset(refusedStream)))
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		return s.fail(s.request("POST", srv.URL+"/", "body").WithContext(ctx))
	}},
	{name: "stream reset in mid-body", over: anyHTTP2, provoke: func(s *side) error {
		return s.fresh(faultserver.Fault{Kind: faultserver.ResetStreamAfterHeaders, Code: internalError, Bytes: 3}, "GET", "", 1)
	}},
	{name: "stream canceled in mid-body, reused, POST", over: anyHTTP2, provoke: func(s *side) error {
		return s.met(faultserver.Fault{Kind: faultserver.ResetStreamAfterHeaders, Code: cancelStream}, "POST", "body", 1)
	}},
	{name: "the PING is not answered", over: anyHTTP2, provoke: func(s *side) error {
		s.base.HTTP2 = &http.HTTP2Config{SendPingTimeout: 50 * time.Millisecond, PingTimeout: 50 * time.Millisecond}
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.NeverAnswer}), faultserver.Fault{Kind: faultserver.PingLate})
		err := s.fail(s.request("POST", srv.URL+"/", "body"))
		s.sees(srv, 1)
		return err
	}},
	{name: "the PING is not answered, reused, POST", over: anyHTTP2, provoke: func(s *side) error {
		s.base.HTTP2 = &http.HTTP2Config{SendPingTimeout: 50 * time.Millisecond, PingTimeout: 50 * time.Millisecond}
		srv := s.start(nil, only(faultserver.Fault{Kind: faultserver.NeverAnswer}), faultserver.Fault{Kind: faultserver.PingLate})
		s.warm(srv.URL)
		err := s.fail(s.request("POST", srv.URL+"/", "body"))
		s.sees(srv, 1)
		return err
	}},
	{name: "h2c asked of an HTTP/1 server", over: []proto{h2c}, provoke: func(s *side) error {
		s.base.Protocols = new(http.Protocols)
		s.base.Protocols.SetUnencryptedHTTP2(true)
		addr := s.listen(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			swallow(c)
		})
		return s.fail(s.request("GET", "http://"+addr+"/", ""))
	}, varies: map[string]string{theText: "net/http says what the server sent, or that the connection could not be established, by chance"}},
}
