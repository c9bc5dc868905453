package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/idlewise/idlewise/bench/internal/table"
)

// A named table is what is printed of a measurement.
type named struct {
	table.Table
	name string // the first column of CSV
}

// A report prints tables as they come.
type report struct {
	out io.Writer
	csv io.Writer // nil: none
}

func (r report) add(t named) error {
	if err := t.Write(r.out, false); err != nil || r.csv == nil {
		return err
	}
	labelled := table.Table{Head: append([]string{"table"}, t.Head...)}
	for _, row := range t.Rows {
		labelled.Rows = append(labelled.Rows, append([]string{t.name}, row...))
	}
	return labelled.Write(r.csv, true)
}

func requestTable(rows []row, control bool) named {
	second := string(sideIdlewise)
	if control {
		second = "net/http again"
	}
	t := named{name: "requests", Table: table.Table{Head: []string{
		"protocol", "callers", "body", "context",
		"net/http ns/request", second + " ns/request", "ratio", "cpu ratio", "pairs",
		"net/http allocs", second + " allocs", "difference",
		"net/http bytes", second + " bytes",
	}}}
	for _, r := range rows {
		a, b := r.sides[0], r.sides[1]
		t.Rows = append(t.Rows, []string{
			string(r.workload.protocol), strconv.Itoa(r.workload.callers), string(r.workload.body), string(r.workload.context),
			fmt.Sprint(a.time.Nanoseconds()), fmt.Sprint(b.time.Nanoseconds()), fmt.Sprintf("%.3f", r.ratio), fmt.Sprintf("%.3f", r.cpuRatio), strconv.Itoa(r.pairs),
			fmt.Sprintf("%.1f", a.allocs), fmt.Sprintf("%.1f", b.allocs), fmt.Sprintf("%+.1f", b.allocs-a.allocs),
			fmt.Sprintf("%.0f", a.bytes), fmt.Sprintf("%.0f", b.bytes),
		})
	}
	return t
}

func memoryTable(r *idleRow) named {
	a, b := r.sides[0].Bytes, r.sides[1].Bytes
	return named{name: "memory", Table: table.Table{
		Head: []string{"idle connections", "net/http bytes each", "idlewise bytes each", "ratio"},
		Rows: [][]string{{strconv.Itoa(r.conns), fmt.Sprintf("%.0f", a), fmt.Sprintf("%.0f", b), fmt.Sprintf("%.3f", b/a)}},
	}}
}

func checkoutTable(rows []idleRow) named {
	t := named{name: "checkout", Table: table.Table{Head: []string{
		"idle connections", "net/http checkout ns", "idlewise checkout ns",
		"net/http ns/request", "idlewise ns/request", "remark",
	}}}
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
		t.Rows = append(t.Rows, cells)
	}
	return t
}
