package faultserver

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Conn serves one HTTP/2 connection. The connection's goroutine reads
// frames; one goroutine writes what has been queued, so that reading never
// waits for the client to read; every stream has a goroutine for its handler.
type http2Conn struct {
	c     *conn
	tls   *tls.ConnectionState
	br    *bufio.Reader
	fr    *http2.Framer // reads br, writes out
	enc   *hpack.Encoder
	block bytes.Buffer // enc's output

	// mu guards what follows and the writing side of fr, enc and block. It is
	// held for work in memory only, never during I/O.
	mu       sync.Mutex
	changed  *sync.Cond // windows, progress of writing, death
	queued   *sync.Cond // something for the writer
	out      bytes.Buffer
	outEnd   int64 // bytes ever queued
	replies  int   // frames in out that the client can draw at will
	written  int64 // of these, handed to the connection
	writing  bool  // more is being handed to it
	dead     bool
	streams  map[uint32]*stream // open for the protocol
	running  int                // exchanges not yet over: an open stream's, and a closed one's until its handler is done
	maxID    uint32             // the highest stream id seen
	skipped  skippedIDs         // below it
	refuseAt uint32             // streams from here on are ignored; 0: none
	goneAway bool               // a GOAWAY with the true last id was sent
	leaving  bool               // a graceful GOAWAY is under way
	onEmpty  *ending            // when running falls to 0
	pingSeen chan struct{}      // closed by the acknowledgement of goAwayPing

	sendWindow   int64 // of the connection, granted by the client
	recvWindow   int64 // of the connection, granted to the client
	recvUnacked  int64 // read by handlers and not yet granted again
	connWithheld bool  // nothing is granted for the connection

	acked     allowance // by the client
	announced []awaited // after it
	inForce   allowance // the most generous of these
	maxRead   uint32    // the greatest MAX_FRAME_SIZE announced

	held    bool // the writer waits
	staying bool // a GOAWAY was sent, but nothing ends the connection
	atStart plan // assigned before the first frame, never reassigned
	pings   int  // received; for the reading goroutine only
	pushed  uint32

	initialSend int64 // a new stream's
	maxFrame    int64 // the client's SETTINGS_MAX_FRAME_SIZE
}

// What the server grants: a stream's window and the connection's.
const (
	streamWindow = 1 << 20
	connWindow   = 4 << 20
)

const (
	maxWindow    = 1<<31 - 1
	defaultTable = 4096 // SETTINGS_HEADER_TABLE_SIZE
)

// outLimit is how much DATA may be queued before handlers wait for the writer.
const outLimit = 256 << 10

func serveHTTP2(c *conn, br *bufio.Reader, state *tls.ConnectionState) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(br, preface); err != nil {
		c.shut(endOfRead(err))
		return
	}
	if string(preface) != http2.ClientPreface {
		if c.struck.has(ALPNMismatch) {
			c.refuseInHTTP2()
			return
		}
		c.shut(finBecause(ProtocolError))
		return
	}
	h := &http2Conn{
		c: c, tls: state, br: br, streams: make(map[uint32]*stream),
		sendWindow: 65535, initialSend: 65535, maxFrame: 16384,
		pingSeen: make(chan struct{}),
	}
	h.changed = sync.NewCond(&h.mu)
	h.queued = sync.NewCond(&h.mu)
	h.fr = http2.NewFramer(&h.out, br)
	h.fr.ReadMetaHeaders = hpack.NewDecoder(defaultTable, nil)
	h.fr.MaxHeaderListSize = maxHead
	h.maxRead = 16384
	h.fr.SetMaxReadFrameSize(h.maxRead)
	h.fr.AllowIllegalWrites = true
	h.enc = hpack.NewEncoder(&h.block)

	h.open()
	c.srv.wg.Go(h.writeLoop)

	c.mu.Lock()
	ended, draining := c.state == shut, c.draining
	c.http2 = h
	c.mu.Unlock()
	if ended {
		h.die()
		return
	}
	c.becomeIdle() // an HTTP/2 connection is idle from its first moment
	if draining {
		h.goAwayGracefully(lingerBecause(Draining), 0)
	}
	h.readLoop()
}

// readLoop ends when the connection does.
func (h *http2Conn) readLoop() {
	first := true
	for {
		f, err := h.fr.ReadFrame()
		if first && err == nil {
			if _, ok := f.(*http2.SettingsFrame); !ok {
				err = http2.ConnectionError(http2.ErrCodeProtocol)
			}
			first = false
		}
		if err == nil {
			err = h.handle(f)
		}
		var ofStream http2.StreamError
		var ofConn http2.ConnectionError
		switch {
		case err == nil:
		case errors.As(err, &ofStream):
			h.resetStream(ofStream.StreamID, ofStream.Code)
		case errors.As(err, &ofConn):
			h.goAwayNow(uint32(ofConn), finBecause(ProtocolError))
			return
		case errors.Is(err, http2.ErrFrameTooLarge):
			h.goAwayNow(uint32(http2.ErrCodeFrameSize), finBecause(ProtocolError))
			return
		default:
			h.c.shut(endOfRead(err))
			return
		}
		if h.isFlooded() {
			h.c.shut(finBecause(ProtocolError))
			return
		}
	}
}

func (h *http2Conn) handle(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return h.headers(f)
	case *http2.DataFrame:
		return h.data(f)
	case *http2.WindowUpdateFrame:
		return h.windowUpdate(f)
	case *http2.SettingsFrame:
		return h.settings(f)
	case *http2.PingFrame:
		h.ping(f)
	case *http2.RSTStreamFrame:
		return h.clientReset(f)
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil // PRIORITY, GOAWAY and unknown frames change nothing here
}

func (h *http2Conn) ping(f *http2.PingFrame) {
	if f.IsAck() {
		if f.Data == goAwayPing {
			h.mu.Lock()
			select {
			case <-h.pingSeen:
			default:
				close(h.pingSeen)
			}
			h.mu.Unlock()
		}
		return
	}
	h.c.pinged()
	data := f.Data
	h.pings++
	p := h.c.srv.rules.judge(event{at: atPing, proto: onHTTP2, nthOnConn: h.requests(), pings: h.pings})
	h.c.struckBy(p)
	if p.has(TooManyPings) {
		h.goAwayWith(uint32(http2.ErrCodeEnhanceYourCalm), "too_many_pings", finByFault(TooManyPings))
		return
	}
	if p.has(PingWrong) {
		data[0] ^= 0xff
	}
	late, ok := p.get(PingLate)
	switch {
	case !ok:
		h.reply(func() { h.fr.WritePing(true, data) })
	case late.After > 0:
		h.later(late.After, func() { h.reply(func() { h.fr.WritePing(true, data) }) })
	}
}

func (h *http2Conn) requests() int {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	return h.c.requests
}

// later runs f after a time unless the connection ends before.
func (h *http2Conn) later(d time.Duration, f func()) {
	h.c.srv.wg.Go(func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			f()
		case <-h.c.ctx.Done():
		}
	})
}

func (h *http2Conn) settings(f *http2.SettingsFrame) error {
	h.mu.Lock()
	if f.IsAck() {
		h.acknowledgedLocked()
		h.mu.Unlock()
		return nil
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingInitialWindowSize:
			grown := int64(s.Val) - h.initialSend
			h.initialSend = int64(s.Val)
			for _, st := range h.streams {
				st.sendWindow += grown
			}
		case http2.SettingMaxFrameSize:
			h.maxFrame = int64(s.Val)
		case http2.SettingHeaderTableSize:
			h.enc.SetMaxDynamicTableSize(min(s.Val, defaultTable))
		}
		return nil
	})
	h.changed.Broadcast()
	h.mu.Unlock()
	if err == nil {
		h.acknowledge()
	}
	return err
}

func (h *http2Conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	window := &h.sendWindow
	if f.StreamID != 0 {
		st := h.streams[f.StreamID]
		if st == nil {
			if f.StreamID > h.maxID {
				return http2.ConnectionError(http2.ErrCodeProtocol)
			}
			return nil // it may have crossed the stream's end
		}
		window = &st.sendWindow
	}
	*window += int64(f.Increment)
	if *window > maxWindow {
		if f.StreamID == 0 {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	h.changed.Broadcast()
	return nil
}

// die wakes everything that waits on the connection. The connection has been
// shut by then.
func (h *http2Conn) die() {
	h.mu.Lock()
	h.dead = true
	for _, st := range h.streams {
		st.abortLocked(errConnEnded)
	}
	h.changed.Broadcast()
	h.queued.Broadcast()
	h.mu.Unlock()
}
