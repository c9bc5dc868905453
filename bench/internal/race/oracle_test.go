package race

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnOracleOpensAConnectionForEachCallerAndEachGapThatIsTooLong(t *testing.T) {
	gap := func(caller int, gap time.Duration) Call { return Call{Caller: caller, Gap: gap} }
	l := &Lane{Calls: []Call{
		gap(0, 0), gap(1, 0),
		gap(0, 4999*time.Millisecond), // not yet
		gap(1, 5*time.Second),
		gap(0, time.Minute),
	}}
	require.Equal(t, 4, l.Oracle(5*time.Second))
}

func TestTheReportComparesWithTheOracle(t *testing.T) {
	o := &Options{Callers: 2, Requests: 8, Seed: 1, Speed: 100}
	sc := Scenarios[0]
	lanes, err := sc.Run(t.Context(), o)
	require.NoError(t, err)
	table := sc.Report(o, lanes)
	require.Len(t, table.Rows, len(sc.Kinds())+1)
	for i, l := range lanes {
		require.Equal(t, l.Client, table.Rows[i][0])
		require.Len(t, l.Calls, 8, "every client makes all requests")
		require.NotZero(t, l.Conns)
		require.Zero(t, l.Calls[0].Gap)
		require.GreaterOrEqual(t, l.Calls[7].Gap, time.Duration(float64(sc.KeepAlive)/100*NearestGap), "and waits before them")
	}
	require.Equal(t, "oracle", table.Rows[len(lanes)][0])
}
