package faultserver_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/idlewise/idlewise/faultserver"
)

// oneConn is a listener with a single connection.
type oneConn struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func listenOnce(nc net.Conn) *oneConn {
	l := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- nc
	return l
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conn:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// underFuzz are the faults that the fuzzer may set beside its frames.
func underFuzz() []faultserver.Fault {
	all := []faultserver.Fault{
		{}, {Kind: faultserver.SettingsLate}, {Kind: faultserver.SettingsMissing}, {Kind: faultserver.SettingsAckLate},
		{Kind: faultserver.StartSettings, Value: "initial-window-size=0, header-table-size=0"},
		{Kind: faultserver.StartMaxStreams, Count: 1}, {Kind: faultserver.ConnWindowWithheld},
		{Kind: faultserver.StreamWindowWithheld}, {Kind: faultserver.PingWrong}, {Kind: faultserver.TooManyPings},
		{Kind: faultserver.GoAwayTwice}, {Kind: faultserver.GoAwayTwice, After: time.Millisecond}, {Kind: faultserver.GoAway},
		{Kind: faultserver.NeverAnswer}, {Kind: faultserver.PingLate}, {Kind: faultserver.FinAfterRequest},
	}
	for _, test := range sent {
		all = append(all, test.fault)
	}
	return all
}

func FuzzFrames(f *testing.F) {
	for i, seed := range frameSeeds() {
		f.Add(seed, uint8(0))
		f.Add(seed, uint8(i))
	}
	faults := underFuzz()
	f.Fuzz(func(t *testing.T, frames []byte, fault uint8) {
		client, server := net.Pipe()
		cfg := faultserver.Config{Listener: listenOnce(server), Protocols: protocols(h2c), Handler: readAndAnswer}
		if n := int(fault) % len(faults); n > 0 {
			cfg.Faults = faults[n : n+1]
		}
		s, err := faultserver.New(cfg)
		require.NoError(t, err)

		drained := make(chan struct{})
		go func() {
			defer close(drained)
			io.Copy(io.Discard, client)
		}()
		io.WriteString(client, h2.ClientPreface)
		client.Write(frames) // fails if the server has had enough
		client.Close()
		<-drained

		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		require.NoError(t, s.Journal().Wait(ctx, func() bool { return onlyConn(t, s).ClosedBy != faultserver.StillOpen }))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Close()
		}()
		select {
		case <-ended:
		case <-ctx.Done():
			panic("the server does not end")
		}
		for _, row := range s.Journal().Requests() {
			require.LessOrEqual(t, row.Executed, 1)
			require.False(t, row.Answered && row.Status == 0)
		}
	})
}

// frameSeeds are conversations that reach every part of the reader.
func frameSeeds() [][]byte {
	var seeds [][]byte
	add := func(write func(fr *h2.Framer, block func(fields ...string) []byte)) {
		var out, blocks bytes.Buffer
		fr := h2.NewFramer(&out, nil)
		fr.AllowIllegalWrites = true
		enc := hpack.NewEncoder(&blocks)
		fr.WriteSettings()
		write(fr, func(fields ...string) []byte {
			blocks.Reset()
			for i := 0; i < len(fields); i += 2 {
				enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
			}
			return bytes.Clone(blocks.Bytes())
		})
		seeds = append(seeds, out.Bytes())
	}
	request := []string{":method", "POST", ":scheme", "http", ":authority", "t", ":path", "/"}
	open := func(fr *h2.Framer, id uint32, end bool, block []byte) {
		fr.WriteHeaders(h2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: end, EndHeaders: true})
	}
	type blocks = func(...string) []byte
	add(func(fr *h2.Framer, block blocks) {
		open(fr, 1, true, block(request...))
		fr.WriteSettingsAck()
		open(fr, 3, false, block(append(request, "trailer", "x-t", "content-length", "3", "expect", "100-continue")...))
		fr.WriteDataPadded(3, false, []byte("abc"), make([]byte, 7))
		open(fr, 3, true, block("x-t", "v"))
		fr.WritePing(false, [8]byte{1})
		fr.WriteGoAway(3, h2.ErrCodeNo, []byte("bye"))
	})
	add(func(fr *h2.Framer, block blocks) {
		fr.WriteSettings(h2.Setting{ID: h2.SettingInitialWindowSize, Val: 1}, h2.Setting{ID: h2.SettingMaxFrameSize, Val: 1<<24 - 1},
			h2.Setting{ID: h2.SettingHeaderTableSize}, h2.Setting{ID: 0xff, Val: 1})
		open(fr, 1, true, block(request...))
		fr.WriteWindowUpdate(1, 1)
		fr.WriteSettings(h2.Setting{ID: h2.SettingInitialWindowSize, Val: 0})
		fr.WriteWindowUpdate(1, 1<<31-1)
		fr.WriteWindowUpdate(0, 1<<31-1)
	})
	add(func(fr *h2.Framer, block blocks) {
		b := block(append(request, "x", "y")...)
		fr.WriteHeaders(h2.HeadersFrameParam{StreamID: 5, BlockFragment: b[:3], Priority: h2.PriorityParam{StreamDep: 5, Weight: 9}})
		fr.WriteContinuation(5, true, b[3:])
		fr.WriteRSTStream(5, h2.ErrCodeCancel)
		fr.WriteData(5, true, []byte("late"))
		fr.WritePriority(7, h2.PriorityParam{StreamDep: 7})
		fr.WriteRawFrame(0x2a, 0xff, 9, []byte("?"))
		fr.WriteRSTStream(9, 0)
	})
	add(func(fr *h2.Framer, block blocks) {
		open(fr, 1, true, block(":method", "CONNECT", ":authority", "a:1"))
		open(fr, 3, true, block(":method", "GET", ":scheme", "http", ":path", "*", "connection", "close"))
		open(fr, 5, true, block(":path", "/", ":path", "//[::1", "X", "\n"))
		open(fr, 2, true, block(request...))
	})
	add(func(fr *h2.Framer, block blocks) { fr.WriteRawFrame(h2.FrameHeaders, 4, 1, []byte{0x80}) })
	add(func(fr *h2.Framer, block blocks) { fr.WriteData(0, true, nil) })
	add(func(fr *h2.Framer, block blocks) { fr.WriteWindowUpdate(0, 0) })
	add(func(fr *h2.Framer, block blocks) { fr.WriteRawFrame(h2.FrameSettings, 1, 0, []byte("123456")) })
	add(func(fr *h2.Framer, block blocks) { fr.WriteRawFrame(h2.FramePing, 0, 1, make([]byte, 20000)) })
	add(func(fr *h2.Framer, block blocks) {
		fr.WritePushPromise(h2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
	})
	return append(seeds, nil, []byte{0, 0, 1})
}

func FuzzSettingsValue(f *testing.F) {
	f.Add("initial-window-size=0, 0x8 = 1,max-frame-size=0xffffffff")
	f.Add("=,=0,")
	f.Fuzz(func(t *testing.T, value string) {
		fault := faultserver.Fault{Kind: faultserver.StartSettings, Value: value}
		if fault.Validate() != nil {
			return
		}
		client, server := net.Pipe()
		s, err := faultserver.New(faultserver.Config{
			Listener: listenOnce(server), Protocols: protocols(h2c), Faults: []faultserver.Fault{fault},
		})
		require.NoError(t, err)
		defer s.Close()
		defer client.Close()
		_, err = io.WriteString(client, h2.ClientPreface)
		require.NoError(t, err)
		frame, err := h2.NewFramer(nil, client).ReadFrame()
		require.NoError(t, err)
		require.Equal(t, h2.FrameSettings, frame.Header().Type)
		require.GreaterOrEqual(t, frame.Header().Length, uint32(6*2))
	})
}
