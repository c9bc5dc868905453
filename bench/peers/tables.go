package main

import (
	"fmt"
	"time"

	"github.com/idlewise/idlewise/bench/internal/table"
)

// cellTable has a row for each client in each cell.
func cellTable(results []*result) table.Table {
	t := table.Table{Head: []string{
		"protocol", "callers", "body", "client", "requests/s", "ratio", "quartiles", "cpu ratio", "p50 ms", "p99 ms", "p99.9 ms", "allocs", "bytes", "connections", "errors",
	}}
	for _, r := range results {
		s := r.summary()
		t.Rows = append(t.Rows, []string{
			string(r.cell.protocol), fmt.Sprint(r.cell.callers), string(r.cell.body), r.client,
			fmt.Sprintf("%.0f", s.perSecond()), fmt.Sprintf("%.2f", s.ratio), fmt.Sprintf("%.2f–%.2f", s.low, s.high), fmt.Sprintf("%.2f", s.cpuRatio),
			ms(s.p50), ms(s.p99), ms(s.p999),
			fmt.Sprintf("%.0f", s.allocs), fmt.Sprintf("%.0f", s.bytes), fmt.Sprint(r.conns), fmt.Sprint(s.errors),
		})
	}
	return t
}

func ms(d time.Duration) string {
	v := float64(d) / float64(time.Millisecond)
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
