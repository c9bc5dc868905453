package race

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/idlewise/idlewise/bench/internal/table"
)

// Report is the scenario's table. Where callers are alone, its last row is the
// oracle's, for the gaps of the first lane.
func (sc Scenario) Report(o *Options, lanes []*Lane) table.Table {
	keepAlive := sc.at(o).KeepAlive
	t := table.Table{Head: []string{"client", "requests"}}
	for _, m := range Methods {
		t.Head = append(t.Head, m+" errors")
	}
	t.Head = append(t.Head, "POST executed twice", "connections", "per request", "to oracle's", "p50 ms", "p99 ms", "p99.9 ms")
	for _, l := range lanes {
		failed := make(map[string]int)
		var took []time.Duration
		for _, c := range l.Calls {
			if c.Err != nil {
				failed[c.Method]++
			} else {
				took = append(took, c.Took)
			}
		}
		slices.Sort(took)
		row := []string{l.Client, fmt.Sprint(len(l.Calls))}
		for _, m := range Methods {
			row = append(row, fmt.Sprint(failed[m]))
		}
		ratio := "-"
		if sc.Alone {
			ratio = fmt.Sprintf("%.2f", float64(l.Conns)/float64(l.Oracle(keepAlive)))
		}
		t.Rows = append(t.Rows, append(row, fmt.Sprint(l.Twice("POST")),
			fmt.Sprint(l.Conns), perRequest(l.Conns, len(l.Calls)), ratio,
			ms(took, 0.5), ms(took, 0.99), ms(took, 0.999)))
	}
	if sc.Alone && len(lanes) > 0 {
		l := lanes[0]
		n := l.Oracle(keepAlive)
		row := slices.Repeat([]string{"-"}, len(t.Head))
		row[0], row[1] = "oracle", fmt.Sprint(len(l.Calls))
		row[7], row[8], row[9] = fmt.Sprint(n), perRequest(n, len(l.Calls)), "1.00"
		t.Rows = append(t.Rows, row)
	}
	return t
}

func perRequest(conns, requests int) string {
	return fmt.Sprintf("%.3f", float64(conns)/float64(max(1, requests)))
}

// Causes says how the requests that failed did, in the errors' last words, which
// are those of the wire.
func (l *Lane) Causes() string {
	causes := make(map[string]int)
	for _, c := range l.Calls {
		if c.Err != nil {
			text := c.Err.Error()
			causes[text[strings.LastIndex(text, ": ")+1:]]++
		}
	}
	var parts []string
	for text, n := range causes {
		parts = append(parts, fmt.Sprintf("%d × %q", n, strings.TrimSpace(text)))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func ms(sorted []time.Duration, share float64) string {
	if len(sorted) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(Quantile(sorted, share))/float64(time.Millisecond))
}

// Quantile is that of sorted times, of which there must be one: 0.5 is the
// median's.
func Quantile(sorted []time.Duration, share float64) time.Duration {
	return sorted[int(float64(len(sorted)-1)*share)]
}
