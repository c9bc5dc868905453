package memnet_test

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

// reaches dials and says whether anybody answered within a minute.
func reaches(t *testing.T, n *memnet.Network, address string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := n.DialContext(ctx, "tcp", address)
	if err != nil {
		require.ErrorIs(t, err, context.DeadlineExceeded)
		return false
	}
	require.NoError(t, c.Close())
	return true
}

func TestACutOfANameHitsTheAddressesThatItHas(t *testing.T) {
	for _, place := range []string{host, "API.example.com.", host + ":80"} {
		synctest.Test(t, func(t *testing.T) {
			n := memnet.New(far)
			for _, address := range []string{"10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "10.0.0.3:80"} {
				_, err := n.Listen(address)
				require.NoError(t, err)
			}
			require.NoError(t, n.SetHost(host, "10.0.0.1", "10.0.0.2"))
			n.Cut(place, true)
			n.Cut(place, true)
			require.False(t, reaches(t, n, host+":80"))
			require.False(t, reaches(t, n, "10.0.0.2:80"))
			require.True(t, reaches(t, n, "10.0.0.3:80"))
			require.Equal(t, place == host+":80", reaches(t, n, "10.0.0.1:81"))

			require.NoError(t, n.SetHost(host, "10.0.0.3"))
			require.True(t, reaches(t, n, host+":80"), "it has moved, the cut has not")
			require.False(t, reaches(t, n, "10.0.0.1:80"))
			n.Cut("10.0.0.2", true)
			n.Cut(place, false)
			require.True(t, reaches(t, n, "10.0.0.1:80"))
			require.False(t, reaches(t, n, "10.0.0.2:80"), "a cut of its own")
			n.Cut("10.0.0.2", false)
			require.True(t, reaches(t, n, "10.0.0.2:80"))
			pass(time.Hour)
		})
	}
}

func TestANameThatIsForgottenStandsForItsAddresses(t *testing.T) {
	between(t, far, func(t *testing.T, n *memnet.Network, client, _ *memnet.Conn) {
		require.NoError(t, n.SetHost(host, "10.0.0.1"))
		n.Forget(host)
		write(t, client, request)
		takes(t, 2*latency, func() { require.ErrorIs(t, readError(client), syscall.ECONNRESET) })
	})
}

func TestALinkToANameIsOneToItsAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		_, err := n.Listen(server)
		require.NoError(t, err)
		require.NoError(t, n.SetHost(host, "10.0.0.1"))
		for _, there := range []time.Duration{time.Second, time.Minute} {
			require.NoError(t, n.SetLink("", host, memnet.Link{Latency: there}))
			require.NoError(t, n.SetLink(host, "", memnet.Link{}))
			takes(t, there, func() { _, err = n.DialContext(t.Context(), "tcp", server) })
			require.NoError(t, err)
			pass(time.Hour)
		}
		require.NoError(t, n.SetLink("", "later:80", memnet.Link{}))
		_, err = n.Listen("later:80")
		require.NoError(t, err)
		takes(t, latency, func() { _, err = n.DialContext(t.Context(), "tcp", "later:80") })
		require.NoError(t, err)
		pass(time.Hour)
	})
}

func TestACutThatCanHitNothingPanics(t *testing.T) {
	n := memnet.New(memnet.Options{})
	n.Cut("nobody:80", false)
	const unknown = "no such host: nobody: give it addresses by SetHost, or listen on it, before"
	require.PanicsWithValue(t, "memnet: Cut: "+unknown, func() { n.Cut("nobody:80", true) })
	require.PanicsWithValue(t, "memnet: Forget: "+unknown, func() { n.Forget("nobody") })
	_, err := n.Listen("nobody:80")
	require.NoError(t, err)
	n.Cut("nobody", true)
}

func TestADotAtTheEndOfANameIsNoPartOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(far)
		_, err := n.Listen("plain:80")
		require.NoError(t, err)
		_, err = n.Listen("dotted.:80")
		require.NoError(t, err)
		require.NoError(t, n.SetHost("set.", "10.0.0.9"))
		for _, address := range []string{"plain:80", "plain.:80", "dotted:80", "dotted.:80"} {
			require.True(t, reaches(t, n, address), address)
		}
		for _, name := range []string{"set", "set."} {
			addresses, err := n.LookupHost(t.Context(), name)
			require.NoError(t, err)
			require.Equal(t, []string{"10.0.0.9"}, addresses)
		}
		require.Error(t, n.SetHost(".", "10.0.0.9"))
		pass(time.Hour)
	})
}
