package main

import (
	"fmt"
	"io"
	"strconv"
	"time"
)

const (
	tableHead = "" +
		"                          errors by method    executed twice  conns latency, ms\n" +
		"transport       requests  GET PUT DELETE POST   POST others  opened   p50   p99\n"
	// A space stands before every number, so that one that is too long for its
	// column does not run into the one before.
	tableRow = "%-14s %9d %4s %3s %6s %4s %6s %6s %7d %5s %5s\n"
)

// printTable prints a row for each result, in 79 columns.
func printTable(w io.Writer, rows ...result) {
	fmt.Fprint(w, tableHead)
	for _, r := range rows {
		fmt.Fprintf(w, tableRow, r.name, r.requests,
			r.errorCell("GET"), r.errorCell("PUT"), r.errorCell("DELETE"), r.errorCell("POST"),
			twiceCell(r.postTwice), twiceCell(r.othersTwice),
			r.connections, milliseconds(r.p50), milliseconds(r.p99))
	}
}

func (r result) errorCell(method string) string {
	n, sent := r.errors[method]
	if !sent {
		return "-"
	}
	return strconv.Itoa(n)
}

func twiceCell(n int) string {
	if n == notCounted {
		return "n/a"
	}
	return strconv.Itoa(n)
}

func milliseconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	digits := 2
	if d >= 10*time.Millisecond {
		digits = 0
	}
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', digits, 64)
}
