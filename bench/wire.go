package main

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"github.com/idlewise/idlewise/bench/internal/server"
)

// A wire is what went over a fresh connection, for one request: bytes that TCP
// carried, without its headers, and how often the client waited for the
// server, that for the TCP handshake included.
type wire struct {
	sent, received int64
	roundTrips     int64
}

// weighed is over how many connections a wire is the mean.
const weighed = 20

// weigh measures the wire, in a run of its own: a dialer's own connection is
// not what net/http and idlewise are made for.
func (r redial) weigh(s side, srv *server.Server) (wire, error) {
	m := &meter{}
	rt, err := r.transport(s, &srv.Ready, m)
	if err != nil {
		return wire{}, err
	}
	url := srv.URL(r.protocol().overTLS())
	for i := range weighed + 1 {
		if i == 1 {
			m.reset() // the first one had no session to resume
		}
		if _, err := exchangeTLS(context.Background(), rt, url); err != nil {
			return wire{}, err
		}
		closeTransport(rt)
		m.closed.Wait()
	}
	mean := func(n *atomic.Int64) int64 { return (n.Load() + weighed/2) / weighed }
	return wire{mean(&m.sent), mean(&m.received), mean(&m.trips)}, nil
}

// A meter counts what goes over the connections that it dials.
type meter struct {
	sent, received, trips atomic.Int64
	closed                sync.WaitGroup
}

func (m *meter) reset() { m.sent.Store(0); m.received.Store(0); m.trips.Store(0) }

func (m *meter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	m.trips.Add(1)
	m.closed.Add(1)
	return &metered{Conn: c, m: m}, nil
}

type metered struct {
	net.Conn
	m     *meter
	asked atomic.Bool // something was written since something was read
	once  sync.Once
}

func (c *metered) Write(b []byte) (int, error) {
	c.asked.Store(true)
	n, err := c.Conn.Write(b)
	c.m.sent.Add(int64(n))
	return n, err
}

func (c *metered) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.m.received.Add(int64(n))
	if n > 0 && c.asked.Swap(false) {
		c.m.trips.Add(1)
	}
	return n, err
}

func (c *metered) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.m.closed.Done)
	return err
}
