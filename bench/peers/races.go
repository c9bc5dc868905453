package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/idlewise/idlewise/bench/internal/race"
	"github.com/idlewise/idlewise/bench/internal/table"
)

// A raced is a scenario that the clients met.
type raced struct {
	scenario race.Scenario
	options  race.Options
	lanes    []*race.Lane
}

// raceAll lets the clients meet all scenarios, those of idle connections at length.
func raceAll(ctx context.Context, o *options, progress io.Writer) ([]*raced, error) {
	var all []*raced
	for _, sc := range race.Scenarios {
		r := &raced{scenario: sc, options: race.Options{Seed: 1, Speed: 1}}
		switch sc.Name {
		case "idle":
			r.options.Callers, r.options.Requests = 24, 24*120
		case "spread":
			r.options.Callers, r.options.Requests = 16, 640
		default:
			r.options.Callers, r.options.Requests = 16, 1920
		}
		if o.quick {
			r.options.Callers, r.options.Requests, r.options.Speed = 8, 96, 5
		}
		fmt.Fprintf(progress, "race %s\n", sc.Name)
		var err error
		if r.lanes, err = sc.Run(ctx, &r.options); err != nil {
			return nil, fmt.Errorf("race %s: %w", sc.Name, err)
		}
		all = append(all, r)
	}
	return all, nil
}

func (r *raced) table() table.Table { return r.scenario.Report(&r.options, r.lanes) }

// shortTable has what matters most of table.
func (r *raced) shortTable() table.Table {
	t := table.Table{Head: []string{"client", "requests", "failed", "POST executed twice", "connections per request", "to oracle's"}}
	for _, row := range r.table().Rows {
		t.Rows = append(t.Rows, []string{row[0], row[1], "-", row[6], row[8], row[9]})
	}
	for i, l := range r.lanes {
		failed := 0
		for _, c := range l.Calls {
			if c.Err != nil {
				failed++
			}
		}
		t.Rows[i][2] = fmt.Sprint(failed)
	}
	return t
}

func (r *raced) keepAlive() time.Duration {
	return time.Duration(float64(r.scenario.KeepAlive) / r.options.Speed)
}

// binWidth is that of the bins of gaps, as a share of the keep-alive.
const binWidth = 0.005

// A bin is what became of the requests that came after gaps of about the same
// length. Those that neither failed nor opened a connection used the idle one.
type bin struct {
	from     float64 // the shortest gap, as a share of the keep-alive
	requests int
	failed   int
	opened   int
}

// gaps sorts a lane's requests into bins, without those to which no idle
// connection was left.
func (r *raced) gaps(l *race.Lane) []bin {
	bins := make([]bin, int(math.Round((race.FarthestGap-race.NearestGap)/binWidth)))
	for i := range bins {
		bins[i].from = race.NearestGap + float64(i)*binWidth
	}
	holds := make(map[int]bool) // the caller has a connection
	for _, c := range l.Calls {
		i := int((float64(c.Gap)/float64(r.keepAlive()) - race.NearestGap) / binWidth)
		if holds[c.Caller] && i >= 0 && i < len(bins) {
			b := &bins[i]
			b.requests++
			switch {
			case c.Err != nil:
				b.failed++
			case c.Dials > 0:
				b.opened++
			}
		}
		holds[c.Caller] = c.Err == nil
	}
	return bins
}

// gapTable has the bins of all lanes.
func (r *raced) gapTable() table.Table {
	t := table.Table{Head: []string{"client", "gap/keep-alive from", "to", "requests", "failed", "opened a connection"}}
	for _, l := range r.lanes {
		for _, b := range r.gaps(l) {
			t.Rows = append(t.Rows, []string{
				l.Client, fmt.Sprintf("%.3f", b.from), fmt.Sprintf("%.3f", b.from+binWidth),
				fmt.Sprint(b.requests), fmt.Sprint(b.failed), fmt.Sprint(b.opened),
			})
		}
	}
	return t
}

// raceTable has the rows of all scenarios.
func raceTable(races []*raced) table.Table {
	var all table.Table
	for _, r := range races {
		t := r.table()
		all.Head = append([]string{"scenario"}, t.Head...)
		for _, row := range t.Rows {
			all.Rows = append(all.Rows, append([]string{r.scenario.Name}, row...))
		}
	}
	return all
}
