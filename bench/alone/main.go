// Command alone measures what a transport costs the program that uses it, without a
// network and a server: its connections answer from memory, and all of it runs on
// one processor.
//
//	go run ./alone
//
// Over sockets, system calls and the waking of processors are most of what a
// request takes, and on a busy machine they vary by more than there is between two
// transports. What is left here is the transport's own work, whose ratio comes out
// the same within a few percent on a machine that has much else to do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/bench/internal/child"
	"github.com/idlewise/idlewise/bench/internal/command"
	"github.com/idlewise/idlewise/bench/internal/table"
)

func main() { command.Main("alone", nil, run) }

func run(ctx context.Context, args []string, out, usage io.Writer) error {
	fs := flag.NewFlagSet("alone", flag.ContinueOnError)
	fs.SetOutput(usage)
	rounds := fs.Int("rounds", 41, "pairs of runs per row, of which the median is given")
	requests := fs.Int("requests", 3000, "requests per run")
	asCSV := fs.Bool("csv", false, "print CSV instead of Markdown")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 || *requests < 1 {
		return errors.New("-rounds and -requests: at least 1 is needed")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))

	t := table.Table{Head: []string{"context", "goroutines", "net/http cpu ns", "idlewise cpu ns", "ratio", "net/http allocs", "idlewise allocs"}}
	for _, w := range workloads {
		r, err := compare(ctx, w, *rounds, *requests)
		if err != nil {
			return err
		}
		t.Rows = append(t.Rows, []string{w.context, w.goroutines,
			fmt.Sprint(r.cpu[0].Nanoseconds()), fmt.Sprint(r.cpu[1].Nanoseconds()), fmt.Sprintf("%.3f", r.ratio),
			fmt.Sprintf("%.1f", r.allocs[0]), fmt.Sprintf("%.1f", r.allocs[1])})
	}
	return t.Write(out, *asCSV)
}

// A workload is what a row measures.
type workload struct {
	context    string
	goroutines string
	cancelable bool
	fresh      bool // a goroutine for each request
}

var workloads = []workload{
	{"background", "one", false, false},
	{"cancelable", "one", true, false},
	{"background", "one per request", false, true},
	{"cancelable", "one per request", true, true},
}

// A result has net/http's part first, each per request.
type result struct {
	cpu    [2]time.Duration // medians
	ratio  float64          // of idlewise's to net/http's, the rounds' median
	allocs [2]float64
}

func compare(ctx context.Context, w workload, rounds, requests int) (result, error) {
	plain := base()
	defer plain.CloseIdleConnections()
	wise, err := idlewise.New(idlewise.Config{Base: base()})
	if err != nil {
		return result{}, err
	}
	defer wise.Close()
	sides := [2]http.RoundTripper{plain, wise}

	var r result
	for i, rt := range sides {
		if err := w.drive(ctx, rt, requests); err != nil { // opens the connection, too
			return result{}, err
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := w.drive(ctx, rt, requests); err != nil {
			return result{}, err
		}
		runtime.ReadMemStats(&after)
		r.allocs[i] = float64(after.Mallocs-before.Mallocs) / float64(requests)
	}
	var cpus [2][]time.Duration
	var ratios []float64
	for round := range rounds {
		var cpu [2]time.Duration
		for turn := range sides {
			i := (turn + round) % len(sides) // who begins alternates
			began := used()
			if err := w.drive(ctx, sides[i], requests); err != nil {
				return result{}, err
			}
			cpu[i] = used() - began
			cpus[i] = append(cpus[i], cpu[i]/time.Duration(requests))
		}
		ratios = append(ratios, float64(cpu[1])/float64(max(cpu[0], 1)))
	}
	r.ratio = median(ratios)
	r.cpu[0], r.cpu[1] = median(cpus[0]), median(cpus[1])
	return r, nil
}

// start stands for the clock where the processor time is not known.
var start = time.Now()

// used is the processor time that the process has used; with one processor and
// nothing to wait for, the time that passed says the same, if less precisely.
func used() time.Duration {
	if cpu := child.CPUTime(); cpu > 0 {
		return cpu
	}
	return time.Since(start)
}

func median[T ~int64 | ~float64](xs []T) T {
	slices.Sort(xs)
	n := len(xs)
	return (xs[(n-1)/2] + xs[n/2]) / 2
}
