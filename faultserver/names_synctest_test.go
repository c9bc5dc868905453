package faultserver_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestInVirtualTimeALookupIsAsLateAsTold(t *testing.T) {
	// Package net makes a channel at its first lookup, which must not belong
	// to the bubble.
	_, err := (&net.Resolver{PreferGo: true}).LookupHost(t.Context(), "localhost")
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		s, _ := inMemory(t, faultserver.Config{})
		remove, err := s.InjectAll(faultserver.Fault{Kind: faultserver.LookupDelay, After: time.Second / 2},
			faultserver.Fault{Kind: faultserver.LookupDelay, After: 3 * time.Second / 2})
		require.NoError(t, err)
		began := time.Now()
		hosts, err := s.Resolver().LookupHost(t.Context(), "api.example.test")
		require.NoError(t, err)
		require.Equal(t, []string{"10.0.0.1"}, hosts)
		require.Equal(t, 2*time.Second, time.Since(began))

		remove()
		s.Inject(faultserver.Fault{Kind: faultserver.LookupSilence})
		_, err = s.Resolver().LookupHost(t.Context(), "api.example.test")
		var failed net.Error
		require.ErrorAs(t, err, &failed)
		require.True(t, failed.Timeout())
	})
}
