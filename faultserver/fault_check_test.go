package faultserver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestAFaultsParametersAreChecked(t *testing.T) {
	for _, test := range []struct {
		fault faultserver.Fault
		want  string
	}{
		{faultserver.Fault{Kind: faultserver.EarlyAnswer}, "Code: early-answer needs it"},
		{faultserver.Fault{Kind: faultserver.EarlyAnswer, Code: 100}, "Code: 100 is not a final HTTP status"},
		{faultserver.Fault{Kind: faultserver.EarlyAnswer, Code: 413, Value: "x"}, "Value: early-answer does not use it"},
		{faultserver.Fault{Kind: faultserver.InterimResponses, Code: 103}, "Count: interim-responses needs it"},
		{faultserver.Fault{Kind: faultserver.InterimResponses, Count: 1}, "Code: interim-responses needs it"},
		{faultserver.Fault{Kind: faultserver.InterimResponses, Count: 1, Code: 101}, "Code: 101 is not an interim HTTP status"},
		{faultserver.Fault{Kind: faultserver.InterimResponses, Count: 1, Code: 200}, "Code: 200 is not an interim HTTP status"},
		{faultserver.Fault{Kind: faultserver.InterimResponses, Count: 1 << 30, Code: 103}, "Count: 1073741824 is above"},
		{faultserver.Fault{Kind: faultserver.ManyHeaders, Count: -1}, "Count: -1 is negative"},
		{faultserver.Fault{Kind: faultserver.HugeHeader}, "Bytes: huge-header needs it"},
		{faultserver.Fault{Kind: faultserver.HugeHeader, Bytes: 1 << 40}, "Bytes: 1099511627776 is above"},
		{faultserver.Fault{Kind: faultserver.RandomBytes, Bytes: 1 << 40}, "Bytes: 1099511627776 is above"},
		{faultserver.Fault{Kind: faultserver.SlowBody}, "Rate: slow-body needs it"},
		{faultserver.Fault{Kind: faultserver.SlowHeaders, Rate: -1}, "Rate: -1 is negative"},
		{faultserver.Fault{Kind: faultserver.SilentClose, Rate: 1}, "Rate: silent-close does not use it"},
		{faultserver.Fault{Kind: faultserver.SilentClose, Count: 1}, "Count: silent-close does not use it"},
		{faultserver.Fault{Kind: faultserver.RawAnswer}, "Value: raw-answer needs it"},
		{faultserver.Fault{Kind: faultserver.StatusLine, Value: "a\r\nb"}, "Value: \"a\\r\\nb\": status-line has no line breaks"},
		{faultserver.Fault{Kind: faultserver.ContentLengthValue}, "Value: content-length-value needs it"},
		{faultserver.Fault{Kind: faultserver.DoubleContentLength, Value: "1\n2"}, "Value: \"1\\n2\": double-content-length has no line breaks"},
		{faultserver.Fault{Kind: faultserver.LengthAndChunked, Value: "1\n2"}, "Value: \"1\\n2\": length-and-chunked has no line breaks"},
		{faultserver.Fault{Kind: faultserver.Status, Code: 503, Value: "1", After: 1}, "After: Value gives the Retry-After already"},
		{faultserver.Fault{Kind: faultserver.Status, Code: 503, Value: "1\r\n"}, "Value: \"1\\r\\n\": a header's value"},
		{faultserver.Fault{Kind: faultserver.StallRequestBody, After: 1, Executed: true}, "Executed: with After the handler runs in any case"},
		{faultserver.Fault{Kind: faultserver.StallRequestBody, Jitter: 1}, "Jitter: without After"},
		{faultserver.Fault{Kind: faultserver.ContinueLate, Jitter: 1}, "Jitter: without After"},
		{faultserver.Fault{Kind: faultserver.StallInBody, Jitter: 1}, "Jitter: without After"},
		{faultserver.Fault{Kind: faultserver.IdleHalfClose}, "After: idle-half-close needs it"},
		{faultserver.Fault{Kind: faultserver.IdleHalfClose, After: 1, IdleAtLeast: 1}, "IdleAtLeast: idle-half-close takes"},
		{faultserver.Fault{Kind: faultserver.TLSStalled, Jitter: 1}, "Jitter: without After"},
		{faultserver.Fault{Kind: faultserver.TLSRefused, Code: 256}, "Code: 256 is not a TLS alert"},
		{faultserver.Fault{Kind: faultserver.TLSRefused, Path: "/"}, "Path: tls-refused is judged when a connection is accepted, before it has a request"},
		{faultserver.Fault{Kind: faultserver.TLSRefused, Method: "GET"}, "Method: tls-refused is judged when a connection is accepted"},
		{faultserver.Fault{Kind: faultserver.TLSCut, Header: "A"}, "Header: tls-cut is judged when a connection is accepted"},
		{faultserver.Fault{Kind: faultserver.TLSCut, NthOnConn: 1}, "NthOnConn: tls-cut is judged when a connection is accepted"},
		{faultserver.Fault{Kind: faultserver.CertificateExpired, ReusedOnly: true}, "ReusedOnly: certificate-expired is judged when"},
		{faultserver.Fault{Kind: faultserver.ALPNMissing, IdleAtLeast: time.Second}, "IdleAtLeast: alpn-missing is judged when"},
		{
			faultserver.Fault{Kind: faultserver.SilentClose, Header: "trailer: X-A"},
			"Header: Trailer never fits, for net/http takes it out of a request: choose by another header, by Method or by Path",
		},
	} {
		require.ErrorContains(t, test.fault.Validate(), test.want)
	}
}
