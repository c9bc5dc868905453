package faultserver_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestAFaultTakenOutWhileAConnectionIdlesDoesNotStrikeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{})
		remove, err := s.InjectAll(faultserver.Fault{Kind: faultserver.IdleClose, After: time.Minute})
		require.NoError(t, err)
		c := dial()
		exchangeRaw(t, c)
		time.Sleep(30 * time.Second)
		remove()
		time.Sleep(time.Hour)
		exchangeRaw(t, c)
		endVirtual(s, c)
	})
}

func TestFaultsSetWhileAConnectionIdlesReachIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{})
		c := dial()
		exchangeRaw(t, c)
		time.Sleep(30 * time.Second)
		require.NoError(t, s.SetFaults(faultserver.Fault{Kind: faultserver.IdleClose, After: time.Minute}))
		time.Sleep(time.Minute)
		require.Equal(t, time.Minute, onlyConn(t, s).IdleAge)
		endVirtual(s, c)
	})
}

func TestSetFaultsPutsNewFaultsInThePlaceOfAll(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.Status, Code: 501})
	s.Inject(faultserver.Fault{Kind: faultserver.AnnounceClose})
	c := dialRaw(t, s)
	require.ErrorContains(t, s.SetFaults(faultserver.Fault{Kind: faultserver.SilentClose}, faultserver.Fault{}), "[1]: Kind: is missing")
	require.Len(t, s.Faults(), 2, "a mistake changes nothing")
	require.NoError(t, s.SetFaults(faultserver.Fault{Kind: faultserver.Status, Code: 502, Times: 1}))
	resp, _ := c.get("/")
	require.Equal(t, 502, resp.StatusCode)
	require.Equal(t, []faultserver.FaultInForce{
		{ID: 3, Fault: faultserver.Fault{Kind: faultserver.Status, Code: 502, Times: 1}, Struck: 1, Spent: true},
	}, s.Faults())
	c.wantAlive()
	require.False(t, s.RemoveFault(1))
	require.True(t, s.RemoveFault(3))
	_, err := s.InjectAll(faultserver.Fault{})
	require.Error(t, err)
	require.Empty(t, s.Faults())
}
