// Command race lets the ways to call a server from Go meet what servers do to
// connections: close them while they are idle, restart, reset them, send GOAWAY. It
// prints what their callers saw, and what the servers' journals say was executed.
//
//	go run ./race
//
// All peers run at the same time, each against a server of its own, with the same
// requests at the same gaps. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/idlewise/idlewise/bench/internal/command"
	"github.com/idlewise/idlewise/bench/internal/race"
)

type options struct {
	race.Options
	scenarios []string
	csv       bool
}

func main() { command.Main("race", nil, run) }

func run(ctx context.Context, args []string, out, usage io.Writer) error {
	o, err := parse(args, usage)
	if err != nil {
		return err
	}
	for _, sc := range race.Scenarios {
		if !slices.Contains(o.scenarios, sc.Name) {
			continue
		}
		lanes, err := sc.Run(ctx, &o.Options)
		if err != nil {
			return err
		}
		if err := report(out, &sc, o, lanes); err != nil {
			return err
		}
	}
	return nil
}

func parse(args []string, usage io.Writer) (*options, error) {
	o := &options{}
	var names []string
	for _, sc := range race.Scenarios {
		names = append(names, sc.Name)
	}
	fs := flag.NewFlagSet("race", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.IntVar(&o.Callers, "callers", 16, "callers per peer")
	fs.IntVar(&o.Requests, "requests", 480, "requests per peer and scenario, shared among the callers")
	fs.Uint64Var(&o.Seed, "seed", 1, "of the gaps and methods")
	fs.Float64Var(&o.Speed, "speed", 1, "how many times faster than stated the servers' keep-alive passes")
	fs.BoolVar(&o.csv, "csv", false, "print CSV instead of Markdown")
	list := fs.String("scenarios", strings.Join(names, ","), "which to run")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	var errs []error
	if fs.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q; only flags are taken", fs.Arg(0)))
	}
	if o.Callers < 1 || o.Callers > 1000 {
		errs = append(errs, fmt.Errorf("-callers: %d; give 1 to 1000", o.Callers))
	}
	if o.Requests < o.Callers || o.Requests > 1_000_000 {
		errs = append(errs, fmt.Errorf("-requests: %d; give one for each of the %d callers or more, up to a million", o.Requests, o.Callers))
	}
	if !(o.Speed > 0 && o.Speed <= 1000) {
		errs = append(errs, fmt.Errorf("-speed: %v; give more than 0, up to 1000", o.Speed))
	}
	o.scenarios = strings.Split(*list, ",")
	for _, name := range o.scenarios {
		if !slices.Contains(names, name) {
			errs = append(errs, fmt.Errorf("-scenarios: %q is none of %s", name, strings.Join(names, ", ")))
		}
	}
	return o, errors.Join(errs...)
}

// report prints a scenario's table.
func report(out io.Writer, sc *race.Scenario, o *options, lanes []*race.Lane) error {
	t := sc.Report(&o.Options, lanes)
	if o.csv {
		t.Head = append([]string{"scenario"}, t.Head...)
		for i, r := range t.Rows {
			t.Rows[i] = append([]string{sc.Name}, r...)
		}
		return t.CSV(out)
	}
	fmt.Fprintf(out, "%s:\n\n", sc.Title)
	if err := t.Write(out, false); err != nil {
		return err
	}
	for _, l := range lanes {
		if causes := l.Causes(); causes != "" {
			fmt.Fprintf(out, "%s: %s\n", l.Client, causes)
		}
	}
	_, err := fmt.Fprintln(out)
	return err
}
