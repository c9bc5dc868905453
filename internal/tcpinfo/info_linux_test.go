package tcpinfo

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// pair returns both ends of a loopback connection.
func pair(t testing.TB, dialer *net.Dialer, lc *net.ListenConfig) (client, server *net.TCPConn) {
	t.Helper()
	l, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	c, err := dialer.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	s, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		c.Close()
		s.Close()
	})
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func plainPair(t testing.TB) (client, server *net.TCPConn) {
	return pair(t, &net.Dialer{}, &net.ListenConfig{})
}

func of(t *testing.T, c net.Conn) Info {
	t.Helper()
	info, ok := Of(c)
	require.True(t, ok)
	return info
}

// eventually waits for the other end's packets: over loopback, microseconds, or
// a delayed acknowledgement's 40 ms.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	require.Eventually(t, is, 10*time.Second, time.Millisecond)
}

func TestTheDialersSYNIsOneAcknowledgedByteAndTheAcceptedSidesIsNot(t *testing.T) {
	client, server := plainPair(t)
	require.EqualValues(t, 1, of(t, client).Acked)
	require.EqualValues(t, 0, of(t, server).Acked)
	require.Equal(t, Established, of(t, client).State)
}

func TestWhatIsWrittenGoesFromQueuedToAcknowledged(t *testing.T) {
	client, server := plainPair(t)
	client.Write(make([]byte, 1000))
	info := of(t, client)
	require.LessOrEqual(t, info.Acked-1+info.Queued, uint64(1000), "an acknowledgement between the two calls is in neither")
	eventually(t, func() bool { return of(t, client).Queued == 0 })
	require.EqualValues(t, 1001, of(t, client).Acked)
	require.Zero(t, of(t, client).Unacked)
	require.EqualValues(t, 1000, of(t, server).Received)
	require.Positive(t, of(t, client).RTT)
}

func TestFINThenRSTLeavesEPIPEAndTheRequestUnacknowledged(t *testing.T) {
	client, server := plainPair(t)
	server.Close()
	eventually(t, func() bool { return of(t, client).State == CloseWait })
	client.Write(make([]byte, 100))
	eventually(t, func() bool { return of(t, client).State == Close })
	info := of(t, client)
	require.EqualValues(t, 1, info.Acked)
	require.EqualValues(t, 100, info.Queued, "it survives the RST")

	pending, ok := TakeError(client)
	require.True(t, ok)
	require.Equal(t, syscall.EPIPE, pending)
	pending, ok = TakeError(client)
	require.True(t, ok)
	require.NoError(t, pending, "whoever reads it first clears it")
}

func TestARSTAloneLeavesECONNRESETWhichAPeekTakes(t *testing.T) {
	client, server := plainPair(t)
	server.SetLinger(0)
	server.Close()
	eventually(t, func() bool { return of(t, client).State == Close })
	_, pending, ok := Peek(client)
	require.True(t, ok)
	require.Equal(t, syscall.ECONNRESET, pending)
	pending, ok = TakeError(client)
	require.True(t, ok)
	require.NoError(t, pending)
	_, err := client.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
}

func TestAPeekLeavesBytesAndEOFWhereTheyAre(t *testing.T) {
	client, server := plainPair(t)
	n, pending, ok := Peek(client)
	require.True(t, ok)
	require.NoError(t, pending)
	require.Zero(t, n, "silent and open")

	server.Write([]byte("x"))
	eventually(t, func() bool { n, _, _ := Peek(client); return n == 1 })
	server.Close()
	_, err := client.Read(make([]byte, 1))
	require.NoError(t, err)
	eventually(t, func() bool { _, pending, _ := Peek(client); return pending == io.EOF })
	_, pending, _ = Peek(client)
	require.Equal(t, io.EOF, pending)
}

func TestAnIdleConnectionIsSilentUntilAnythingArrives(t *testing.T) {
	client, server := plainPair(t)
	silent := func() bool {
		is, since, ok := Silent(client)
		require.True(t, ok)
		require.LessOrEqual(t, since, time.Minute)
		return is
	}
	require.True(t, silent())
	server.Write([]byte("x"))
	eventually(t, func() bool { return !silent() })
	client.Read(make([]byte, 1))
	require.True(t, silent())
	server.Close()
	eventually(t, func() bool { return !silent() })
	client.Close()
	_, _, ok := Silent(client)
	require.False(t, ok)
	_, _, ok = Silent(accountant{})
	require.True(t, ok)
}

func TestWindowProbesThatAreAnsweredShowNothingInFlight(t *testing.T) {
	client, _ := plainPair(t)
	tooMuch := make([]byte, 32<<20) // before the clock runs: under the race detector it takes its time
	client.SetWriteDeadline(time.Now().Add(time.Second))
	_, err := client.Write(tooMuch)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	eventually(t, func() bool { return of(t, client).Unacked == 0 })
	info := of(t, client)
	require.Positive(t, info.NotSent)
	require.Equal(t, info.Queued, info.NotSent)
	require.LessOrEqual(t, info.Probes, uint32(1))
}

func TestThereIsNoEvidenceWhereTheNumbersWouldLie(t *testing.T) {
	client, server := plainPair(t)
	type wrapped struct{ net.Conn }
	_, ok := Of(wrapped{client})
	require.False(t, ok, "somebody's own connection may buffer")
	_, ok = TakeError(wrapped{client})
	require.False(t, ok)
	_, _, ok = Peek(wrapped{client})
	require.False(t, ok)

	client.Close()
	_, ok = Of(client)
	require.False(t, ok, "closed")
	_, ok = TakeError(client)
	require.False(t, ok)
	_, _, ok = Peek(client)
	require.False(t, ok)
	server.Close()
}

func TestAUnixSocketGivesNoEvidence(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, ok := Of(c)
	require.False(t, ok)
	raw, err := c.(*net.UnixConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		_, ok := OfSocket(fd)
		require.False(t, ok, "by descriptor, too")
	}))
}

func TestAMultipathConnectionGivesNoEvidence(t *testing.T) {
	dialer, lc := &net.Dialer{}, &net.ListenConfig{}
	dialer.SetMultipathTCP(true)
	lc.SetMultipathTCP(true)
	client, server := pair(t, dialer, lc)
	if mptcp, err := client.MultipathTCP(); err != nil || !mptcp {
		t.Skip("this kernel does not speak Multipath TCP (net.mptcp.enabled)")
	}
	for _, c := range []net.Conn{client, server} {
		_, ok := Of(c)
		require.False(t, ok)
	}
}

func TestAPlainClientOfAMultipathListenerGivesEvidence(t *testing.T) {
	dialer, lc := &net.Dialer{}, &net.ListenConfig{}
	dialer.SetMultipathTCP(false)
	lc.SetMultipathTCP(true)
	client, _ := pair(t, dialer, lc)
	_, ok := Of(client)
	require.True(t, ok)
}

func TestAKernelThatFillsInLessGivesNoEvidence(t *testing.T) {
	// What Linux 4.1 knew ends with bytes_received.
	_, ok := fromKernel(&unix.TCPInfo{State: unix.BPF_TCP_ESTABLISHED, Bytes_acked: 1}, 0)
	require.False(t, ok)
	info, ok := fromKernel(&unix.TCPInfo{State: unix.BPF_TCP_CLOSE_WAIT, Bytes_acked: 12, Segs_in: 1}, 3)
	require.True(t, ok)
	require.Equal(t, Info{State: CloseWait, Acked: 12, Queued: 3}, info)
}

type accountant struct{ net.Conn }

func (accountant) TCPInfo() (Info, bool)           { return Info{Acked: 7}, true }
func (accountant) TakeError() (error, bool)        { return syscall.EPIPE, true }
func (accountant) Peek() (n int, e error, ok bool) { return 3, nil, true }

func TestAConnectionThatKeepsItsOwnBooksIsAskedFirst(t *testing.T) {
	require.EqualValues(t, 7, of(t, accountant{}).Acked)
	pending, ok := TakeError(accountant{})
	require.True(t, ok)
	require.Equal(t, syscall.EPIPE, pending)
	n, _, ok := Peek(accountant{})
	require.True(t, ok)
	require.Equal(t, 3, n)
}

func TestStatesHaveTheKernelsNumbers(t *testing.T) {
	require.EqualValues(t, unix.BPF_TCP_CLOSE_WAIT, CloseWait)
	require.EqualValues(t, unix.BPF_TCP_CLOSING, Closing)
	require.EqualValues(t, unix.BPF_TCP_CLOSE, Close)
	require.Equal(t, "fin-wait-2", FinWait2.String())
	require.Equal(t, "unknown", State(0).String())
	require.Equal(t, "unknown", State(99).String())
}

func BenchmarkOf(b *testing.B) {
	client, _ := plainPair(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Of(client); !ok {
			b.Fatal("no evidence")
		}
	}
}

func BenchmarkSilent(b *testing.B) {
	client, _ := plainPair(b)
	b.ReportAllocs()
	for b.Loop() {
		Silent(client)
	}
}

func BenchmarkPeek(b *testing.B) {
	client, _ := plainPair(b)
	b.ReportAllocs()
	for b.Loop() {
		Peek(client)
	}
}
