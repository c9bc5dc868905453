package faultserver_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// dropListener's connections can drop, and tell when they are told to.
type dropListener struct {
	net.Listener
	dropped chan string
}

type dropConn struct {
	net.Conn
	dropped chan string
}

func (l dropListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return dropConn{nc, l.dropped}, err
}

func (c dropConn) Forget() error { c.dropped <- "forget"; return nil }
func (c dropConn) Vanish() error { c.dropped <- "vanish"; return nil }

func TestAConnectionThatCanDropIsToldAtTheIdleTimeout(t *testing.T) {
	for server, how := range map[string]string{"aws-nlb": "forget", "azure-lb": "vanish"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		dropped := make(chan string, 1)
		s := faultserver.Start(t, faultserver.Config{Personality: server, TimeScale: 10_000, Listener: dropListener{ln, dropped}})
		c := dialRaw(t, s)
		c.get("/")
		require.Equal(t, how, <-dropped)
	}
}

func TestCloseAndKillEndConnectionsThatWereDropped(t *testing.T) {
	for _, end := range []func(*faultserver.Server){
		func(s *faultserver.Server) { s.Kill() },
		func(s *faultserver.Server) { require.NoError(t, s.Close()) },
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		dropped := make(chan string, 1)
		s := faultserver.Start(t, faultserver.Config{Personality: "azure-lb", TimeScale: 10_000, Listener: dropListener{ln, dropped}})
		c := dialRaw(t, s)
		c.get("/")
		<-dropped
		c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		end(s)
		c.rest() // it ends, with a FIN or a RST
		require.Len(t, s.Journal().Requests(), 1)
	}
}

func TestAClientThatLeavesADroppedConnectionIsNoticed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	dropped := make(chan string, 1)
	s := faultserver.Start(t, faultserver.Config{Personality: "azure-lb", TimeScale: 10_000, Listener: dropListener{ln, dropped}})
	c := dialRaw(t, s)
	c.get("/")
	<-dropped
	c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	require.NoError(t, c.Close())
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool { return onlyConn(t, s).ClosedBy == faultserver.ByClient }))
}
