//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framed is an HTTP/2 connection in cleartext, by prior knowledge. Its reader
// reports what decides the connection's fate.
type framed struct {
	*client
	fr      *http2.Framer
	events  []string
	pongs   int
	answers chan struct{}
	closed  chan struct{} // events may be read after
	since   time.Time
}

func dialFrames(addr string) (*framed, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	f := &framed{client: c, fr: http2.NewFramer(c, c.br), answers: make(chan struct{}, 10), closed: make(chan struct{}), since: time.Now()}
	io.WriteString(c, http2.ClientPreface)
	f.fr.WriteSettings()
	go f.read()
	return f, nil
}

func (f *framed) read() {
	defer close(f.closed)
	for {
		fr, err := f.fr.ReadFrame()
		at := time.Since(f.since)
		if err != nil {
			how := "FIN"
			if err != io.EOF {
				how = "RST"
			}
			f.events = append(f.events, fmt.Sprintf("%s at %s", how, ms(at)))
			return
		}
		switch fr := fr.(type) {
		case *http2.SettingsFrame:
			if !fr.IsAck() {
				f.fr.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if fr.IsAck() {
				f.pongs++
			} else {
				f.fr.WritePing(true, fr.Data)
			}
		case *http2.GoAwayFrame:
			last := fmt.Sprint(fr.LastStreamID)
			if fr.LastStreamID == 1<<31-1 {
				last = "2^31-1"
			}
			f.events = append(f.events, fmt.Sprintf("GOAWAY(last %s, %v) at %s", last, fr.ErrCode, ms(at)))
		case *http2.RSTStreamFrame:
			f.events = append(f.events, fmt.Sprintf("RST_STREAM(%d, %v) at %s", fr.StreamID, fr.ErrCode, ms(at)))
		}
		if h := fr.Header(); h.Flags.Has(http2.FlagDataEndStream) && (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) {
			f.answers <- struct{}{}
		}
	}
}

func (f *framed) get(id uint32, path string) {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for _, h := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "test"}, {":path", path}} {
		enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	f.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: true})
}

// idleFrom gets one answer, and counts the time from it.
func (f *framed) idleFrom() bool {
	f.get(1, "/")
	select {
	case <-f.answers:
		f.since = time.Now()
		return true
	case <-f.closed:
	case <-time.After(5 * time.Second):
	}
	return false
}

// probePing lets one connection idle, and pings on another.
func probePing(addr string, idle time.Duration) []string {
	quiet, err := dialFrames(addr)
	if err != nil {
		return []string{err.Error(), ""}
	}
	defer quiet.Close()
	pinged, err := dialFrames(addr)
	if err != nil {
		return []string{err.Error(), ""}
	}
	defer pinged.Close()
	if !quiet.idleFrom() || !pinged.idleFrom() {
		return []string{"no answer over HTTP/2", ""}
	}
	every := time.NewTicker(idle / 4)
	defer every.Stop()
	limit := time.After(3*idle + time.Second)
	alone, both := "", ""
	for alone == "" || both == "" {
		select {
		case <-every.C:
			pinged.fr.WritePing(false, [8]byte{1})
		case <-quiet.closed:
			alone = strings.Join(quiet.events, ", ")
			quiet.closed = nil
		case <-pinged.closed:
			both = "no: " + strings.Join(pinged.events, ", ")
			pinged.closed = nil
		case <-limit:
			if alone == "" {
				return []string{"open after " + ms(3*idle+time.Second), "has no idle timeout"}
			}
			return []string{alone, fmt.Sprintf("yes: open after %s", ms(3*idle+time.Second))}
		}
	}
	return []string{alone, both}
}

// probeGoAway signals the server with one idle and one busy connection.
func probeGoAway(run *running) string {
	idle, err := dialFrames(run.http2)
	if err != nil {
		return err.Error()
	}
	defer idle.Close()
	busy, err := dialFrames(run.http2)
	if err != nil {
		return err.Error()
	}
	defer busy.Close()
	if !idle.idleFrom() {
		return "no answer"
	}
	busy.get(1, "/slow")
	time.Sleep(300 * time.Millisecond)
	idle.since, busy.since = time.Now(), time.Now()
	run.signal()
	return "idle: " + idle.fateFrames() + "; busy: " + busy.fateFrames()
}

func (f *framed) fateFrames() string {
	select {
	case <-f.closed:
	case <-time.After(10 * time.Second):
		f.Close()
		<-f.closed
		f.events = append(f.events[:len(f.events)-1], "open after 10 s")
	}
	got := ""
	select {
	case <-f.answers:
		got = "answered, "
	default:
	}
	return got + strings.Join(f.events, ", ")
}
