package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// base has http.DefaultTransport's settings that a request meets, and connections
// that answer from memory.
func base() *http.Transport {
	return &http.Transport{
		MaxIdleConns:    100,
		IdleConnTimeout: 90 * time.Second,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return &memoryConn{asked: make(chan struct{}, 1), closed: make(chan struct{})}, nil
		},
	}
}

const answer = "HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT\r\nContent-Length: 0\r\n\r\n"

// A memoryConn takes each Write for a request, and has the same answer for each.
type memoryConn struct {
	asked  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (c *memoryConn) Write(p []byte) (int, error) {
	select {
	case c.asked <- struct{}{}:
		return len(p), nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *memoryConn) Read(p []byte) (int, error) {
	select {
	case <-c.asked:
		return copy(p, answer), nil
	case <-c.closed:
		return 0, io.EOF
	}
}

func (c *memoryConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (*memoryConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*memoryConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*memoryConn) SetDeadline(time.Time) error      { return nil }
func (*memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (*memoryConn) SetWriteDeadline(time.Time) error { return nil }
