package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/bench/internal/child"
	"github.com/idlewise/idlewise/bench/internal/command"
	"github.com/idlewise/idlewise/bench/internal/server"
)

// TestMain lets the test binary be the children that the command starts.
func TestMain(m *testing.M) {
	if command.InRole("bench", roles) {
		return
	}
	os.Exit(m.Run())
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestEveryProtocolIsMeasuredOnBothSides(t *testing.T) {
	rows := tabulate(t, only+"-pairs 3 -requests 20 -per-caller 1 -protocols http1,https1,http2,h2c -callers 1,5")
	require.Len(t, rows, 1+4*2*2*2)
	for _, r := range rows[1:] {
		require.Len(t, r, len(rows[0]))
		require.Equal(t, "requests", r[0])
		require.Equal(t, "3", r[9], "pairs")
		for i := 5; i < 9; i++ {
			require.NotEqual(t, "0", r[i], rows[0][i])
		}
	}
}

// only leaves out every table; what comes behind it may choose some.
const only = "-callers= -idle 0 -checkout= -upstreams= -redials= "

// tabulate runs the command and returns its tables as CSV.
func tabulate(t *testing.T, flags string) [][]string {
	file := filepath.Join(t.TempDir(), "tables.csv")
	err := run(bounded(t), append(strings.Fields(flags), "-csv", file), io.Discard, io.Discard)
	require.NoError(t, err)
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	c := csv.NewReader(f)
	c.FieldsPerRecord = -1
	rows, err := c.ReadAll()
	require.NoError(t, err)
	return rows
}

func TestManyUpstreamsAreMeasuredWithAndWithoutTheirConnections(t *testing.T) {
	rows := tabulate(t, only+"-upstreams 30")
	require.Len(t, rows, 1+len(allKeepings))
	records := slices.Index(rows[0], "idlewise records")
	for i, r := range rows[1:] {
		require.Equal(t, string(allKeepings[i]), r[2])
		require.Equal(t, "40", r[records], "those of the 10 requests before are among them")
	}
}

func TestEachWayToOpenAConnectionTakesTheRoundTripsThatItsProtocolDemands(t *testing.T) {
	rows := tabulate(t, only+"-redials tcp,tls1.2,tls1.2-resumed,tls1.3,tls1.3-resumed,http2,http2-resumed -pairs 1 -dials 10")
	require.Len(t, rows, 1+len(allRedials))
	trips := map[string]string{}
	for _, r := range rows[1:] {
		trips[r[1]] = r[2]
	}
	// Those of TCP and of the request are among them.
	want := map[string]string{"tcp": "2", "tls1.2": "4", "tls1.2-resumed": "3", "tls1.3": "3", "tls1.3-resumed": "3"}
	for redial, n := range want {
		require.Equal(t, n, trips[redial], redial)
	}
}

func TestATransportThatResumesNothingIsNotMeasuredAsOneThatDoes(t *testing.T) {
	srv, err := server.Start(bounded(t))
	require.NoError(t, err)
	defer srv.Stop()
	rt, err := redialTLS13.transport(sideIdlewise, &srv.Ready, nil)
	require.NoError(t, err)
	defer closeTransport(rt)
	_, err = redialTLS13Resumed.drive(t.Context(), rt, srv, 3, true)
	require.ErrorContains(t, err, "only 0 of 3 handshakes resumed a session")
}

func TestIdleConnectionsAreMeasuredInProcessesOfTheirOwn(t *testing.T) {
	var out bytes.Buffer
	err := run(bounded(t), strings.Fields(only+"-idle 50 -checkout 5,20 -samples 1 -requests 20"), &out, io.Discard)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3+1+4, "two tables in:\n%s", out.String())
	require.Contains(t, lines[2], "| 50 |")
	require.Contains(t, lines[6], "| 5 |")
	require.Contains(t, lines[7], "| 20 |")
}

func TestAWorkloadHasExactlyItsCallersAndRequests(t *testing.T) {
	srv, err := server.Start(bounded(t))
	require.NoError(t, err)
	defer srv.Stop()
	for _, s := range bothSides {
		rt, err := newTransport(s, http1, &srv.Ready)
		require.NoError(t, err)
		defer closeTransport(rt)
		w := workload{http1, 3, body4KiB, contextCancelable}
		c, err := w.drive(t.Context(), rt, srv.URL(false), 10, true)
		require.NoError(t, err)
		require.Equal(t, 10, c.requests)
		require.Positive(t, c.time)
		require.Positive(t, c.allocs)
	}
}

func TestTheServerEndsWhenItsInputEnds(t *testing.T) {
	srv, err := server.Start(bounded(t))
	require.NoError(t, err)
	require.NoError(t, srv.Stop())
}

func TestAWrongAnswerIsAnError(t *testing.T) {
	srv, err := server.Start(bounded(t))
	require.NoError(t, err)
	defer srv.Stop()
	rt, err := newTransport(sideNetHTTP, http1, &srv.Ready)
	require.NoError(t, err)
	defer closeTransport(rt)
	w := workload{http1, 2, bodyEmpty, contextBackground}
	_, err = w.drive(t.Context(), rt, srv.URL(false)+"missing", 4, false)
	require.ErrorContains(t, err, "status 404")
}

func TestProfilesAreWritten(t *testing.T) {
	dir := t.TempDir()
	err := run(bounded(t), strings.Fields("-pairs 1 -requests 20 -protocols http1 -callers 1 -bodies empty -contexts background -profile "+dir), io.Discard, io.Discard)
	require.NoError(t, err)
	for _, name := range []string{"nethttp.cpu", "nethttp.allocs", "idlewise.cpu", "idlewise.allocs"} {
		require.FileExists(t, dir+"/http1-1-empty-background-"+name)
	}
}

func TestMistakesInFlagsAreAllReported(t *testing.T) {
	_, err := parseOptions(strings.Fields("-pairs 0 -requests 5 -callers 1,1,x,999 -bodies huge -idle -1 -samples 0 -budget 1ms -contexts= -upstreams 0 -connections some -redials slow -dials 9999 rest"), io.Discard)
	require.Error(t, err)
	for _, want := range []string{
		`unexpected argument "rest"`, "-pairs: 0;", "-samples: 0;", "-idle: -1;", "-budget: 1ms;",
		"-callers: 1 is given twice", `-callers: "x" is no number`, "-callers: 999;",
		`-bodies: "huge" is none of`, "-contexts: nothing is chosen",
		"-upstreams: 0;", `-connections: "some" is none of`, `-redials: "slow" is none of`, "-dials: 9999;",
	} {
		require.ErrorContains(t, err, want)
	}
	_, err = parseOptions(strings.Fields("-requests 100 -callers 128"), io.Discard)
	require.ErrorContains(t, err, "-requests: 100 is fewer than 128 callers")
}

func TestTooManyConnectionsAreSkippedWithTheReason(t *testing.T) {
	limit := child.OpenFiles()
	if limit == 0 || limit > 1<<30 {
		t.Skip("the limit on open files is unknown here, or none")
	}
	require.Empty(t, tooMany(1))
	require.Contains(t, tooMany(int(limit)), "ulimit -n")
	r, err := compareIdle(t.Context(), &options{samples: 1}, int(limit), 1, io.Discard)
	require.NoError(t, err)
	require.NotEmpty(t, r.skipped)
	require.Contains(t, checkoutTable([]idleRow{r}).Rows[0][5], "skipped: ")
}

func TestMedian(t *testing.T) {
	require.Equal(t, 2.0, median([]float64{3, 1, 2}))
	require.Equal(t, 2.5, median([]float64{4, 1, 2, 3}))
	require.Zero(t, median([]time.Duration(nil)))
}
