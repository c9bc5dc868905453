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

const host = "api.example.com"

// inNamed runs a test with listeners at the last two of three addresses that a
// name has: nobody listens at the first.
func inNamed(t *testing.T, test func(t *testing.T, n *memnet.Network, reach func(ctx context.Context) (string, error))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		for _, address := range []string{"10.0.0.2:80", "10.0.0.3:80"} {
			_, err := n.Listen(address)
			require.NoError(t, err)
		}
		require.NoError(t, n.SetHost(host, "10.0.0.1", "10.0.0.2", "10.0.0.3"))
		test(t, n, func(ctx context.Context) (string, error) {
			c, err := n.DialContext(ctx, "tcp", host+":80")
			if err != nil {
				return "", err
			}
			return c.RemoteAddr().String(), nil
		})
	})
}

func TestADialGoesOnFromAnAddressThatRefuses(t *testing.T) {
	inNamed(t, func(t *testing.T, n *memnet.Network, reach func(context.Context) (string, error)) {
		takes(t, 4*latency, func() {
			got, err := reach(t.Context())
			require.NoError(t, err)
			require.Equal(t, "10.0.0.2:80", got)
		})
		got, err := n.LookupHost(t.Context(), "API.example.com")
		require.NoError(t, err)
		require.Equal(t, []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, got)
		got, err = n.LookupHost(t.Context(), "::ffff:10.0.0.1")
		require.NoError(t, err)
		require.Equal(t, []string{"10.0.0.1"}, got)
	})
}

func TestADialGivesASilentAddressItsShareOfTheDeadline(t *testing.T) {
	inNamed(t, func(t *testing.T, n *memnet.Network, reach func(context.Context) (string, error)) {
		n.Cut("10.0.0.1", true)
		n.Cut("10.0.0.2", true)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		takes(t, 20*time.Second+2*latency, func() {
			got, err := reach(ctx)
			require.NoError(t, err)
			require.Equal(t, "10.0.0.3:80", got)
		})
		takes(t, 127*time.Second*2+2*latency, func() { // without a deadline
			_, err := reach(t.Context())
			require.NoError(t, err)
		})
		short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		takes(t, 3*time.Second, func() { // two seconds, then what is left
			_, err := reach(short)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, "dial tcp 10.0.0.1:80: i/o timeout", err.Error(), "the first one's error")
		})
	})
}

func TestIfNoAddressAnswersTheFirstErrorCounts(t *testing.T) {
	inNamed(t, func(t *testing.T, n *memnet.Network, reach func(context.Context) (string, error)) {
		require.NoError(t, n.SetHost(host, "10.0.0.8", "10.0.0.9"))
		_, err := reach(t.Context())
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Equal(t, "dial tcp 10.0.0.8:80: connect: connection refused", err.Error())
	})
}

func TestAddressesChangeWhileConnectionsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		blue, err := n.Listen("10.0.0.2:80")
		require.NoError(t, err)
		_, err = n.Listen("10.0.0.3:80")
		require.NoError(t, err)
		require.NoError(t, n.SetHost(host, "10.0.0.2"))
		old, err := n.DialContext(t.Context(), "tcp", host+":80")
		require.NoError(t, err)
		s, err := blue.Accept()
		require.NoError(t, err)

		require.NoError(t, n.SetHost(host, "10.0.0.3"))
		write(t, old, request)
		readFull(t, s, request)
		fresh, err := n.DialContext(t.Context(), "tcp", host+":80")
		require.NoError(t, err)
		require.Equal(t, "10.0.0.3:80", fresh.RemoteAddr().String())
	})
}

func TestLookupsFailAsRealOnesDo(t *testing.T) {
	inNamed(t, func(t *testing.T, n *memnet.Network, reach func(context.Context) (string, error)) {
		for _, tc := range []struct {
			lookup                       memnet.Lookup
			text                         string
			notFound, timeout, temporary bool
			takes                        time.Duration
		}{
			{memnet.Lookup{Failure: memnet.NoSuchHost, Delay: time.Second}, "no such host", true, false, false, time.Second},
			{memnet.Lookup{Failure: memnet.ServerFailure}, "server misbehaving", false, false, true, 0},
			{memnet.Lookup{Failure: memnet.NoAnswer}, "i/o timeout", false, true, true, 10 * time.Second},
		} {
			require.NoError(t, n.SetLookup(host, tc.lookup))
			takes(t, tc.takes, func() {
				_, err := reach(t.Context())
				require.Equal(t, "dial tcp: lookup api.example.com: "+tc.text, err.Error())
				var failure *net.DNSError
				require.ErrorAs(t, err, &failure)
				require.Equal(t, tc.notFound, failure.IsNotFound)
				require.Equal(t, tc.timeout, failure.Timeout())
				require.Equal(t, tc.temporary, failure.Temporary())
			})
		}
		require.NoError(t, n.SetHost(host))
		_, err := reach(t.Context())
		require.ErrorContains(t, err, "no such host")
		_, err = n.DialContext(t.Context(), "tcp", "never.example.com:80")
		require.ErrorContains(t, err, "no such host")
	})
}

func TestTheContextEndsASlowLookup(t *testing.T) {
	inNamed(t, func(t *testing.T, n *memnet.Network, reach func(context.Context) (string, error)) {
		require.NoError(t, n.SetLookup(host, memnet.Lookup{Addrs: []string{"10.0.0.2"}, Delay: time.Minute}))
		takes(t, time.Minute+2*latency, func() {
			_, err := reach(t.Context())
			require.NoError(t, err)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		takes(t, time.Second, func() {
			_, err := reach(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			var failure net.Error
			require.True(t, errors.As(err, &failure) && failure.Timeout())
		})
	})
}

func TestAListenersNameIsAnAddressEvenAfterItClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		l, err := n.Listen("server:80")
		require.NoError(t, err)
		_, err = n.DialContext(t.Context(), "tcp", "server:80")
		require.NoError(t, err)
		l.Close()
		_, err = n.DialContext(t.Context(), "tcp", "server:80")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	})
}

func TestANameThatWasSetKeepsItsAddressesWhateverListensOnIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		addresses := []string{"10.0.0.1"}
		require.NoError(t, n.SetHost("server", addresses...))
		addresses[0] = "10.0.0.2"
		_, err := n.Listen("server:80")
		require.NoError(t, err)
		_, err = n.DialContext(t.Context(), "tcp", "server:80")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.ErrorContains(t, err, "10.0.0.1:80")
	})
}

func TestALookupThatCannotBeIsAnErrorThatSaysWhy(t *testing.T) {
	n := memnet.New(memnet.Options{})
	for text, err := range map[string]error{
		"a name is needed": n.SetHost("10.0.0.1", "10.0.0.2"),
		"(\"\")":           n.SetHost("", "10.0.0.2"),
		"no IP address":    n.SetHost(host, "10.0.0.1:80"),
		"no address":       n.SetLookup(host, memnet.Lookup{}),
		"exclude":          n.SetLookup(host, memnet.Lookup{Addrs: []string{"10.0.0.1"}, Failure: memnet.NoSuchHost}),
		"Delay":            n.SetLookup(host, memnet.Lookup{Failure: memnet.NoSuchHost, Delay: -1}),
		"unknown Failure":  n.SetLookup(host, memnet.Lookup{Failure: 99}),
	} {
		require.ErrorContains(t, err, text)
	}
}

func TestAFullBacklogLeavesSYNsUnansweredUntilSomebodyAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(memnet.Options{Latency: latency, Backlog: 1})
		l, err := n.Listen(server)
		require.NoError(t, err)
		dial := func() error {
			_, err := n.DialContext(t.Context(), "tcp", server)
			return err
		}
		require.NoError(t, dial())
		time.AfterFunc(5*time.Second, func() { l.Accept() })
		takes(t, 7*time.Second+2*latency, func() { require.NoError(t, dial()) })
		takes(t, 127*time.Second, func() { require.ErrorIs(t, dial(), syscall.ETIMEDOUT) })
	})
}
