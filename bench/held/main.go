// Command held measures the memory of an idle connection, beside the other ways to
// call a server from Go.
//
//	go run ./held
//
// Each sample is taken in a process of its own, from a server in another: as many
// callers as there are to be connections ask at once, the server answers when all
// have, and what the process then holds more than before is divided among them.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/bench/internal/child"
	"github.com/idlewise/idlewise/bench/internal/clients"
	"github.com/idlewise/idlewise/bench/internal/command"
	"github.com/idlewise/idlewise/bench/internal/server"
	"github.com/idlewise/idlewise/bench/internal/table"
)

const (
	roleHold      = "hold"
	orderVariable = "IDLEWISE_BENCH_ORDER"
	maxHeld       = 10_000
)

// roles are what the command starts itself for.
var roles = map[string]child.Role{server.Role: server.Serve, roleHold: hold}

func main() { command.Main("held", roles, run) }

func run(ctx context.Context, args []string, out, usage io.Writer) error {
	fs := flag.NewFlagSet("held", flag.ContinueOnError)
	fs.SetOutput(usage)
	conns := fs.Int("connections", 1000, "how many are idle")
	samples := fs.Int("samples", 3, "processes per client, of which the median is given")
	asCSV := fs.Bool("csv", false, "print CSV instead of Markdown")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *conns < 1 || *conns > maxHeld || *samples < 1 {
		return fmt.Errorf("-connections: give 1 to %d; -samples: at least 1", maxHeld)
	}
	t := table.Table{Head: []string{"client", "idle connections", "bytes each", "to net/http's"}}
	first := 0.0
	for i, k := range kinds() {
		var bytes []float64
		for range *samples {
			b, err := sample(ctx, i, *conns)
			if err != nil {
				return fmt.Errorf("%s: %w", k.Name, err)
			}
			bytes = append(bytes, b)
		}
		slices.Sort(bytes)
		median := bytes[len(bytes)/2]
		if i == 0 {
			first = median
		}
		t.Rows = append(t.Rows, []string{k.Name, fmt.Sprint(*conns), fmt.Sprintf("%.0f", median), fmt.Sprintf("%.2f", median/first)})
	}
	return t.Write(out, *asCSV)
}

// kinds are those that are compared, net/http first.
func kinds() []clients.Kind {
	return append(slices.Clone(clients.Peers), clients.Idlewise("idlewise", idlewise.Policy{}))
}

// An order tells a child what to hold.
type order struct {
	Kind   int // of kinds
	Conns  int
	Server server.Ready
}

// sample has one taken.
func sample(ctx context.Context, kind, conns int) (bytes float64, err error) {
	srv, err := server.Start(ctx)
	if err != nil {
		return 0, err
	}
	defer srv.Stop()
	o, err := json.Marshal(order{kind, conns, srv.Ready})
	if err != nil {
		return 0, err
	}
	// Else new goroutines' stacks begin with what was the average at some collection
	// of garbage, and whoever is measured when that was large pays for it.
	c, err := child.Start(ctx, roleHold, orderVariable+"="+string(o), "GODEBUG=adaptivestackstart=0")
	if err != nil {
		return 0, err
	}
	err = c.Read(&bytes)
	c.Stop() // it may not have got to its end; its answer is what counts
	return bytes, err
}
