package memnet_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

const (
	latency = 50 * time.Millisecond
	server  = "10.0.0.1:80"
	request = "POST /claim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// between runs a test in virtual time on a new connection whose both ends are
// established and quiet.
func between(t *testing.T, opts memnet.Options, test func(t *testing.T, n *memnet.Network, client, server *memnet.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(opts)
		c, s := connect(t, n)
		test(t, n, c, s)
	})
}

var far = memnet.Options{Latency: latency}

func connect(t *testing.T, n *memnet.Network) (client, accepted *memnet.Conn) {
	t.Helper()
	l, err := n.Listen(server)
	require.NoError(t, err)
	c, err := n.DialContext(context.Background(), "tcp", server)
	require.NoError(t, err)
	s, err := l.Accept()
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return c.(*memnet.Conn), s.(*memnet.Conn)
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	n, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.Equal(t, len(text), n)
}

func readFull(t *testing.T, r io.Reader, text string) {
	t.Helper()
	got := make([]byte, len(text))
	_, err := io.ReadFull(r, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}

func readError(r io.Reader) error {
	n, err := r.Read(make([]byte, 64))
	if n > 0 {
		return nil
	}
	return err
}

func writeError(w io.Writer) error {
	_, err := w.Write([]byte("x"))
	return err
}

// takes requires that what runs costs exactly this much virtual time.
func takes(t *testing.T, d time.Duration, run func()) {
	t.Helper()
	start := time.Now()
	run()
	require.Equal(t, d, time.Since(start))
}

// books is the part of the accounting that does not change while nothing
// happens.
func books(c *memnet.Conn) memnet.Accounting {
	a := c.Accounting()
	a.SinceReceived, a.SinceAck, a.RTT, a.Unacked, a.Retransmits = 0, 0, 0, 0, 0
	return a
}

// pass lets time pass, and everything happen that is due then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
