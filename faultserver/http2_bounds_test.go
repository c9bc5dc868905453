package faultserver_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/idlewise/idlewise/faultserver"
)

func TestAClientThatDrawsRepliesAndReadsNoneIsLeft(t *testing.T) {
	for name, draw := range map[string]func(*h2.Framer) error{
		"PING":     func(fr *h2.Framer) error { return fr.WritePing(false, [8]byte{1}) },
		"SETTINGS": func(fr *h2.Framer) error { return fr.WriteSettings() },
		"RST_STREAM": func(fr *h2.Framer) error {
			return fr.WriteRawFrame(h2.FrameWindowUpdate, 0, 1, []byte{0, 0, 0, 0}) // an increment of 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := inMemory(t, faultserver.Config{Protocols: protocols(h2c)})
				nc := dial()
				c := framesOver(t, nc)
				c.open("POST", "/", false)
				var thousand bytes.Buffer
				fr := h2.NewFramer(&thousand, nil)
				for range 1000 {
					require.NoError(t, draw(fr))
				}
				var err error
				for n := 0; n < 1000 && err == nil; n++ {
					_, err = nc.Write(thousand.Bytes())
				}
				require.Error(t, err)
				row := onlyConn(t, s)
				require.Equal(t, faultserver.ServerFIN, row.ClosedBy)
				require.Equal(t, faultserver.ProtocolError, row.Reason)
			})
		})
	}
}

func TestAClientThatReadsWhatItDrawsMayGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := inMemory(t, faultserver.Config{Protocols: protocols(h2c)})
		c := framesOver(t, dial())
		c.get("/")
		var thousand bytes.Buffer
		fr := h2.NewFramer(&thousand, nil)
		for range 1000 {
			require.NoError(t, fr.WritePing(false, [8]byte{1}))
		}
		for range 30 {
			_, err := c.Write(thousand.Bytes())
			require.NoError(t, err)
			_, err = io.CopyN(io.Discard, c, int64(thousand.Len()))
			require.NoError(t, err)
		}
		c.get("/")
	})
}

func TestABodyLongerThanAnnouncedIsRefusedAtItsFirstByteTooMuch(t *testing.T) {
	type body struct {
		read string
		err  error
	}
	got := make(chan body, 1)
	s := faultserver.Start(t, faultserver.Config{Protocols: protocols(h2c), Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			p := make([]byte, 3)
			n, err := io.ReadFull(r.Body, p)
			if err == nil {
				_, err = r.Body.Read(p)
			}
			got <- body{string(p[:n]), err}
		})})
	c := dialFrames(t, s)
	for _, f := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":authority", "test"}, {":path", "/"}, {"content-length", "3"},
	} {
		require.NoError(t, c.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	require.NoError(t, c.fr.WriteHeaders(h2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block.Bytes(), EndHeaders: true}))
	require.NoError(t, c.fr.WriteData(1, false, []byte("abcd")))
	c.wantReset(1, h2.ErrCodeProtocol)
	refused := <-got
	require.Error(t, refused.err)
	require.NotContains(t, refused.read, "d")
	c.next = 3
	c.open("GET", "/", true) // the connection is none the worse
	require.EqualValues(t, 3, frame[*h2.MetaHeadersFrame](c).StreamID)
}
