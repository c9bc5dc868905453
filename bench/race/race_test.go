package main

import (
	"bytes"
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What net/http and idlewise do is asserted; what the others do is printed.
func TestNoPOSTIsExecutedTwiceByNetHTTPNorByIdlewise(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-csv", "-callers", "8", "-requests", "64", "-speed", "20"}, &out, io.Discard))
	r := csv.NewReader(&out)
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	require.NoError(t, err)
	seen := make(map[string]int)
	oracles := 0
	for _, row := range rows {
		if row[0] == "scenario" {
			continue
		}
		requests, err := strconv.Atoi(row[2])
		require.NoError(t, err)
		require.GreaterOrEqual(t, requests, 64)
		if row[1] == "net/http" || strings.HasPrefix(row[1], "idlewise") {
			require.Equal(t, "0", row[7], "%v", row)
			seen[row[0]]++
		}
		if row[1] == "oracle" {
			oracles++
			require.Equal(t, "1.00", row[10], "%v", row)
		}
	}
	require.Equal(t, map[string]int{"idle": 3, "spread": 3, "restart": 2, "kill": 2, "goaway": 2}, seen)
	require.Equal(t, 2, oracles)
}

func TestMistakesAreReportedTogether(t *testing.T) {
	err := run(t.Context(), []string{"-callers", "0", "-requests", "-1", "-scenarios", "idle,typhoon", "-speed", "0", "extra"}, io.Discard, io.Discard)
	for _, want := range []string{"-callers: 0", "-requests: -1", `"typhoon" is none of idle, spread, restart, kill, goaway`, `"extra"`, "-speed: 0"} {
		require.ErrorContains(t, err, want)
	}
}
