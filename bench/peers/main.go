// Command peers measures plain requests through idlewise beside the other ways to
// call a server from Go, and what closed connections do to each of them.
//
//	go run ./peers
//
// The server of the plain requests runs in another process. All clients make the
// same requests in turns, and their times are given in relation to net/http's. See
// README.md.
package main

import (
	"context"
	"fmt"
	"io"

	"github.com/idlewise/idlewise/bench/internal/child"
	"github.com/idlewise/idlewise/bench/internal/command"
	"github.com/idlewise/idlewise/bench/internal/server"
)

// roles are what the command starts itself for.
var roles = map[string]child.Role{server.Role: server.Serve}

func main() { command.Main("peers", roles, run) }

// run is the command. The tables go to out, progress and reasons to progress.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parseOptions(args, progress)
	if err != nil {
		return err
	}
	results, err := measureAll(ctx, o, progress)
	if err != nil {
		return err
	}
	var races []*raced
	if o.race {
		if races, err = raceAll(ctx, o, progress); err != nil {
			return err
		}
	}
	return report(o, results, races, out)
}

// report prints the tables and writes whatever files were asked for.
func report(o *options, results []*result, races []*raced, out io.Writer) error {
	if err := cellTable(results).Write(out, false); err != nil {
		return err
	}
	for _, r := range races {
		fmt.Fprintf(out, "%s:\n\n", r.scenario.Title)
		if err := r.table().Write(out, false); err != nil {
			return err
		}
	}
	if o.csv != "" {
		if err := writeCSV(o.csv, results, races); err != nil {
			return err
		}
	}
	if o.benchstat != "" {
		if err := writeBenchstat(o.benchstat, results); err != nil {
			return err
		}
	}
	if o.plot != "" {
		if err := drawAll(o, results, races); err != nil {
			return err
		}
	}
	texts := sections(results, races)
	for _, file := range o.readmes {
		if err := rewrite(file, texts); err != nil {
			return err
		}
	}
	return nil
}
