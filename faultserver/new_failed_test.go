package faultserver_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestNothingListensWhenTheServerCannotBeMade(t *testing.T) {
	for name, cfg := range map[string]faultserver.Config{
		"a mistake":        {Personality: "nobody"},
		"found out late":   {Faults: []faultserver.Fault{{Kind: faultserver.RefuseConnections, Value: "10.0.0.1"}}},
		"by its scenario":  {Scenario: parse(t, "name: n\nphases:\n- {name: p, faults: [{kind: refuse-connections, value: 10.0.0.1}]}\n")},
		"by what it names": {Names: map[string][]string{"a.test": {"no address"}}},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			cfg.Listener, err = net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			cfg.Control, err = net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			_, err = faultserver.New(cfg)
			require.Error(t, err)
			for _, ln := range []net.Listener{cfg.Listener, cfg.Control} {
				require.ErrorIs(t, ln.Close(), net.ErrClosed)
			}
		})
	}
}
