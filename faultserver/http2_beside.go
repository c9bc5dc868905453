package faultserver

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// beside sends the frames that faults have in store for a request's head. It
// runs on the reading goroutine, in the order of injection.
func (h *http2Conn) beside(p plan, st *stream) {
	for _, f := range p {
		switch f.Kind {
		case GoAwayAhead:
			h.goAwayAhead(f)
		case GoAwayStay:
			h.goAwayAndStay(f)
		default:
			h.mu.Lock()
			h.besideLocked(f, st)
			h.mu.Unlock()
		}
	}
}

func (h *http2Conn) besideLocked(f Fault, st *stream) {
	id := st.id
	if f.choice() == "connection" {
		id = 0
	}
	switch f.Kind {
	case ChangeSettings:
		settings, _ := parseSettings(f.Value) // Validate has seen it
		h.announceLocked(settings...)
	case ChangeMaxStreams:
		h.announceLocked(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(f.Count)})
	case SettingsFlood:
		for range f.Count {
			h.announceLocked()
		}
	case PingFlood:
		n := uint64(0)
		h.repeatLocked(f.Count, func() {
			n++
			var data [8]byte
			binary.BigEndian.PutUint64(data[:], n)
			h.fr.WritePing(false, data)
		})
	case StreamWindowWithheld:
		st.withheld = true
		h.releaseLater(f.After, func() {
			st.withheld = false
			if h.streams[id] == st && !st.remoteEnd {
				h.grantStreamLocked(st)
			}
		})
	case ZeroWindowUpdate:
		h.writeLocked(func() { h.fr.WriteWindowUpdate(id, 0) })
	case WindowOverflow:
		h.writeLocked(func() { h.fr.WriteWindowUpdate(id, maxWindow) })
	case UnknownFrame:
		kind := http2.FrameType(f.Code)
		if kind == 0 {
			kind = 0x2a
		}
		payload := make([]byte, f.Bytes)
		h.repeatLocked(max(f.Count, 1), func() { h.fr.WriteRawFrame(kind, 0, id, payload) })
	case DataOnIdleStream:
		h.writeLocked(func() { h.fr.WriteData(maxStreamID, false, []byte("for nobody")) })
	case PushPromise:
		h.promiseLocked(id, st.request.Host)
	case WrongStream:
		h.writeLocked(func() { h.writeOnWrongStream(f.choice(), id) })
	}
}

// repeatLocked queues n times what write writes to the framer.
func (h *http2Conn) repeatLocked(n int, write func()) {
	h.writeLocked(func() {
		for range n {
			write()
		}
	})
}

// promiseLocked promises a push on a stream and takes it back.
func (h *http2Conn) promiseLocked(id uint32, host string) {
	h.pushed += 2
	promised := h.pushed
	h.writeLocked(func() {
		h.block.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", host}, {":path", "/pushed"}} {
			h.enc.WriteField(field(f[0], f[1]))
		}
		h.fr.WritePushPromise(http2.PushPromiseParam{
			StreamID: id, PromiseID: promised, BlockFragment: h.block.Bytes(), EndHeaders: true,
		})
		h.fr.WriteRSTStream(promised, http2.ErrCodeCancel)
	})
}

// writeOnWrongStream writes one frame where its type does not belong; id is a
// stream that is open.
func (h *http2Conn) writeOnWrongStream(frame string, id uint32) {
	switch frame {
	case "data":
		h.fr.WriteData(0, false, []byte("for nobody"))
	case "headers":
		h.block.Reset()
		h.enc.WriteField(field(":status", "200"))
		h.fr.WriteHeaders(http2.HeadersFrameParam{BlockFragment: h.block.Bytes(), EndHeaders: true})
	case "priority":
		h.fr.WritePriority(0, http2.PriorityParam{Weight: 1})
	case "rst-stream":
		h.fr.WriteRSTStream(0, http2.ErrCodeCancel)
	case "push-promise":
		h.fr.WritePushPromise(http2.PushPromiseParam{PromiseID: 2, EndHeaders: true})
	case "continuation":
		h.fr.WriteContinuation(0, true, nil)
	case "settings":
		h.fr.WriteRawFrame(http2.FrameSettings, 0, id, nil)
	case "ping":
		h.fr.WriteRawFrame(http2.FramePing, 0, id, make([]byte, 8))
	case "goaway":
		h.fr.WriteRawFrame(http2.FrameGoAway, 0, id, make([]byte, 8))
	}
}
