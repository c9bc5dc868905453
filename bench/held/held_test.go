package main

import (
	"bytes"
	"encoding/csv"
	"io"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/bench/internal/command"
)

// TestMain lets the test binary be the children that the command starts.
func TestMain(m *testing.M) {
	if command.InRole("held", roles) {
		return
	}
	os.Exit(m.Run())
}

func TestEveryClientsIdleConnectionsAreWeighed(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-connections", "50", "-samples", "1", "-csv"}, &out, io.Discard))
	rows, err := csv.NewReader(&out).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+len(kinds()))
	for _, row := range rows[1:] {
		weight, err := strconv.ParseFloat(row[2], 64)
		require.NoError(t, err)
		require.Greater(t, weight, 200.0, "%v: less than its sockets' records take", row)
	}
}

func TestMistakesInTheFlagsAreErrors(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), []string{"-connections", "0"}, io.Discard, io.Discard), "-connections")
}
