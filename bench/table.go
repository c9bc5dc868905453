package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A table is what is printed.
type table struct {
	head []string
	rows [][]string
}

func (t table) write(w io.Writer, asCSV bool) error {
	if asCSV {
		c := csv.NewWriter(w)
		c.Write(t.head)
		c.WriteAll(t.rows)
		if err := c.Error(); err != nil {
			return err
		}
		_, err := fmt.Fprintln(w)
		return err
	}
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.head)
	rule := make([]string, len(t.head))
	for i := range rule {
		rule[i] = "---:"
	}
	line(rule)
	for _, r := range t.rows {
		line(r)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

func requestTable(rows []row) table {
	t := table{head: []string{
		"protocol", "callers", "body", "context",
		"net/http ns/request", "idlewise ns/request", "ratio", "cpu ratio", "pairs",
		"net/http allocs", "idlewise allocs", "difference",
		"net/http bytes", "idlewise bytes",
	}}
	for _, r := range rows {
		a, b := r.sides[0], r.sides[1]
		t.rows = append(t.rows, []string{
			string(r.workload.protocol), strconv.Itoa(r.workload.callers), string(r.workload.body), string(r.workload.context),
			fmt.Sprint(a.time.Nanoseconds()), fmt.Sprint(b.time.Nanoseconds()), fmt.Sprintf("%.3f", r.ratio), fmt.Sprintf("%.3f", r.cpuRatio), strconv.Itoa(r.pairs),
			fmt.Sprintf("%.1f", a.allocs), fmt.Sprintf("%.1f", b.allocs), fmt.Sprintf("%+.1f", b.allocs-a.allocs),
			fmt.Sprintf("%.0f", a.bytes), fmt.Sprintf("%.0f", b.bytes),
		})
	}
	return t
}

func memoryTable(r *idleRow) table {
	a, b := r.sides[0].Bytes, r.sides[1].Bytes
	return table{
		head: []string{"idle connections", "net/http bytes each", "idlewise bytes each", "ratio"},
		rows: [][]string{{strconv.Itoa(r.conns), fmt.Sprintf("%.0f", a), fmt.Sprintf("%.0f", b), fmt.Sprintf("%.3f", b/a)}},
	}
}

func checkoutTable(rows []idleRow) table {
	t := table{head: []string{
		"idle connections", "net/http checkout ns", "idlewise checkout ns",
		"net/http ns/request", "idlewise ns/request", "remark",
	}}
	for _, r := range rows {
		cells := []string{strconv.Itoa(r.conns), "", "", "", "", ""}
		if r.skipped != "" {
			cells[5] = "skipped: " + r.skipped
		} else {
			for i, s := range r.sides {
				cells[1+i] = fmt.Sprint(s.Checkout.Nanoseconds())
				cells[3+i] = fmt.Sprint(s.Request.Nanoseconds())
			}
		}
		t.rows = append(t.rows, cells)
	}
	return t
}
