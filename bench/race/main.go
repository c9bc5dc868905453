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
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

type options struct {
	callers   int
	requests  int
	seed      uint64
	scenarios []string
	csv       bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "race:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, usage io.Writer) error {
	o, err := parse(args, usage)
	if err != nil {
		return err
	}
	for _, sc := range scenarios {
		if !slices.Contains(o.scenarios, sc.name) {
			continue
		}
		lanes, err := sc.run(ctx, o)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := report(out, &sc, lanes, o.csv); err != nil {
			return err
		}
	}
	return nil
}

func parse(args []string, usage io.Writer) (*options, error) {
	o := &options{}
	var names []string
	for _, sc := range scenarios {
		names = append(names, sc.name)
	}
	fs := flag.NewFlagSet("race", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.IntVar(&o.callers, "callers", 16, "callers per peer")
	fs.IntVar(&o.requests, "requests", 480, "requests per peer and scenario, shared among the callers")
	fs.Uint64Var(&o.seed, "seed", 1, "of the gaps and methods")
	fs.BoolVar(&o.csv, "csv", false, "print CSV instead of Markdown")
	list := fs.String("scenarios", strings.Join(names, ","), "which to run")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	var errs []error
	if fs.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q; only flags are taken", fs.Arg(0)))
	}
	if o.callers < 1 || o.callers > 1000 {
		errs = append(errs, fmt.Errorf("-callers: %d; give 1 to 1000", o.callers))
	}
	if o.requests < o.callers || o.requests > 1_000_000 {
		errs = append(errs, fmt.Errorf("-requests: %d; give one for each of the %d callers or more, up to a million", o.requests, o.callers))
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
func report(out io.Writer, sc *scenario, lanes []*lane, asCSV bool) error {
	head := []string{"client", "requests", "GET errors", "PUT errors", "DELETE errors", "POST errors", "POST executed twice", "connections", "p50 ms", "p99 ms"}
	var rows [][]string
	for _, l := range lanes {
		slices.Sort(l.took)
		row := []string{l.peer.name, fmt.Sprint(l.sent)}
		for _, m := range methods {
			row = append(row, fmt.Sprint(l.errors[m]))
		}
		rows = append(rows, append(row, fmt.Sprint(l.twice("POST")), fmt.Sprint(l.dials.Load()), ms(l.took, 50), ms(l.took, 99)))
	}
	if asCSV {
		w := csv.NewWriter(out)
		w.Write(append([]string{"scenario"}, head...))
		for _, r := range rows {
			w.Write(append([]string{sc.name}, r...))
		}
		w.Flush()
		return w.Error()
	}
	fmt.Fprintf(out, "%s:\n\n| %s |\n|%s\n", sc.title, strings.Join(head, " | "), strings.Repeat(" ---: |", len(head)))
	for _, r := range rows {
		fmt.Fprintf(out, "| %s |\n", strings.Join(r, " | "))
	}
	fmt.Fprintln(out)
	for _, l := range lanes {
		if len(l.causes) > 0 {
			fmt.Fprintf(out, "%s: %s\n", l.peer.name, l.causesText())
		}
	}
	_, err := fmt.Fprintln(out)
	return err
}

func ms(sorted []time.Duration, percent int) string {
	if len(sorted) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(sorted[(len(sorted)-1)*percent/100])/float64(time.Millisecond))
}

// cause is the end of an error's text, which says what happened on the wire.
func cause(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}

func (l *lane) causesText() string {
	var parts []string
	for text, n := range l.causes {
		parts = append(parts, fmt.Sprintf("%d × %q", n, text))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
