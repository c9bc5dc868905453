package faultserver_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestAFaultChoosesByHeadersThatNetHTTPMovesElsewhere(t *testing.T) {
	for header, fits := range map[string]bool{
		"Host": true, "host: test:80": true, "Host: TEST:80": true, "Host: test": false, "Host:": false,
		"Transfer-Encoding": true, "transfer-encoding: Chunked": true, "Transfer-Encoding: gzip": false,
		"Content-Length": false, "X-A": true, "X-A: one": true, "X-A: ONE": false,
	} {
		teapot := faultserver.Fault{Kind: faultserver.Status, Code: 418, Header: header}
		inVirtualTime(t, faultserver.Config{Faults: []faultserver.Fault{teapot}}, func(t *testing.T, s *faultserver.Server, c *rawConn) {
			c.send("POST / HTTP/1.1\r\nHost: test:80\r\nX-A: one\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
			resp, _ := c.response("POST")
			require.Equal(t, fits, resp.StatusCode == 418, header)
		})
	}
}

func TestOnHTTP2TheAuthorityIsTheHost(t *testing.T) {
	for header, fits := range map[string]bool{"Host": true, "Host: test": true, "Host: other": false} {
		s := with2(t, faultserver.Fault{Kind: faultserver.Status, Code: 418, Header: header})
		status, _ := dialFrames(t, s).get("/")
		require.Equal(t, fits, status == 418, header)
	}
}
