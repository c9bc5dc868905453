package faultserver_test

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/idlewise/idlewise/faultserver"
)

// tcpInfo is what the client's kernel knows.
func (c *rawConn) tcpInfo() *unix.TCPInfo {
	c.t.Helper()
	rc, err := c.Conn.(*net.TCPConn).SyscallConn()
	require.NoError(c.t, err)
	var info *unix.TCPInfo
	require.NoError(c.t, rc.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}))
	require.NoError(c.t, err)
	return info
}

// wantUnacknowledged proves that nothing is behind the connection any more.
func (c *rawConn) wantUnacknowledged() {
	c.t.Helper()
	c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	c.wantSilence()
	require.EqualValues(c.t, 1, c.tcpInfo().Unacked)
	require.EqualValues(c.t, unix.BPF_TCP_ESTABLISHED, c.tcpInfo().State)
}

// injectOrSkip skips the test where the system does not let the fault be.
func injectOrSkip(t *testing.T, s *faultserver.Server, f faultserver.Fault) (remove func()) {
	t.Helper()
	remove, err := s.InjectE(f)
	if err != nil {
		require.ErrorContains(t, err, "CAP_NET_ADMIN")
		t.Skip(err)
	}
	return remove
}

func awaitClosed(t *testing.T, s *faultserver.Server) faultserver.ConnRecord {
	t.Helper()
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool {
		return onlyConn(t, s).ClosedBy != faultserver.StillOpen
	}))
	return onlyConn(t, s)
}

// onEveryFamily runs a test with a server of each address family, and one that
// serves IPv4 through an IPv6 socket.
func onEveryFamily(t *testing.T, test func(t *testing.T, cfg faultserver.Config, dial func(*faultserver.Server) *rawConn)) {
	t.Run("IPv4", func(t *testing.T) {
		test(t, faultserver.Config{}, func(s *faultserver.Server) *rawConn { return dialRaw(t, s) })
	})
	if !hasIPv6() {
		return
	}
	t.Run("IPv6", func(t *testing.T) {
		cfg := faultserver.Config{Addresses: []string{"::1"}}
		test(t, cfg, func(s *faultserver.Server) *rawConn { return dialRaw(t, s) })
	})
	t.Run("IPv4 on IPv6", func(t *testing.T) {
		ln, err := net.Listen("tcp", "[::]:0")
		require.NoError(t, err)
		test(t, faultserver.Config{Listener: ln}, func(s *faultserver.Server) *rawConn {
			_, port, err := net.SplitHostPort(s.Addr().String())
			require.NoError(t, err)
			nc, err := dialAt(t, "127.0.0.1:"+port, patience)
			require.NoError(t, err)
			require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
			return &rawConn{Conn: nc, t: t, br: newReader(nc)}
		})
	})
}

func TestAVanishedIdleConnectionNeitherEndsNorAcknowledges(t *testing.T) {
	onEveryFamily(t, func(t *testing.T, cfg faultserver.Config, dial func(*faultserver.Server) *rawConn) {
		s := faultserver.Start(t, cfg)
		s.Inject(faultserver.Fault{Kind: faultserver.IdleVanish, After: time.Millisecond})
		c := dial(s)
		c.wantAlive()
		row := awaitClosed(t, s)
		require.Equal(t, faultserver.BySilence, row.ClosedBy)
		require.Equal(t, faultserver.IdleVanish, row.Fault)
		require.GreaterOrEqual(t, row.IdleAge, time.Millisecond)
		c.wantSilence()
		c.wantUnacknowledged()
		require.Len(t, s.Journal().Requests(), 1)
		dial(s) // new connections are let in
	})
}

func TestAForgottenIdleConnectionAnswersTheNextPacketWithARST(t *testing.T) {
	onEveryFamily(t, func(t *testing.T, cfg faultserver.Config, dial func(*faultserver.Server) *rawConn) {
		s := faultserver.Start(t, cfg)
		injectOrSkip(t, s, faultserver.Fault{Kind: faultserver.IdleForget, After: time.Millisecond})
		c := dial(s)
		c.wantAlive()
		require.Equal(t, faultserver.BySilence, awaitClosed(t, s).ClosedBy)
		c.wantSilence()
		c.send("G")
		c.wantRST()
	})
}

func TestAForgottenConnectionAnswersAKeepAliveProbeWithARSTToo(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	injectOrSkip(t, s, faultserver.Fault{Kind: faultserver.IdleForget, After: time.Millisecond})
	c := dialRaw(t, s)
	c.wantAlive()
	awaitClosed(t, s)
	probes := net.KeepAliveConfig{Enable: true, Idle: time.Second}
	require.NoError(t, c.Conn.(*net.TCPConn).SetKeepAliveConfig(probes))
	c.wantRST()
}

func TestAConnectionVanishesInPlaceOfAnAnswer(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		cfg.Faults = []faultserver.Fault{{Kind: faultserver.VanishOnRequest, Path: "/lost", Executed: true}}
		s := faultserver.Start(t, cfg)
		do(t, s, "GET", "/", nil)
		go s.Client().Get(s.URL + "/lost") // ends with the server
		row := awaitClosed(t, s)
		require.Equal(t, faultserver.BySilence, row.ClosedBy)
		require.Equal(t, faultserver.VanishOnRequest, row.Fault)
		lost := s.Journal().Requests()[1]
		require.Equal(t, 1, lost.Executed)
		require.False(t, lost.Answered)
	})
}

func TestLossMakesTheClientRetransmit(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	remove := injectOrSkip(t, s, faultserver.Fault{Kind: faultserver.Loss, Value: "50%"})
	c := dialRaw(t, s)
	for c.tcpInfo().Total_retrans == 0 { // the connection's deadline ends it
		c.wantAlive()
	}
	remove()
	c.wantAlive()
	before := c.tcpInfo().Total_retrans
	for range 20 {
		c.wantAlive()
	}
	require.Equal(t, before, c.tcpInfo().Total_retrans)
}

func TestAPausedServersKernelAcknowledges(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	c := dialRaw(t, s)
	c.wantAlive()
	s.Pause()
	c.send(post("/", strings.Repeat("x", 100)))
	c.wantSilence()
	require.Zero(t, c.tcpInfo().Unacked)
	require.NoError(t, s.Resume())
	c.response("POST")
}

func TestAVanishedServerIsSilentUntilItIsBack(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	c := dialRaw(t, s)
	c.wantAlive()
	require.NoError(t, s.Vanish())
	c.wantUnacknowledged()
	wantUnanswered(t, s.Addr().String())
	row := onlyConn(t, s)
	require.Equal(t, faultserver.BySilence, row.ClosedBy)
	require.Equal(t, faultserver.MachineVanished, row.Reason)

	require.NoError(t, s.Resume())
	dialRaw(t, s).wantAlive()
	if _, err := s.InjectE(faultserver.Fault{Kind: faultserver.IdleForget, After: time.Hour}); err == nil {
		_, err := c.br.ReadByte() // the retransmission finds no socket
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
}

func TestAVanishedConnectionSendsNoKeepAliveProbes(t *testing.T) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 9}}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := faultserver.Start(t, faultserver.Config{Listener: ln})
	probed, vanished := dialRaw(t, s), dialRaw(t, s)
	probed.wantAlive()
	vanished.wantAlive()
	s.Inject(faultserver.Fault{Kind: faultserver.IdleVanish, After: time.Millisecond, Times: 1})
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool {
		for _, c := range s.Journal().Conns() {
			if c.ClosedBy == faultserver.BySilence {
				return true
			}
		}
		return false
	}))
	if s.Journal().Conns()[0].ClosedBy == faultserver.BySilence {
		probed, vanished = vanished, probed
	}
	before, heard := vanished.tcpInfo().Segs_in, probed.tcpInfo().Segs_in
	for probed.tcpInfo().Segs_in == heard { // until the other one was probed
		probed.wantSilence()
	}
	vanished.wantSilence()
	require.Equal(t, before, vanished.tcpInfo().Segs_in)
}

func TestThePortIsKeptWhileConnectionsAreRefused(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	s.Inject(faultserver.Fault{Kind: faultserver.RefuseConnections})
	wantRefused(t, s.Addr().String())
	other := faultserver.Start(t, faultserver.Config{})
	_, err := (&net.Dialer{LocalAddr: s.Addr()}).Dial("tcp", other.Addr().String())
	require.ErrorIs(t, err, syscall.EADDRINUSE)
}
