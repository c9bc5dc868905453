package faultserver_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/idlewise/idlewise/faultserver"
)

func TestAnEndOmitsTheCloseNotifyIfAFaultSaysSo(t *testing.T) {
	for _, end := range []faultserver.Fault{
		{Kind: faultserver.SilentClose},
		{Kind: faultserver.AnnounceClose},
		{Kind: faultserver.FinAfterRequest},
		{Kind: faultserver.CloseInStatusLine},
		{Kind: faultserver.CloseInBody, Bytes: 3},
		{Kind: faultserver.CloseDelimited},
		{Kind: faultserver.IdleClose, After: time.Millisecond},
		{Kind: faultserver.IdleHalfClose, After: time.Millisecond},
		{Kind: faultserver.HalfClose},
		{Kind: faultserver.CloseAfterRequests, Requests: 1},
	} {
		for _, omit := range []bool{false, true} {
			faults := []faultserver.Fault{end}
			if omit {
				faults = append(faults, faultserver.Fault{Kind: faultserver.NoCloseNotify})
			}
			s := withTLS(t, faults...)
			c, tap := mustDialTLS(t, s, version12)
			c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			_, err := c.rest()
			require.NoError(t, err)
			_, err = io.ReadAll(tap)
			require.NoError(t, err, "a FIN")
			types, cut := tap.records()
			require.Zero(t, cut)
			last := types[len(types)-1]
			require.Equal(t, !omit, last == alertRecord, "%v: %v", end.Kind, types)
			row := ended(t, s)
			require.Equal(t, faultserver.ServerFIN, row.ClosedBy)
			require.Equal(t, end.Kind, row.Fault)
		}
	}
}

func TestOtherEndsOmitTheCloseNotifyToo(t *testing.T) {
	for _, drains := range []bool{false, true} {
		for _, omit := range []bool{false, true} {
			cfg := faultserver.Config{TLS: true}
			if !drains {
				cfg.IdleTimeout = time.Millisecond
			}
			if omit {
				cfg.Faults = []faultserver.Fault{{Kind: faultserver.NoCloseNotify}}
			}
			s := faultserver.Start(t, cfg)
			c, tap := mustDialTLS(t, s, version12)
			c.wantAlive()
			if drains {
				s.Restart()
			}
			c.wantFIN()
			types, _ := tap.records()
			require.Equal(t, !omit, types[len(types)-1] == alertRecord, "drains: %v: %v", drains, types)
			require.Equal(t, omit, len(onlyRequest(t, s).Faults) == 1)
			require.Zero(t, onlyConn(t, s).Fault, "it ends nothing by itself")
		}
	}
}

func TestAnHTTP2ConnectionEndsWithoutCloseNotify(t *testing.T) {
	for _, omit := range []bool{false, true} {
		s := withTLS(t, faultserver.Fault{Kind: faultserver.SilentClose})
		if omit {
			s.Inject(faultserver.Fault{Kind: faultserver.NoCloseNotify})
		}
		c, tap := mustDialTLS(t, s, version12, offers("h2"))
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "test"}, {":path", "/"}} {
			require.NoError(t, enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
		}
		c.send(h2.ClientPreface)
		fr := h2.NewFramer(c, nil)
		require.NoError(t, fr.WriteSettings())
		require.NoError(t, fr.WriteHeaders(h2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
		_, err := c.rest()
		require.NoError(t, err)
		types, _ := tap.records()
		require.Equal(t, !omit, types[len(types)-1] == alertRecord, "%v", types)
		require.Equal(t, faultserver.SilentClose, ended(t, s).Fault)
		require.True(t, onlyRequest(t, s).Answered)
	}
}
