package memnet_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestItIsANetConnOnTheRealClock(t *testing.T) {
	for name, opts := range map[string]memnet.Options{
		"without latency": {},
		"with latency":    {Latency: 200 * time.Microsecond, Jitter: 100 * time.Microsecond},
		"small buffers":   {SendBuffer: 2 << 10, ReceiveBuffer: 4 << 10, DelayedAck: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				client, accepted := connect(t, memnet.New(opts))
				return client, accepted, func() {
					client.Close()
					accepted.Close()
				}, nil
			})
		})
	}
}

func TestManyConnectionsAtOnceEachGetTheirOwnBytes(t *testing.T) {
	const clients, rounds = 50, 20
	n := memnet.New(memnet.Options{Latency: 100 * time.Microsecond, Jitter: 100 * time.Microsecond, SendBuffer: 1 << 10, ReceiveBuffer: 3 << 10})
	l, err := n.Listen(server)
	require.NoError(t, err)

	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				io.Copy(c, c)
			})
		}
	})
	failures := make(chan error, clients)
	for i := range clients {
		go func() { failures <- echo(n, byte(i), rounds) }()
	}
	for range clients {
		require.NoError(t, <-failures)
	}
	l.Close()
	all.Wait()
}

func echo(n *memnet.Network, mark byte, rounds int) error {
	c, err := n.DialContext(context.Background(), "tcp", server)
	if err != nil {
		return err
	}
	defer c.Close()
	sent := bytes.Repeat([]byte{mark}, 5000)
	go func() {
		for range rounds {
			c.Write(sent)
		}
		c.(*memnet.Conn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, bytes.Repeat(sent, rounds)) {
		return io.ErrUnexpectedEOF
	}
	return nil
}
