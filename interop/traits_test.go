package interop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"syscall"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

// Traits are all by which a program may tell an error apart, and what the
// public classifiers make of it.
type traits map[string]string

var sentinels = map[string]error{
	"io.EOF": io.EOF, "io.ErrUnexpectedEOF": io.ErrUnexpectedEOF, "io.ErrClosedPipe": io.ErrClosedPipe,
	"context.Canceled": context.Canceled, "context.DeadlineExceeded": context.DeadlineExceeded,
	"os.ErrDeadlineExceeded": os.ErrDeadlineExceeded, "net.ErrClosed": net.ErrClosed,
	"ECONNRESET": syscall.ECONNRESET, "ECONNREFUSED": syscall.ECONNREFUSED, "ECONNABORTED": syscall.ECONNABORTED,
	"EPIPE": syscall.EPIPE, "ETIMEDOUT": syscall.ETIMEDOUT, "EHOSTUNREACH": syscall.EHOSTUNREACH,
	"http.ErrServerClosed": http.ErrServerClosed, "http.ErrSchemeMismatch": http.ErrSchemeMismatch,
	"http.ErrBodyReadAfterClose": http.ErrBodyReadAfterClose, "http.ErrLineTooLong": http.ErrLineTooLong,
	"http.ErrUseLastResponse": http.ErrUseLastResponse, "http.ErrSkipAltProtocol": http.ErrSkipAltProtocol,
	"http.ErrNoLocation": http.ErrNoLocation, "http.ErrHandlerTimeout": http.ErrHandlerTimeout,
	"the program's own": errOwn,
}

// errOwn is an error that the program itself brings in: as a context's cause,
// from a request's body, from its dialer.
var errOwn = errors.New("the program's own error")

func traitsOf(err error) traits {
	t := make(traits)
	for name, target := range sentinels {
		t["is "+name] = fmt.Sprint(errors.Is(err, target))
	}
	asTraits(t, err)
	t["is itself io.EOF, without *url.Error"] = fmt.Sprint(cause(err) == io.EOF)
	t["is itself io.ErrUnexpectedEOF, without *url.Error"] = fmt.Sprint(cause(err) == io.ErrUnexpectedEOF)
	t["is itself context.Canceled, without *url.Error"] = fmt.Sprint(cause(err) == context.Canceled)
	t["is itself context.DeadlineExceeded, without *url.Error"] = fmt.Sprint(cause(err) == context.DeadlineExceeded)
	for _, c := range classifiers {
		t[c.name] = c.says(err)
	}
	return t
}

// asTraits notes what errors.As finds, and of what it finds the fields that
// programs read.
func asTraits(t traits, err error) {
	var op *net.OpError
	if t["as *net.OpError"] = "-"; errors.As(err, &op) {
		t["as *net.OpError"] = op.Op
	}
	var dns *net.DNSError
	if t["as *net.DNSError"] = "-"; errors.As(err, &dns) {
		t["as *net.DNSError"] = fmt.Sprintf("not found %v, temporary %v, timeout %v", dns.IsNotFound, dns.IsTemporary, dns.IsTimeout)
	}
	var urlErr *url.Error
	if t["as *url.Error"] = "-"; errors.As(err, &urlErr) {
		t["as *url.Error"] = fmt.Sprintf("%s, timeout %v, temporary %v", urlErr.Op, urlErr.Timeout(), urlErr.Temporary())
	}
	var netErr net.Error
	if t["as net.Error"] = "-"; errors.As(err, &netErr) {
		//lint:ignore SA1019 programs ask it
		t["as net.Error"] = fmt.Sprintf("timeout %v, temporary %v", netErr.Timeout(), netErr.Temporary())
	}
	itself := "-"
	if e, ok := err.(interface{ Timeout() bool }); ok {
		itself = fmt.Sprint(e.Timeout())
	}
	t["its own Timeout()"] = itself
	var errno syscall.Errno
	if t["as syscall.Errno"] = "-"; errors.As(err, &errno) {
		t["as syscall.Errno"] = errno.Error()
	}
	var alert tls.AlertError
	if t["as tls.AlertError"] = "-"; errors.As(err, &alert) {
		t["as tls.AlertError"] = alert.Error()
	}
	has := func(name string, target any) { t["as "+name] = fmt.Sprint(errors.As(err, target)) }
	has("x509.UnknownAuthorityError", new(x509.UnknownAuthorityError))
	has("x509.HostnameError", new(x509.HostnameError))
	has("x509.CertificateInvalidError", new(x509.CertificateInvalidError))
	has("tls.RecordHeaderError", new(tls.RecordHeaderError))
	has("*tls.CertificateVerificationError", new(*tls.CertificateVerificationError))
	//lint:ignore SA1019 programs ask for it
	has("*http.ProtocolError", new(*http.ProtocolError))
	has("*http.MaxBytesError", new(*http.MaxBytesError))
	has("*azcore.ResponseError", new(*azcore.ResponseError))
}

// cause takes off what http.Client puts around an error.
func cause(err error) error {
	if e, ok := err.(*url.Error); ok {
		return e.Err
	}
	return err
}

var (
	address = regexp.MustCompile(`(127\.0\.0\.1|\[::1\])(:\d+)?`)
	// The first request of a connection is stream 1 on the one side and, on
	// the connection of a resend, on the other.
	stream = regexp.MustCompile(`stream ID \d+`)
)

// words returns an error's text without what differs from run to run.
func words(err error) string {
	return stream.ReplaceAllString(address.ReplaceAllString(err.Error(), "HOST"), "stream ID N")
}
