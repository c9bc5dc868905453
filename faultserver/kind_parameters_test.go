package faultserver_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestAKindTellsItsParameters(t *testing.T) {
	for kind, want := range map[faultserver.Kind][2][]string{
		faultserver.SilentClose:        {nil, nil},
		faultserver.Status:             {{"code"}, {"after", "value"}},
		faultserver.CloseAfterRequests: {{"requests"}, {"announced"}},
		faultserver.IdleBytes:          {{"after", "value"}, {"jitter"}},
		0:                              {nil, nil},
	} {
		needed, optional := kind.Parameters()
		require.Equal(t, want, [2][]string{needed, optional}, kind)
	}
}
