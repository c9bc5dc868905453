package memnet_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestDialIsRefusedWhereNobodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		takes(t, 2*latency, func() {
			c, err := n.DialContext(context.Background(), "tcp", server)
			require.Nil(t, c)
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			require.Equal(t, "dial tcp 10.0.0.1:80: connect: connection refused", err.Error())
		})
	})
}

func TestAClosedListenerRefusesAndItsAddressCanBeUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		l, err := n.Listen(server)
		require.NoError(t, err)
		_, err = n.Listen(server)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		require.Equal(t, "listen tcp 10.0.0.1:80: bind: address already in use", err.Error())

		accepting := make(chan error)
		go func() {
			_, err := l.Accept()
			accepting <- err
		}()
		synctest.Wait()
		require.NoError(t, l.Close())
		require.ErrorIs(t, <-accepting, net.ErrClosed)
		require.ErrorIs(t, l.Close(), net.ErrClosed)
		_, err = n.DialContext(context.Background(), "tcp", server)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)

		connect(t, n)
	})
}

func TestClosingAListenerResetsWhatNobodyAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		l, err := n.Listen(server)
		require.NoError(t, err)
		queued, err := n.DialContext(context.Background(), "tcp", server)
		require.NoError(t, err)
		time.Sleep(latency)
		onItsWay, err := n.DialContext(context.Background(), "tcp", server)
		require.NoError(t, err)
		l.Close()
		require.ErrorIs(t, readError(queued), syscall.ECONNRESET)
		takes(t, latency, func() { require.ErrorIs(t, readError(onItsWay), syscall.ECONNRESET) })
	})
}

func TestTheContextEndsADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		_, err := n.Listen(server)
		require.NoError(t, err)

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(latency, cancel)
		takes(t, latency, func() {
			_, err := n.DialContext(ctx, "tcp", server)
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorAs(t, err, new(*net.OpError))
			require.Equal(t, "dial tcp 10.0.0.1:80: operation was canceled", err.Error())
		})
		takes(t, 0, func() {
			_, err := n.DialContext(ctx, "tcp", server)
			require.ErrorIs(t, err, context.Canceled)
		})

		ctx, cancel = context.WithTimeout(t.Context(), latency)
		defer cancel()
		_, err = n.DialContext(ctx, "tcp", server)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var failure net.Error
		require.True(t, errors.As(err, &failure) && failure.Timeout())
	})
}

func TestTheContextDoesNotEndAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		l, err := n.Listen(server)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		c, err := n.DialContext(ctx, "tcp", server)
		require.NoError(t, err)
		cancel()
		s, err := l.Accept()
		require.NoError(t, err)
		write(t, c, request)
		readFull(t, s, request)
	})
}

func TestAddressesAreTCPAddrsWhereTheyCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(memnet.Options{})
		client, accepted := connect(t, n)
		require.Equal(t, &net.TCPAddr{IP: net.IP{10, 0, 0, 1}, Port: 80}, &net.TCPAddr{
			IP: accepted.LocalAddr().(*net.TCPAddr).IP.To4(), Port: accepted.LocalAddr().(*net.TCPAddr).Port,
		})
		require.Equal(t, client.LocalAddr(), accepted.RemoteAddr())
		require.Equal(t, client.RemoteAddr(), accepted.LocalAddr())
		require.IsType(t, &net.TCPAddr{}, client.LocalAddr())
		again, _ := connect(t, n)
		require.NotEqual(t, client.LocalAddr(), again.LocalAddr())

		l, err := n.Listen("API.example.com:443")
		require.NoError(t, err)
		require.Equal(t, "api.example.com:443", l.Addr().String())
		require.Equal(t, "tcp", l.Addr().Network())
		c, err := n.DialContext(context.Background(), "tcp4", "api.Example.com:443")
		require.NoError(t, err)
		require.Equal(t, l.Addr(), c.RemoteAddr())

		l, err = n.Listen("[::1]:0")
		require.NoError(t, err)
		require.NotZero(t, l.Addr().(*net.TCPAddr).Port)
		_, err = n.DialContext(context.Background(), "tcp", l.Addr().String())
		require.NoError(t, err)
	})
}

func TestWhatIsNoAddressIsAnError(t *testing.T) {
	n := memnet.New(memnet.Options{})
	for _, address := range []string{"10.0.0.1", "10.0.0.1:http", "10.0.0.1:65536", ""} {
		_, err := n.Listen(address)
		require.ErrorAs(t, err, new(*net.OpError), address)
		_, err = n.DialContext(context.Background(), "tcp", address)
		require.ErrorAs(t, err, new(*net.OpError), address)
	}
	_, err := n.DialContext(context.Background(), "udp", server)
	require.ErrorAs(t, err, new(net.UnknownNetworkError))
	require.Panics(t, func() { n.Cut("10.0.0.1:http", true) })
}
