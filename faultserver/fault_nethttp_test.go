package faultserver_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// netHTTPCase is what net/http's client makes of a fault, with one POST of four
// bytes, and what the journal makes of it.
type netHTTPCase struct {
	fault    faultserver.Fault
	err      string // of Do, or of reading the body; "": none
	body     string // as far as it was read
	executed int
	answered bool
}

const (
	gaveUp       = "context deadline exceeded"
	broken       = "net/http: HTTP/1.x transport connection broken: "
	echoed       = "POST / 4\n"
	refusedCerts = "tls: failed to verify certificate: x509: certificate "
)

func TestNetHTTPReportsEachFault(t *testing.T) {
	type F = faultserver.Fault
	for _, test := range []netHTTPCase{
		{F{Kind: faultserver.StallRequestBody}, gaveUp, "", 0, false},
		{F{Kind: faultserver.StallRequestBody, Executed: true}, gaveUp, "", 1, false},
		{F{Kind: faultserver.StallRequestBody, After: time.Second}, "", echoed, 1, true},
		{F{Kind: faultserver.EarlyAnswer, Code: 413, After: time.Second}, "", "Request Entity Too Large\n", 0, true},
		{F{Kind: faultserver.ContinueLate, After: time.Minute}, "", echoed, 1, true},
		{F{Kind: faultserver.ContinueLate}, "", echoed, 1, true},
		{F{Kind: faultserver.InterimResponses, Code: 103, Count: 100}, "", echoed, 1, true},
		{F{Kind: faultserver.InterimResponses, Code: 103, Count: 10_000}, broken + "net/http: server response headers exceeded 65536 bytes", "", 0, false},

		{F{Kind: faultserver.ContentLengthTooLong}, gaveUp, echoed, 1, false},
		{F{Kind: faultserver.ContentLengthTooShort}, "", "POST / 4", 1, true},
		{F{Kind: faultserver.ContentLengthValue, Value: "junk"}, broken + `bad Content-Length "junk"`, "", 1, false},
		{F{Kind: faultserver.DoubleContentLength}, "", echoed, 1, true},
		{F{Kind: faultserver.DoubleContentLength, Value: "3"}, broken + "http: message cannot contain multiple Content-Length headers", "", 1, false},
		{F{Kind: faultserver.LengthAndChunked, Value: "3"}, "", echoed, 1, true},
		{F{Kind: faultserver.CloseDelimited}, "", echoed, 1, true},
		{F{Kind: faultserver.HTTP09Answer}, broken + "malformed HTTP", "", 1, false},
		{F{Kind: faultserver.BrokenChunk, Bytes: 3}, "invalid byte in chunk length", "POS", 1, false},
		{F{Kind: faultserver.RawAnswer, Value: "SSH-2.0-OpenSSH\r\n"}, broken + "malformed HTTP response", "", 0, false},
		{F{Kind: faultserver.RandomBytes, Executed: true}, broken, "", 1, false},
		{F{Kind: faultserver.StatusLine, Value: "HTTP/1.1 abc"}, broken + "malformed HTTP status code", "", 1, false},
		{F{Kind: faultserver.StatusLine, Value: "ICY 200 OK"}, broken + "malformed HTTP version", "", 1, false},

		{F{Kind: faultserver.HugeHeader, Bytes: 10_000}, "", echoed, 1, true},
		{F{Kind: faultserver.HugeHeader, Bytes: 1 << 20}, broken + "net/http: server response headers exceeded 65536 bytes", "", 1, false},
		{F{Kind: faultserver.ManyHeaders, Count: 1000}, "", echoed, 1, true},
		{F{Kind: faultserver.ManyHeaders, Count: 100_000}, broken + "net/http: server response headers exceeded 65536 bytes", "", 1, false},
		{F{Kind: faultserver.SlowHeaders, Rate: 10}, "", echoed, 1, true},
		{F{Kind: faultserver.SlowHeaders, Rate: 1, Bytes: 10_000}, "", echoed, 1, true},
		{F{Kind: faultserver.SlowBody, Rate: 1}, "", echoed, 1, true},
		{F{Kind: faultserver.StallInBody, Bytes: 3}, gaveUp, "POS", 1, false},
		{F{Kind: faultserver.StallInBody, Bytes: 3, After: time.Minute}, "", echoed, 1, true},
		{F{Kind: faultserver.HalfClose}, "", echoed, 1, true},
		{F{Kind: faultserver.Status, Code: 503, After: time.Minute}, "", "Service Unavailable\n", 0, true},

		{F{Kind: faultserver.NoCloseNotify}, "", echoed, 1, true},
		{F{Kind: faultserver.TLSRefused}, "remote error: tls: handshake failure", "", 0, false},
		{F{Kind: faultserver.TLSRefused, Code: 70}, "remote error: tls: protocol version not supported", "", 0, false},
		{F{Kind: faultserver.TLSStalled}, gaveUp, "", 0, false},
		{F{Kind: faultserver.TLSStalled, After: time.Minute}, "", echoed, 1, true},
		{F{Kind: faultserver.TLSCut}, "EOF", "", 0, false},
		{F{Kind: faultserver.TLSPlaintext}, "http: server gave HTTP response to HTTPS client", "", 0, false},
		{F{Kind: faultserver.CertificateWrongName}, refusedCerts + "is valid for wrong-name.invalid, not localhost", "", 0, false},
		{F{Kind: faultserver.CertificateExpired}, refusedCerts + "has expired", "", 0, false},
		{F{Kind: faultserver.CertificateUnknownAuthority}, refusedCerts + "signed by unknown authority", "", 0, false},
		{F{Kind: faultserver.ALPNRefused}, "remote error: tls: no application protocol", "", 0, false},
		{F{Kind: faultserver.ALPNMissing}, "", echoed, 1, true},
		{F{Kind: faultserver.ALPNMismatch}, "http2: ", "", 0, false},
		{F{Kind: faultserver.ResumptionRefused}, "remote error: tls: handshake failure", "", 0, false},
		{F{Kind: faultserver.ResumptionForgotten}, "", echoed, 1, true},
	} {
		t.Run(test.fault.Kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { netHTTPMeets(t, test) })
		})
	}
}

func netHTTPMeets(t *testing.T, test netHTTPCase) {
	network := memnet.New(memnet.Options{})
	ln, err := network.Listen("server:1")
	require.NoError(t, err)
	cfg := faultserver.Config{
		Listener: ln, DialContext: network.DialContext, TLS: test.fault.Kind >= faultserver.NoCloseNotify,
	}
	s := faultserver.Start(t, cfg)
	tr := s.Client().Transport.(*http.Transport)
	tr.ExpectContinueTimeout, tr.TLSHandshakeTimeout, tr.MaxResponseHeaderBytes = 10*time.Second, 0, 65536
	if cfg.TLS { // the first connection gets a ticket for the second
		tr.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		_, body := do(t, s, "GET", "/first", nil)
		require.Equal(t, "GET /first 0\n", body)
		tr.CloseIdleConnections()
		synctest.Wait()
		s.Journal().Reset()
	}
	s.Inject(test.fault)

	client := &http.Client{Transport: tr, Timeout: time.Hour}
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL, strings.NewReader("body"))
	require.NoError(t, err)
	if test.fault.Kind == faultserver.ContinueLate {
		req.Header.Set("Expect", "100-continue")
	}
	var body []byte
	resp, err := client.Do(req)
	if err == nil {
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if test.err == "" {
		require.NoError(t, err)
	} else {
		require.ErrorContains(t, err, test.err)
	}
	require.Equal(t, test.body, string(body))

	tr.CloseIdleConnections()
	synctest.Wait()
	row := onlyConn(t, s)
	if !cfg.TLS || test.executed > 0 {
		request := onlyRequest(t, s)
		require.Equal(t, test.executed, request.Executed)
		require.Equal(t, test.answered, request.Answered)
		return
	}
	require.Empty(t, s.Journal().Requests())
	require.Equal(t, []faultserver.Kind{test.fault.Kind}, row.Faults)
	if test.fault.Kind != faultserver.ALPNMismatch { // there the handshake succeeds
		require.Equal(t, test.fault.Kind, row.Fault)
	}
}
