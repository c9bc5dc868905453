package idlewise

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// The kernel's own numbers, in little more than a second.

const shortPatience = 400 * time.Millisecond

func impatient(t *testing.T) *Transport {
	tr, err := New(Config{Base: &http.Transport{}, Policies: Policies{Default: Policy{UnackedTimeout: shortPatience}}})
	require.NoError(t, err)
	t.Cleanup(func() { tr.Close() })
	return tr
}

// A deafening listener can let connections that it accepted fall silent.
type deafening struct {
	net.Listener
	accepted chan *net.TCPConn
}

func (d deafening) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err == nil {
		d.accepted <- c.(*net.TCPConn)
	}
	return c, err
}

// deafen lets the kernel drop every packet for c unseen, as soon as it has
// heard all it waits for: those with a time to live under 255 (RFC 5082).
func deafen(t *testing.T, c *net.TCPConn) {
	require.Eventually(t, func() bool {
		info, ok := tcpinfo.Of(c)
		return ok && info.Queued == 0
	}, 10*time.Second, time.Millisecond)
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MINTTL, 255); err != nil {
			t.Skip("the kernel lacks IP_MINTTL: ", err)
		}
	}))
}

func TestTheKernelTellsOfAPeerThatHasVanished(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	accepted := make(chan *net.TCPConn, 10)
	s.Listener = deafening{s.Listener, accepted}
	s.Start()
	defer s.Close()
	for _, method := range []string{"GET", "POST"} {
		tr := impatient(t)
		read(t, tr, getting(s.URL))
		deafen(t, <-accepted)
		req, err := http.NewRequestWithContext(context.Background(), method, s.URL, strings.NewReader("x"))
		require.NoError(t, err)
		began := time.Now()
		resp, err := tr.RoundTrip(req)
		d := time.Since(began)
		if method == "GET" {
			require.NoError(t, err)
			resp.Body.Close()
			<-accepted
		} else {
			require.ErrorIs(t, err, syscall.ETIMEDOUT)
		}
		require.GreaterOrEqual(t, d, shortPatience)
		require.Less(t, d, 4*shortPatience, "on a machine that is busy, too")
		require.EqualValues(t, 1, tr.Stats().Total.Closed[ClosedVanished])
	}
}

func TestTheKernelTellsOfAPeerThatOnlyReadsOrThinksSlowly(t *testing.T) {
	const size = 32 << 20
	got := make(chan int64, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		time.Sleep(3 * shortPatience)
		n, _ := io.Copy(io.Discard, r.Body)
		got <- n
	}))
	defer s.Close()
	for _, n := range []int{size, 1} {
		tr := impatient(t)
		req, err := http.NewRequest("POST", s.URL, strings.NewReader(strings.Repeat("x", n)))
		require.NoError(t, err)
		resp, err := tr.RoundTrip(req)
		require.NoError(t, err)
		resp.Body.Close()
		require.EqualValues(t, n, <-got)
		require.Zero(t, tr.Stats().Total.Closed[ClosedVanished])
	}
}
