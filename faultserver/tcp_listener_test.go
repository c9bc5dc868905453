package faultserver_test

import (
	"net"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

func needLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("asks of the kernel what only Linux is known to do")
	}
}

func TestRefuseConnectionsRefusesUntilRemovedAndSparesWhatIsOpen(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	old := dialRaw(t, s)
	old.wantAlive()
	remove := s.Inject(faultserver.Fault{Kind: faultserver.RefuseConnections})
	wantRefused(t, s.Addr().String())
	old.wantAlive()
	remove()
	remove()
	dialRaw(t, s).wantAlive()
	events := s.Journal().ServerEvents()
	require.Len(t, events, 2)
	require.Equal(t, faultserver.OutageBegan, events[0].What)
	require.Equal(t, faultserver.RefuseConnections, events[0].Fault)
	require.Equal(t, faultserver.OutageEnded, events[1].What)
}

func TestRefuseConnectionsEndsByItselfOnTheSamePort(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{
		{Kind: faultserver.RefuseConnections, After: 50 * time.Millisecond},
	}})
	awaitEvent(t, s, faultserver.OutageEnded)
	dialRaw(t, s).wantAlive()
}

func TestTwoReasonsToRefuseMustBothEnd(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	remove := s.Inject(faultserver.Fault{Kind: faultserver.RefuseConnections})
	require.NoError(t, s.Crash())
	require.NoError(t, s.Resume())
	wantRefused(t, s.Addr().String())
	remove()
	dialRaw(t, s).wantAlive()
}

func TestAGivenTCPListenerComesBackToo(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := faultserver.Start(t, faultserver.Config{Listener: ln})
	remove := s.Inject(faultserver.Fault{Kind: faultserver.RefuseConnections})
	wantRefused(t, s.Addr().String())
	remove()
	dialRaw(t, s).wantAlive()
}

func TestAListenerThatCannotBeMadeAgainIsNotClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(memnet.Options{})
		ln, err := network.Listen("server:80")
		require.NoError(t, err)
		s := faultserver.Start(t, faultserver.Config{Listener: ln})
		for _, f := range []faultserver.Fault{
			{Kind: faultserver.RefuseConnections}, {Kind: faultserver.CrashOnRequest},
		} {
			_, err = s.InjectE(f)
			require.ErrorContains(t, err, "Config.Listen")
		}
		require.ErrorContains(t, s.Crash(), "Config.Listen")
		require.ErrorContains(t, s.Stop(t.Context()), "Config.Listen")
		for _, k := range []faultserver.Kind{faultserver.SilentListener, faultserver.FullBacklog} {
			_, err = s.InjectE(faultserver.Fault{Kind: k})
			require.ErrorContains(t, err, "not a TCP socket")
		}
		require.Empty(t, s.Journal().ServerEvents())
		_, err = faultserver.New(faultserver.Config{Listener: ln, Faults: []faultserver.Fault{{Kind: faultserver.RefuseConnections}}})
		require.ErrorContains(t, err, "Config.Faults[0]")
	})
}

func TestConfigListenMakesTheListenerAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := inMemory(t, faultserver.Config{})
		remove := s.Inject(faultserver.Fault{Kind: faultserver.RefuseConnections})
		remove()
		roundTrip(t, dial(), "GET", "")
	})
}

func TestAFullBacklogLeavesSYNsUnanswered(t *testing.T) {
	needLinux(t)
	s := faultserver.Start(t, faultserver.Config{})
	old := dialRaw(t, s)
	old.wantAlive()
	remove := s.Inject(faultserver.Fault{Kind: faultserver.FullBacklog})
	queued := dialRaw(t, s) // a queue of 0 takes one
	queued.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	wantUnanswered(t, s.Addr().String())
	queued.wantSilence()
	old.wantAlive()
	remove()
	queued.response("GET")
	dialRaw(t, s).wantAlive()
}

func TestASilentListenerAnswersNoSYN(t *testing.T) {
	needLinux(t)
	for _, address := range []string{"127.0.0.1", "::1"} {
		t.Run(address, func(t *testing.T) {
			if address == "::1" && !hasIPv6() {
				t.Skip("no IPv6 here")
			}
			s := faultserver.Start(t, faultserver.Config{Addresses: []string{address}})
			old := dialRaw(t, s)
			old.wantAlive()
			remove := s.Inject(faultserver.Fault{Kind: faultserver.SilentListener})
			wantUnanswered(t, s.Addr().String())
			old.wantAlive()
			remove()
			dialRaw(t, s).wantAlive()
		})
	}
}

func hasIPv6() bool {
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err == nil {
		ln.Close()
	}
	return err == nil
}

func TestWhatOnlyLinuxCanIsRefusedElsewhere(t *testing.T) {
	if runtime.GOOS == "linux" {
		t.Skip("this is Linux")
	}
	s := faultserver.Start(t, faultserver.Config{})
	for _, f := range []faultserver.Fault{
		{Kind: faultserver.SilentListener}, {Kind: faultserver.FullBacklog}, {Kind: faultserver.IdleVanish, After: 1},
		{Kind: faultserver.IdleForget, After: 1}, {Kind: faultserver.VanishOnRequest}, {Kind: faultserver.Loss, Value: "1%"},
	} {
		_, err := s.InjectE(f)
		require.ErrorContains(t, err, "Linux")
	}
	require.ErrorContains(t, s.Vanish(), "Linux")
}

// onTwo starts a server on two loopback addresses.
func onTwo(t *testing.T) *faultserver.Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("this system has one loopback address only: %v", err)
	}
	ln.Close()
	return faultserver.Start(t, faultserver.Config{Addresses: []string{"127.0.0.1", "127.0.0.2"}})
}

func TestOneOfTwoAddressesIsDead(t *testing.T) {
	s := onTwo(t)
	addrs := s.Addrs()
	require.Len(t, addrs, 2)
	remove := s.Inject(faultserver.Fault{Kind: faultserver.RefuseConnections, Value: "127.0.0.2"})
	wantRefused(t, addrs[1].String())
	dialRaw(t, s).wantAlive()
	require.Equal(t, "127.0.0.2", s.Journal().ServerEvents()[0].Address)
	require.Equal(t, addrs[0].String(), onlyConn(t, s).LocalAddr)
	remove()
	nc, err := dialAt(t, addrs[1].String(), patience)
	require.NoError(t, err)
	roundTrip(t, nc, "GET", "")

	_, err = s.InjectE(faultserver.Fault{Kind: faultserver.RefuseConnections, Value: "127.0.0.3"})
	require.ErrorContains(t, err, "it has 127.0.0.1, 127.0.0.2")
	needLinux(t)
	s.Inject(faultserver.Fault{Kind: faultserver.SilentListener, Value: "127.0.0.2"})
	wantUnanswered(t, addrs[1].String())
	dialRaw(t, s).wantAlive()
}

func TestAnAddressThatThisMachineLacksIsNamed(t *testing.T) {
	_, err := faultserver.New(faultserver.Config{Addresses: []string{"127.0.0.1", "203.0.113.1"}})
	require.ErrorContains(t, err, "listen on 203.0.113.1")
	require.ErrorContains(t, err, "no such address")
	_, err = faultserver.New(faultserver.Config{Addresses: []string{"localhost", "127.0.0.1:80"}})
	require.ErrorContains(t, err, "Config.Addresses[0]")
	require.ErrorContains(t, err, "Config.Addresses[1]")
	ln := memnetListener(t)
	_, err = faultserver.New(faultserver.Config{
		Listener: ln, Listen: memnet.New(memnet.Options{}).Listen, Addresses: []string{"127.0.0.1"}, Port: 1,
	})
	require.ErrorContains(t, err, "Config.Port: set, but Listener is too")
	require.ErrorContains(t, err, "Config.Addresses: set, but Listener is too")
	require.ErrorContains(t, err, "Config.Listen: set, but Listener is too")
}

func memnetListener(t *testing.T) net.Listener {
	ln, err := memnet.New(memnet.Options{}).Listen("server:80")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln
}

func TestSelectorsWithoutAMeaningAreRefused(t *testing.T) {
	every := faultserver.Fault{
		NthOnConn: 1, ReusedOnly: true, IdleAtLeast: 1, Method: "GET", Path: "/", Header: "A",
		Nth: 1, Times: 1, Probability: 0.5,
	}
	always := []string{"NthOnConn", "ReusedOnly", "IdleAtLeast", "Method", "Path", "Header"}
	counters := []string{"Nth: ", "Times", "Probability"}
	for _, k := range []faultserver.Kind{faultserver.AcceptReset, faultserver.LookupServFail, faultserver.RefuseConnections} {
		f := every
		f.Kind = k
		err := f.Validate()
		for _, field := range always {
			require.ErrorContains(t, err, field)
		}
		for _, field := range counters {
			if k == faultserver.RefuseConnections {
				require.ErrorContains(t, err, field)
			} else {
				require.NotContains(t, err.Error(), field)
			}
		}
	}
	for _, f := range []faultserver.Fault{
		{Kind: faultserver.Bandwidth}, {Kind: faultserver.Bandwidth, Rate: -1}, {Kind: faultserver.Latency},
		{Kind: faultserver.Loss}, {Kind: faultserver.Loss, Value: "5"}, {Kind: faultserver.Loss, Value: "100%"},
		{Kind: faultserver.LookupWrong}, {Kind: faultserver.LookupWrong, Value: "host=nowhere"},
		{Kind: faultserver.Delay, After: 1, Rate: 1},
	} {
		require.Error(t, f.Validate(), "%+v", f)
	}
}

func TestAPortInUseIsAnError(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	port := s.Addr().(*net.TCPAddr).Port
	_, err := faultserver.New(faultserver.Config{Port: port})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.NoError(t, s.Close())
	again := faultserver.Start(t, faultserver.Config{Port: port})
	require.Equal(t, s.Addr(), again.Addr())
	_, err = faultserver.New(faultserver.Config{Port: 65536})
	require.ErrorContains(t, err, "Config.Port: 65536")
}

func TestAMultipathListenerIsToldApart(t *testing.T) {
	needLinux(t)
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(true)
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := faultserver.Start(t, faultserver.Config{Listener: ln})
	remove, err := s.InjectE(faultserver.Fault{Kind: faultserver.SilentListener})
	if err == nil {
		t.Skip("this kernel has no Multipath TCP, or lets its sockets go deaf")
	}
	require.ErrorContains(t, err, "SetMultipathTCP(false)")
	require.ErrorContains(t, s.Vanish(), "SetMultipathTCP(false)")
	remove()
	dialRaw(t, s).wantAlive()
	s.Inject(faultserver.Fault{Kind: faultserver.FullBacklog})
	dialRaw(t, s)
	wantUnanswered(t, s.Addr().String())
}
