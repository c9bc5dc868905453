package faultserver_test

import (
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// helpless hides what connections can do beside net.Conn.
type helpless struct{ net.Listener }

// dropped starts a server whose flow to the client has been forgotten.
func dropped(t *testing.T, personality string, wrap func(net.Listener) net.Listener) (*faultserver.Server, net.Conn) {
	t.Helper()
	network := memnet.New(memnet.Options{Latency: virtualLatency})
	ln, err := network.Listen("server:80")
	require.NoError(t, err)
	s := faultserver.Start(t, faultserver.Config{Listener: wrap(ln), Personality: personality})
	nc, err := network.DialContext(t.Context(), "tcp", "server:80")
	require.NoError(t, err)
	exchangeRaw(t, nc)
	time.Sleep(10 * time.Minute)
	return s, nc
}

func able(ln net.Listener) net.Listener { return ln }

func unable(ln net.Listener) net.Listener { return helpless{ln} }

func sendGet(t *testing.T, nc net.Conn) {
	t.Helper()
	_, err := nc.Write([]byte("GET / HTTP/1.1\r\nHost: test\r\n\r\n"))
	require.NoError(t, err)
}

func readWithin(nc net.Conn, d time.Duration) error {
	nc.SetReadDeadline(time.Now().Add(d))
	_, err := nc.Read(make([]byte, 1))
	return err
}

func TestALoadBalancerThatDropsSilentlyIsNotEvenAcknowledging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, nc := dropped(t, "azure-lb", able)
		row := onlyConn(t, s)
		require.Equal(t, faultserver.BySilence, row.ClosedBy)
		require.Equal(t, faultserver.IdleTimeout, row.Reason)
		require.Equal(t, 4*time.Minute, row.IdleAge)
		sendGet(t, nc)
		require.ErrorIs(t, readWithin(nc, time.Minute), os.ErrDeadlineExceeded)
		require.Positive(t, nc.(*memnet.Conn).Accounting().Queued)
		require.Len(t, s.Journal().Requests(), 1)
		endVirtual(s, nc)
	})
}

func TestALoadBalancerThatForgetsAnswersTheNextPacketWithARST(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, nc := dropped(t, "aws-nlb", able)
		row := onlyConn(t, s)
		require.Equal(t, faultserver.BySilence, row.ClosedBy)
		require.Equal(t, 350*time.Second, row.IdleAge)
		require.ErrorIs(t, readWithin(nc, time.Minute), os.ErrDeadlineExceeded, "nothing tells the client before it sends")
		sendGet(t, nc)
		require.ErrorIs(t, readWithin(nc, time.Minute), syscall.ECONNRESET)
		require.Len(t, s.Journal().Requests(), 1)
		endVirtual(s, nc)
	})
}

func TestWhereTheKernelCannotForgetARequestDrawsARSTAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, nc := dropped(t, "aws-nlb", unable)
		require.Equal(t, faultserver.StillOpen, onlyConn(t, s).ClosedBy)
		sendGet(t, nc)
		require.ErrorIs(t, readWithin(nc, time.Minute), syscall.ECONNRESET)
		require.Equal(t, faultserver.ServerRST, onlyConn(t, s).ClosedBy)
		require.Len(t, s.Journal().Requests(), 1)
		endVirtual(s, nc)
	})
}

func TestCloseAndKillEndConnectionsThatTheKernelCannotDrop(t *testing.T) {
	for _, end := range []func(*faultserver.Server){
		func(s *faultserver.Server) { s.Kill() },
		func(s *faultserver.Server) { s.Close() },
	} {
		synctest.Test(t, func(t *testing.T) {
			s, nc := dropped(t, "azure-lb", unable)
			sendGet(t, nc)
			require.ErrorIs(t, readWithin(nc, time.Minute), os.ErrDeadlineExceeded)
			end(s)
			require.NotErrorIs(t, readWithin(nc, time.Minute), os.ErrDeadlineExceeded, "a FIN or a RST")
			require.Len(t, s.Journal().Requests(), 1)
			endVirtual(s, nc)
		})
	}
}

func TestAClientThatLeavesAConnectionThatTheKernelCannotDropIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, nc := dropped(t, "azure-lb", unable)
		sendGet(t, nc)
		require.NoError(t, nc.Close())
		time.Sleep(time.Second)
		require.Equal(t, faultserver.ByClient, onlyConn(t, s).ClosedBy)
		endVirtual(s)
	})
}

func TestInVirtualTimeFaultsSilenceConnections(t *testing.T) {
	for _, test := range []struct {
		fault faultserver.Fault
		after error // what the client's read of an answer ends in
	}{
		{faultserver.Fault{Kind: faultserver.IdleVanish, After: time.Hour}, os.ErrDeadlineExceeded},
		{faultserver.Fault{Kind: faultserver.IdleForget, After: time.Hour}, syscall.ECONNRESET},
		{faultserver.Fault{Kind: faultserver.VanishOnRequest, ReusedOnly: true}, os.ErrDeadlineExceeded},
		{faultserver.Fault{Kind: faultserver.VanishOnRequest, ReusedOnly: true, Executed: true}, os.ErrDeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, dial := virtual(t, faultserver.Config{Faults: []faultserver.Fault{test.fault}})
			nc := dial()
			exchangeRaw(t, nc)
			time.Sleep(2 * time.Hour)
			sendGet(t, nc)
			require.ErrorIs(t, readWithin(nc, time.Minute), test.after, "%v", test.fault)
			row := onlyConn(t, s)
			require.Equal(t, faultserver.BySilence, row.ClosedBy)
			require.Equal(t, test.fault.Kind, row.Fault)
			executed := 0
			for _, r := range s.Journal().Requests() {
				executed += r.Executed
			}
			want := 1
			if test.fault.Executed {
				want = 2
			}
			require.Equal(t, want, executed)
			if test.fault.After > 0 {
				require.Equal(t, time.Hour, row.IdleAge)
			}
			endVirtual(s, nc)
		})
	}
}
