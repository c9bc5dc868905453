package faultserver_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/idlewise/idlewise/faultserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; none needs more than a moment.
const patience = 10 * time.Second

// rawConn is a client that sees the bytes.
type rawConn struct {
	net.Conn
	t  *testing.T
	br *bufio.Reader
}

func dialRaw(t *testing.T, s *faultserver.Server) *rawConn {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	return &rawConn{Conn: nc, t: t, br: bufio.NewReader(nc)}
}

func (c *rawConn) send(s string) {
	c.t.Helper()
	_, err := io.WriteString(c, s)
	require.NoError(c.t, err)
}

// get sends a GET and reads its response.
func (c *rawConn) get(path string) (*http.Response, string) {
	c.t.Helper()
	c.send("GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n")
	return c.response("GET")
}

func (c *rawConn) response(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
	require.NoError(c.t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return resp, string(body)
}

// rest reads until the connection ends and says how: nil is a FIN.
func (c *rawConn) rest() (string, error) {
	b, err := io.ReadAll(c.br)
	return string(b), err
}

func (c *rawConn) wantFIN() {
	c.t.Helper()
	rest, err := c.rest()
	require.NoError(c.t, err, "a FIN, not an error")
	require.Empty(c.t, rest)
}

func (c *rawConn) wantRST() {
	c.t.Helper()
	_, err := c.rest()
	require.ErrorIs(c.t, err, syscall.ECONNRESET)
}

// wantAlive proves that the connection still serves.
func (c *rawConn) wantAlive() {
	c.t.Helper()
	resp, _ := c.get("/alive")
	require.Equal(c.t, 200, resp.StatusCode)
}

func post(path, body string, headers ...string) string {
	var h strings.Builder
	for _, line := range headers {
		h.WriteString(line + "\r\n")
	}
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n%s\r\n%s", path, len(body), h.String(), body)
}

func onlyConn(t *testing.T, s *faultserver.Server) faultserver.ConnRecord {
	t.Helper()
	conns := s.Journal().Conns()
	require.Len(t, conns, 1)
	return conns[0]
}

// closedConn is onlyConn once the server has closed it, which a client can
// notice a moment earlier.
func closedConn(t *testing.T, s *faultserver.Server) faultserver.ConnRecord {
	t.Helper()
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool { return onlyConn(t, s).ClosedBy != faultserver.StillOpen }))
	return onlyConn(t, s)
}

func onlyRequest(t *testing.T, s *faultserver.Server) faultserver.RequestRecord {
	t.Helper()
	requests := s.Journal().Requests()
	require.Len(t, requests, 1)
	return requests[0]
}

// fails is a TB that records its failure.
type fails struct{ messages []string }

func (f *fails) Helper()        {}
func (f *fails) Cleanup(func()) {}
func (f *fails) Errorf(format string, args ...any) {
	f.messages = append(f.messages, fmt.Sprintf(format, args...))
}
func (f *fails) Fatalf(format string, args ...any) { f.Errorf(format, args...) }
