package faultserver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestSelectorsThatContradictEachOtherAreRefused(t *testing.T) {
	for _, test := range []struct {
		fault faultserver.Fault
		goes  string // the message in Go's names
		text  string // and in those of texts
	}{
		{faultserver.Fault{Kind: faultserver.SilentClose, NthOnConn: 1, ReusedOnly: true},
			"ReusedOnly: contradicts NthOnConn 1: ", "reused_only: contradicts nth_on_conn 1: "},
		{faultserver.Fault{Kind: faultserver.SilentClose, NthOnConn: 1, IdleAtLeast: time.Second},
			"IdleAtLeast: contradicts NthOnConn 1: ", "idle_at_least: contradicts nth_on_conn 1: "},
		{faultserver.Fault{Kind: faultserver.CloseOnReuse, NthOnConn: 1},
			"NthOnConn: 1 contradicts close-on-reuse", "nth_on_conn: 1 contradicts close-on-reuse"},
		{faultserver.Fault{Kind: faultserver.SilentClose, Nth: 3, Times: 2},
			"Times: 2 contradicts Nth 3, which strikes once", "times: 2 contradicts nth 3, which strikes once"},
		{faultserver.Fault{Kind: faultserver.CloseAfterRequests, Requests: 5, NthOnConn: 4},
			"NthOnConn: 4 contradicts Requests 5", "nth_on_conn: 4 contradicts requests 5"},
		{faultserver.Fault{Kind: faultserver.IdleClose, After: time.Second, IdleAtLeast: time.Second},
			"IdleAtLeast: idle-close takes its idle time from After", "idle_at_least: idle-close takes its idle time from after"},
		{faultserver.Fault{Kind: faultserver.SilentClose, Path: "charge"},
			`Path: "charge": a request's path begins with a slash`, `path: "charge": a request's path begins with a slash`},
		{faultserver.Fault{Kind: faultserver.SilentClose, Method: "GET, POST"},
			`Method: "GET, POST" is not one method`, `method: "GET, POST" is not one method`},
	} {
		require.ErrorContains(t, test.fault.Validate(), test.goes)
		_, err := faultserver.ParseFault(test.fault.String())
		require.ErrorContains(t, err, test.text)
	}
	for _, f := range []faultserver.Fault{
		{Kind: faultserver.SilentClose, Nth: 3, Times: 1},
		{Kind: faultserver.SilentClose, NthOnConn: 2, ReusedOnly: true, IdleAtLeast: time.Second},
		{Kind: faultserver.SilentClose, Times: 3, Probability: 0.1},
		{Kind: faultserver.SilentClose, Path: "*"},
	} {
		require.NoError(t, f.Validate())
	}
}
