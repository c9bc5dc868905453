package main

import (
	"bytes"
	"encoding/csv"
	"io"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryWorkloadIsMeasured(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-rounds", "2", "-requests", "100", "-csv"}, &out, io.Discard))
	rows, err := csv.NewReader(&out).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+len(workloads))
	for _, row := range rows[1:] {
		for _, cell := range row[2:] {
			v, err := strconv.ParseFloat(cell, 64)
			require.NoError(t, err)
			require.Positive(t, v, row)
		}
	}
}

// Allocations do not depend on the machine: the claim of three fewer is asked here.
func TestIdlewiseAllocatesLess(t *testing.T) {
	for _, w := range workloads {
		r, err := compare(t.Context(), w, 1, 2000)
		require.NoError(t, err)
		require.LessOrEqual(t, r.allocs[1], r.allocs[0]-3, "%+v", w)
	}
}

func TestMistakesInTheFlagsAreErrors(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), []string{"-rounds", "0"}, io.Discard, io.Discard), "-rounds")
	require.Error(t, run(t.Context(), []string{"-no-such-flag"}, io.Discard, io.Discard))
}
