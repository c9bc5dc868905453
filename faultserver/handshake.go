package faultserver

import (
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"golang.org/x/net/http2"
)

// handshake puts TLS over the connection. It is false if the connection has
// ended.
func (c *conn) handshake() (*tls.ConnectionState, bool) {
	if f, ok := c.struck.get(TLSStalled); ok && !c.stallHandshake(f) {
		return nil, false
	}
	if f, ok := c.struck.get(TLSRefused, TLSPlaintext); ok {
		c.refuseHello(f)
		return nil, false
	}
	under := &handshakeConn{Conn: c.raw, c: c}
	t := tls.Server(under, c.srv.set.tls)
	c.mu.Lock()
	c.nc = t
	c.mu.Unlock()
	if err := t.HandshakeContext(c.ctx); err != nil {
		c.shut(c.endOfHandshake(err))
		return nil, false
	}
	under.over.Store(true)
	state := t.ConnectionState()
	return &state, true
}

// endOfHandshake says what a failed handshake means. There is no session yet
// that a close_notify could close.
func (c *conn) endOfHandshake(err error) ending {
	e := endOfRead(err)
	if errors.Is(err, io.EOF) || e.reason == ProtocolError {
		c.mu.Lock()
		c.abrupt = true
		c.mu.Unlock()
	}
	for _, f := range c.struck {
		if f.Kind.onlyUnderTLS() {
			e.reason, e.fault = FaultStruck, f.Kind
			break
		}
	}
	var op *net.OpError
	if e.fault != 0 && errors.As(err, &op) && op.Op == "remote error" {
		e.by = ByClient // it has sent an alert, as after a certificate it does not like
	}
	return e
}

// stallHandshake leaves the ClientHello unanswered, and is false if the
// connection has ended over it.
func (c *conn) stallHandshake(f Fault) bool {
	if f.After > 0 {
		return c.pause(c.srv.rules.delay(f))
	}
	_, err := io.Copy(io.Discard, c.raw)
	e := endOfRead(cmp.Or(err, io.EOF))
	e.reason, e.fault = FaultStruck, f.Kind
	c.shut(e)
	return false
}

const (
	recordAlert     = 21
	recordHandshake = 22
	recordHeader    = 5
	maxRecord       = 16384 + 256

	alertHandshakeFailure = 40
)

// refuseHello answers the ClientHello with something that is not a ServerHello.
// It reads the ClientHello first: a close with unread bytes would be a RST,
// which destroys what was written before.
func (c *conn) refuseHello(f Fault) {
	if err := readRecord(c.raw); err != nil {
		c.shut(endOfRead(err))
		return
	}
	if f.Kind == TLSPlaintext {
		writeAll(c.raw, cmp.Or(f.Value, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	} else {
		writeAlert(c.raw, cmp.Or(f.Code, alertHandshakeFailure))
	}
	c.shut(finByFault(f.Kind))
}

// readRecord reads past one TLS record.
func readRecord(r io.Reader) error {
	var header [recordHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint16(header[3:])
	if header[0] != recordHandshake || n > maxRecord {
		return nil // not TLS at all
	}
	_, err := io.CopyN(io.Discard, r, int64(n))
	return err
}

// writeAlert writes a fatal alert in clear, as it is before keys are agreed on.
func writeAlert(nc net.Conn, code uint32) {
	nc.Write([]byte{recordAlert, 3, 3, 0, 2, 2, byte(code)})
}

// refuseInHTTP2 tells a client that speaks HTTP/1 what it is connected to.
func (c *conn) refuseInHTTP2() {
	fr := http2.NewFramer(c.nc, nil)
	fr.WriteSettings()
	fr.WriteGoAway(0, http2.ErrCodeProtocol, nil)
	c.shut(lingerBecause(ProtocolError))
}

// handshakeConn is the connection as the handshake sees it: TLSCut cuts it
// here, and the choice of a configuration finds the connection's faults by it.
type handshakeConn struct {
	net.Conn
	c    *conn
	over atomic.Bool // the handshake is; assigned once
	sent int64       // in it, by the one goroutine that does the handshake
}

func (h *handshakeConn) Write(p []byte) (int, error) {
	f, cuts := h.c.struck.get(TLSCut)
	if !cuts || h.over.Load() {
		return h.Conn.Write(p)
	}
	left := f.Bytes - h.sent
	if f.Bytes == 0 {
		left = int64(len(p)) / 2
	}
	if int64(len(p)) < left {
		n, err := h.Conn.Write(p)
		h.sent += int64(n)
		return n, err
	}
	n, _ := h.Conn.Write(p[:left])
	h.c.shut(finByFault(TLSCut))
	return n, errCut
}
