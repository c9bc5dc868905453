package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/idlewise/idlewise/bench/internal/table"
)

// writeCSV writes the cells to the file, and the races beside it.
func writeCSV(file string, results []*result, races []*raced) error {
	if err := writeTable(file, cellTable(results)); err != nil || len(races) == 0 {
		return err
	}
	stem := strings.TrimSuffix(file, ".csv")
	if err := writeTable(stem+"-race.csv", raceTable(races)); err != nil {
		return err
	}
	for _, r := range races {
		if r.scenario.Name == "idle" {
			return writeTable(stem+"-gaps.csv", r.gapTable())
		}
	}
	return nil
}

func writeTable(file string, t table.Table) error {
	var b bytes.Buffer
	if err := t.CSV(&b); err != nil {
		return err
	}
	return writeFile(file, b.Bytes())
}

// writeFile makes the directory too, if it is missing.
func writeFile(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

// writeBenchstat writes a line for every run, in the format of Go's benchmarks.
func writeBenchstat(file string, results []*result) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\npkg: github.com/idlewise/idlewise/bench/peers\n", runtime.GOOS, runtime.GOARCH)
	for _, r := range results {
		// A slash would begin the next part of the name.
		client := strings.ReplaceAll(r.client, "/", "-")
		for _, run := range r.runs {
			fmt.Fprintf(&b, "BenchmarkRequest/proto=%s/callers=%d/body=%s/client=%s \t%d\t%d ns/op\t%d p50-ns\t%d p99-ns\t%d B/op\t%d allocs/op\n",
				r.cell.protocol, r.cell.callers, r.cell.body, client, run.requests,
				run.perRequest().Nanoseconds(), nanoseconds(run.each, 0.5), nanoseconds(run.each, 0.99),
				run.bytes/uint64(run.requests), run.allocs/uint64(run.requests))
		}
	}
	return writeFile(file, b.Bytes())
}

func nanoseconds(sorted []time.Duration, share float64) int64 {
	return ofSorted(sorted, share).Nanoseconds()
}
