package main

import (
	"bytes"
	"encoding/csv"
	"io"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// What net/http and idlewise do is asserted; what the others do is printed.
func TestNoPOSTIsExecutedTwiceByNetHTTPNorByIdlewise(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-csv", "-callers", "8", "-requests", "64"}, &out, io.Discard))
	r := csv.NewReader(&out)
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	require.NoError(t, err)
	seen := 0
	for _, row := range rows {
		if row[0] == "scenario" {
			continue
		}
		requests, err := strconv.Atoi(row[2])
		require.NoError(t, err)
		require.Equal(t, 64, requests)
		if row[1] == "net/http" || row[1] == "idlewise, told" || row[1] == "idlewise, not told" {
			require.Equal(t, "0", row[7], "%v", row)
			seen++
		}
	}
	require.Equal(t, 3*len(scenarios), seen)
}

func TestMistakesAreReportedTogether(t *testing.T) {
	err := run(t.Context(), []string{"-callers", "0", "-requests", "-1", "-scenarios", "idle,typhoon", "extra"}, io.Discard, io.Discard)
	for _, want := range []string{"-callers: 0", "-requests: -1", `"typhoon" is none of idle, restart, kill, goaway`, `"extra"`} {
		require.ErrorContains(t, err, want)
	}
}
