package faultserver_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// wiretap keeps every byte that came from the server.
type wiretap struct {
	net.Conn
	mu    sync.Mutex
	heard []byte
}

func (w *wiretap) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = append(w.heard, p[:n]...)
	return n, err
}

func (w *wiretap) bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.heard)
}

// TLS record types (RFC 8446 section 5.1).
const (
	alertRecord     = 21
	handshakeRecord = 22
)

// records are the types of the whole TLS records among the server's bytes, and
// what is left of one that was cut off.
func (w *wiretap) records() (types []byte, cut int) {
	b := w.bytes()
	for len(b) >= 5 {
		n := 5 + int(b[3])<<8 + int(b[4])
		if n > len(b) {
			break
		}
		types = append(types, b[0])
		b = b[n:]
	}
	return types, len(b)
}

// dialTap connects without a handshake.
func dialTap(t *testing.T, s *faultserver.Server) *wiretap {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	return &wiretap{Conn: nc}
}

// dialTLS is a raw client over TLS, with a view of the records; set changes its
// configuration.
func dialTLS(t *testing.T, s *faultserver.Server, set ...func(*tls.Config)) (*rawConn, *wiretap, error) {
	t.Helper()
	tap := dialTap(t, s)
	cfg := s.TLSClientConfig()
	for _, f := range set {
		f(cfg)
	}
	c := tls.Client(tap, cfg)
	err := c.Handshake()
	return &rawConn{Conn: c, t: t, br: bufio.NewReader(c)}, tap, err
}

// mustDialTLS is dialTLS for a handshake that succeeds.
func mustDialTLS(t *testing.T, s *faultserver.Server, set ...func(*tls.Config)) (*rawConn, *wiretap) {
	t.Helper()
	c, tap, err := dialTLS(t, s, set...)
	require.NoError(t, err)
	return c, tap
}

// version12 makes alerts recognizable on the wire: TLS 1.3 disguises them as
// application data.
func version12(cfg *tls.Config) { cfg.MaxVersion = tls.VersionTLS12 }

func offers(protocols ...string) func(*tls.Config) {
	return func(cfg *tls.Config) { cfg.NextProtos = protocols }
}

func resumes(cache tls.ClientSessionCache) func(*tls.Config) {
	return func(cfg *tls.Config) { cfg.ClientSessionCache = cache }
}
