package idlewise

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// The kernel's own numbers, in little more than a second.

const shortPatience = 400 * time.Millisecond

// Linux answers a connection's window probes at most once in 500 ms
// (net.ipv4.tcp_invalid_ratelimit), and sends the one after an unanswered one later.
const probedPatience = 1500 * time.Millisecond

func impatient(t *testing.T) *Transport { return patientFor(t, shortPatience) }

func patientFor(t *testing.T, patience time.Duration) *Transport {
	tr, err := New(Config{Base: &http.Transport{}, Policies: Policies{Default: Policy{UnackedTimeout: patience}}})
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

// silent waits until c's kernel has got nothing new for so long, or c is closed.
func silent(c *net.TCPConn, d time.Duration) {
	for {
		info, ok := tcpinfo.Of(c)
		if !ok || info.SinceReceived >= d {
			return
		}
		<-time.After(time.Millisecond)
	}
}

func TestTheKernelTellsOfAPeerThatOnlyReadsOrThinksSlowly(t *testing.T) {
	stalls := make(chan time.Duration, 1)
	got := make(chan int64, 1)
	accepted := make(chan *net.TCPConn, 10)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		silent(<-accepted, <-stalls)
		n, _ := io.Copy(io.Discard, r.Body)
		got <- n
	}))
	s.Listener = deafening{s.Listener, accepted}
	s.Start()
	defer s.Close()
	for n, patience := range map[int]time.Duration{32 << 20: probedPatience, 1: shortPatience} {
		tr := patientFor(t, patience)
		stalls <- 2 * patience
		req, err := http.NewRequest("POST", s.URL, strings.NewReader(strings.Repeat("x", n)))
		require.NoError(t, err)
		resp, err := tr.RoundTrip(req)
		require.NoError(t, err)
		resp.Body.Close()
		require.EqualValues(t, n, <-got)
		require.Zero(t, tr.Stats().Total.Closed[ClosedVanished])
	}
}

// keepAliveOf reads a socket's settings back.
func keepAliveOf(t *testing.T, c net.Conn) net.KeepAliveConfig {
	raw, err := c.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	var got [4]int
	require.NoError(t, raw.Control(func(fd uintptr) {
		for i, option := range [][2]int{{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT}} {
			got[i], err = unix.GetsockoptInt(int(fd), option[0], option[1])
			require.NoError(t, err)
		}
	}))
	return net.KeepAliveConfig{Enable: got[0] != 0, Idle: time.Duration(got[1]) * time.Second, Interval: time.Duration(got[2]) * time.Second, Count: got[3]}
}

func TestTheKernelProbesConnectionsAsThePolicySays(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	dialers := net.KeepAliveConfig{Enable: true, Idle: 77 * time.Second, Interval: 7 * time.Second, Count: 8}
	others := net.KeepAliveConfig{Enable: true, Idle: 9 * time.Second, Interval: 2 * time.Second, Count: 4}
	for _, test := range []struct {
		own, want net.KeepAliveConfig
		wrapped   bool
	}{
		{want: defaultKeepAlive},
		{own: others, want: others},
		{own: net.KeepAliveConfig{Idle: -1}, want: dialers},
		{own: net.KeepAliveConfig{Enable: true, Idle: -1}, want: dialers},
		{want: dialers, wrapped: true}, // not the exact type: it may know better
	} {
		var dialed net.Conn
		base := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{KeepAliveConfig: dialers}).DialContext(ctx, network, addr)
			dialed = c
			if test.wrapped {
				return struct{ net.Conn }{c}, err
			}
			return c, err
		}}
		tr, err := New(Config{Base: base, Policies: Policies{Default: Policy{TCPKeepAlive: test.own}}})
		require.NoError(t, err)
		read(t, tr, getting(s.URL))
		require.Equal(t, test.want, keepAliveOf(t, dialed))
		tr.Close()
	}
}

// It had acknowledged the request, so that nothing waits for it but the caller.
func TestAServerThatVanishesWhileItThinksIsFoundByKeepAlive(t *testing.T) {
	arrived := make(chan struct{})
	release := make(chan struct{})
	var called atomic.Bool
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if !called.Swap(true) {
			close(arrived)
			<-release
		}
	}))
	accepted := make(chan *net.TCPConn, 10)
	s.Listener = deafening{s.Listener, accepted}
	s.Start()
	defer s.Close()
	defer close(release)
	tr, err := New(Config{Base: &http.Transport{}, Policies: Policies{Default: Policy{
		TCPKeepAlive: net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 1},
	}}})
	require.NoError(t, err)
	defer tr.Close()
	done := make(chan error, 1)
	go func() {
		resp, err := tr.RoundTrip(getting(s.URL))
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	<-arrived
	deafen(t, <-accepted)
	require.NoError(t, <-done)
	require.EqualValues(t, 1, tr.Stats().Total.Closed[ClosedVanished])
	require.EqualValues(t, 1, tr.Stats().Total.Resent[Unknown])
}
