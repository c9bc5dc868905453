package faultserver_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/idlewise/idlewise/faultserver"
)

// frameConn is a client that sees the frames.
type frameConn struct {
	net.Conn
	t     *testing.T
	fr    *h2.Framer
	enc   *hpack.Encoder
	block bytes.Buffer
	next  uint32
}

// dialFrames connects and exchanges settings.
func dialFrames(t *testing.T, s *faultserver.Server) *frameConn {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	if cfg := s.TLSClientConfig(); cfg != nil {
		cfg.NextProtos = []string{"h2"}
		nc = tls.Client(nc, cfg)
	}
	t.Cleanup(func() { nc.Close() })
	return framesOver(t, nc)
}

// framesOver exchanges settings over a connection.
func framesOver(t *testing.T, nc net.Conn) *frameConn {
	t.Helper()
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	c := &frameConn{Conn: nc, t: t, next: 1}
	c.enc = hpack.NewEncoder(&c.block)
	c.fr = h2.NewFramer(nc, nc)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err := io.WriteString(nc, h2.ClientPreface)
	require.NoError(t, err)
	require.NoError(t, c.fr.WriteSettings())
	frame[*h2.SettingsFrame](c)
	require.NoError(t, c.fr.WriteSettingsAck())
	return c
}

// open sends a request's head and returns its stream.
func (c *frameConn) open(method, path string, end bool) uint32 {
	c.t.Helper()
	id := c.next
	c.next += 2
	c.block.Reset()
	for _, f := range [][2]string{{":method", method}, {":scheme", "http"}, {":authority", "test"}, {":path", path}} {
		require.NoError(c.t, c.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	require.NoError(c.t, c.fr.WriteHeaders(h2.HeadersFrameParam{
		StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: end,
	}))
	return id
}

// frame reads on to the next frame of a type; settings acknowledgements, window
// updates and the like may stand before it, but never one of the frames that
// decide a stream's or the connection's fate.
func frame[F h2.Frame](c *frameConn) F {
	c.t.Helper()
	for {
		f, err := c.fr.ReadFrame()
		require.NoError(c.t, err)
		if want, ok := f.(F); ok {
			if s, isSettings := f.(*h2.SettingsFrame); isSettings && s.IsAck() {
				continue
			}
			return want
		}
		switch f := f.(type) {
		case *h2.RSTStreamFrame, *h2.GoAwayFrame, *h2.MetaHeadersFrame, *h2.DataFrame:
			var want F
			c.t.Fatalf("%v came, where %T was awaited", f, want)
		}
	}
}

// answer reads a complete response.
func (c *frameConn) answer(id uint32) (status int, body string) {
	c.t.Helper()
	head := frame[*h2.MetaHeadersFrame](c)
	require.Equal(c.t, id, head.StreamID)
	status, _ = strconv.Atoi(head.PseudoValue("status"))
	for ended := head.StreamEnded(); !ended; {
		d := frame[*h2.DataFrame](c)
		require.Equal(c.t, id, d.StreamID)
		body += string(d.Data())
		ended = d.StreamEnded()
	}
	return status, body
}

func (c *frameConn) get(path string) (int, string) {
	c.t.Helper()
	return c.answer(c.open("GET", path, true))
}

func (c *frameConn) wantReset(id uint32, code h2.ErrCode) {
	c.t.Helper()
	f := frame[*h2.RSTStreamFrame](c)
	require.Equal(c.t, id, f.StreamID)
	require.Equal(c.t, code, f.ErrCode)
}

func (c *frameConn) wantGoAway(last uint32, code h2.ErrCode) {
	c.t.Helper()
	f := frame[*h2.GoAwayFrame](c)
	require.Equal(c.t, last, f.LastStreamID)
	require.Equal(c.t, code, f.ErrCode)
}

// wantEnd reads to the end of the connection; no GOAWAY may come before it.
func (c *frameConn) wantEnd() {
	c.t.Helper()
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			require.True(c.t, errors.Is(err, io.EOF), "a FIN, not %v", err)
			return
		}
		require.NotEqual(c.t, h2.FrameGoAway, f.Header().Type)
		require.NotEqual(c.t, h2.FrameData, f.Header().Type)
	}
}
