package faultserver_test

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/idlewise/idlewise/faultserver"
)

// seeing is a client that writes frames and sees whatever comes, legal or not.
type seeing struct {
	*frameConn
	dec *hpack.Decoder
}

// dialSeeing connects and sends the preface with the given settings.
func dialSeeing(t *testing.T, s *faultserver.Server, settings ...h2.Setting) *seeing {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	if cfg := s.TLSClientConfig(); cfg != nil {
		cfg.NextProtos = []string{"h2"}
		nc = tls.Client(nc, cfg)
	}
	t.Cleanup(func() { nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	return seeingOver(t, nc, settings...)
}

func seeingOver(t *testing.T, nc net.Conn, settings ...h2.Setting) *seeing {
	t.Helper()
	c := &seeing{&frameConn{Conn: nc, t: t, next: 1}, hpack.NewDecoder(4096, nil)}
	c.enc = hpack.NewEncoder(&c.block)
	c.fr = h2.NewFramer(nc, nc)
	_, err := io.WriteString(nc, h2.ClientPreface)
	require.NoError(t, err)
	require.NoError(t, c.fr.WriteSettings(settings...))
	return c
}

// begin sees the server's first frames and acknowledges its settings.
func (c *seeing) begin() *seeing {
	c.t.Helper()
	c.want("SETTINGS 0 [3=250 4=1048576]", "WINDOW_UPDATE 0 +4128769", "SETTINGS 0 ack")
	require.NoError(c.t, c.fr.WriteSettingsAck())
	return c
}

// see reads one frame and says what it is; "FIN" is the connection's end, also
// if it comes within a frame: then the bytes of the cut frame stand before it.
func (c *seeing) see() string {
	c.t.Helper()
	var head [9]byte
	n, err := io.ReadFull(c, head[:])
	if n > 0 && err != nil {
		return fmt.Sprintf("%d bytes FIN", n)
	}
	if err == io.EOF {
		return "FIN"
	}
	require.NoError(c.t, err)
	length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	id := binary.BigEndian.Uint32(head[5:])
	p := make([]byte, length)
	if n, err := io.ReadFull(c, p); err != nil {
		require.ErrorIs(c.t, err, map[bool]error{true: io.ErrUnexpectedEOF, false: io.EOF}[n > 0])
		return fmt.Sprintf("%v %d, %d of %d bytes FIN", h2.FrameType(head[3]), id, n, length)
	}
	kind, flags := h2.FrameType(head[3]), h2.Flags(head[4])
	return strings.TrimSpace(fmt.Sprintf("%v %d %s", kind, id, c.describe(kind, flags, p)))
}

func (c *seeing) describe(kind h2.FrameType, flags h2.Flags, p []byte) string {
	var s string
	switch kind {
	case h2.FrameData:
		s = fmt.Sprintf("%q", p)
		if len(p) > 32 {
			s = fmt.Sprintf("%d bytes", len(p))
		}
	case h2.FrameHeaders, h2.FrameContinuation:
		s = c.fields(p)
		if !flags.Has(h2.FlagHeadersEndHeaders) {
			s += " open"
		}
	case h2.FramePushPromise:
		s = fmt.Sprintf("%d %s", binary.BigEndian.Uint32(p), c.fields(p[4:]))
	case h2.FrameSettings:
		if flags.Has(h2.FlagSettingsAck) {
			return "ack"
		}
		var all []string
		for ; len(p) >= 6; p = p[6:] {
			all = append(all, fmt.Sprintf("%d=%d", binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])))
		}
		return fmt.Sprint(all)
	case h2.FrameWindowUpdate:
		return fmt.Sprintf("+%d", binary.BigEndian.Uint32(p))
	case h2.FrameRSTStream:
		return h2.ErrCode(binary.BigEndian.Uint32(p)).String()
	case h2.FrameGoAway:
		return strings.TrimSpace(fmt.Sprintf("%d %v %s", binary.BigEndian.Uint32(p), h2.ErrCode(binary.BigEndian.Uint32(p[4:])), p[8:]))
	case h2.FramePing:
		s = fmt.Sprintf("%x", p)
		if flags.Has(h2.FlagPingAck) {
			s += " ack"
		}
		return s
	default:
		return fmt.Sprintf("%d bytes", len(p))
	}
	if kind != h2.FrameContinuation && kind != h2.FramePushPromise && flags.Has(h2.FlagDataEndStream) {
		s += " end"
	}
	return strings.TrimSpace(s)
}

// fields decodes a fragment, without what every response carries.
func (c *seeing) fields(fragment []byte) string {
	if len(fragment) == 0 {
		return ""
	}
	var all []string
	regular := false
	c.dec.SetEmitFunc(func(f hpack.HeaderField) {
		switch strings.ToLower(f.Name) {
		case "date", "content-type", "content-length":
			regular = true
		default:
			if regular && f.IsPseudo() {
				f.Name = "late " + f.Name
			}
			if len(f.Value) > 16 {
				f.Value = fmt.Sprint(len(f.Value), " bytes")
			}
			all = append(all, f.Name+"="+f.Value)
		}
	})
	if _, err := c.dec.Write(fragment); err != nil {
		return "undecodable"
	}
	return strings.Join(all, " ")
}

// want sees exactly these frames next.
func (c *seeing) want(frames ...string) {
	c.t.Helper()
	for i, f := range frames {
		require.Equal(c.t, f, c.see(), "frame %d", i)
	}
}

// post sends a request that has its whole body, and returns its stream.
func (c *seeing) post(path, body string) uint32 {
	c.t.Helper()
	id := c.open("POST", path, body == "")
	if body != "" {
		require.NoError(c.t, c.fr.WriteData(id, true, []byte(body)))
	}
	return id
}
