package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the command's flags.
type options struct {
	protocols []protocol
	callers   []int
	bodies    []body
	rounds    int
	least     int // rounds, whatever the budget
	fewest    int // requests per run
	most      int
	budget    time.Duration
	race      bool
	quick     bool

	csv       string
	benchstat string
	plot      string
	readmes   []string
}

func parseOptions(args []string, usage io.Writer) (*options, error) {
	o := &options{least: 3, fewest: 50, most: 1_000_000}
	fs := flag.NewFlagSet("peers", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.IntVar(&o.rounds, "rounds", 15, "rounds per cell, in each of which every client has its turn")
	fs.DurationVar(&o.budget, "budget", 4*time.Minute, "time for the cells; those that would exceed their share get fewer rounds, at least 3 unless those take thrice the share")
	fs.BoolVar(&o.race, "race", true, "let the clients meet what servers do to connections too, which takes a minute and a half")
	fs.BoolVar(&o.quick, "quick", false, "a smoke test: one round of few requests, of 1 and 16 callers unless others are given, and the race 5 times as fast; its figures mean nothing")
	fs.StringVar(&o.csv, "csv", "", "write the cells to this file, and what the race gave beside it, to -race.csv and -gaps.csv")
	fs.StringVar(&o.benchstat, "benchstat", "", "write every run to this file, as benchstat reads it")
	fs.StringVar(&o.plot, "plot", "", "draw plots (SVG) in this directory")
	readmes := fs.String("readme", "", "Markdown files in which to replace the tables between <!-- peers:NAME --> and <!-- /peers -->")
	protocols := fs.String("protocols", "http1,http2", "of http1 and http2 (over TLS)")
	callers := fs.String("callers", "1,16,128,1024", "numbers of callers")
	bodies := fs.String("bodies", "empty,4KiB,1MiB", "of empty (GET, empty response), 4KiB and 1MiB (POST, response of as much)")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}

	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if fs.NArg() > 0 {
		fail("unexpected argument %q; only flags are taken", fs.Arg(0))
	}
	if o.rounds < 1 {
		fail("-rounds: %d; at least 1 is needed, odd numbers have a true median", o.rounds)
	}
	if o.budget < time.Second {
		fail("-budget: %v; at least 1s is needed", o.budget)
	}
	o.protocols = choices("protocols", *protocols, allProtocols, fail)
	o.bodies = choices("bodies", *bodies, allBodies, fail)
	if o.quick {
		o.rounds, o.least, o.fewest, o.most, o.budget = 1, 1, 16, 200, min(o.budget, 5*time.Second)
		if !given(fs, "callers") {
			*callers = "1,16"
		}
	}
	for _, s := range list(*callers) {
		n, err := strconv.Atoi(s)
		switch {
		case err != nil || n < 1 || n > maxCallers:
			fail("-callers: %q; give numbers from 1 to %d", s, maxCallers)
		case slices.Contains(o.callers, n):
			fail("-callers: %d is given twice", n)
		default:
			o.callers = append(o.callers, n)
		}
	}
	if len(o.callers) == 0 {
		fail("-callers: none is given")
	}
	o.readmes = list(*readmes)
	return o, errors.Join(errs...)
}

// given reports whether a flag was.
func given(fs *flag.FlagSet, name string) (is bool) {
	fs.Visit(func(f *flag.Flag) { is = is || f.Name == name })
	return is
}

// maxCallers leaves room among a machine's ephemeral ports, 28,000 on Linux, of
// which every client uses as many as there are callers.
const maxCallers = 4000

// choices parses a list of some of the known words, at least one.
func choices[T ~string](name, text string, known []T, fail func(string, ...any)) []T {
	var chosen []T
	for _, s := range list(text) {
		switch {
		case !slices.Contains(known, T(s)):
			fail("-%s: %q is none of %v", name, s, known)
		case slices.Contains(chosen, T(s)):
			fail("-%s: %q is given twice", name, s)
		default:
			chosen = append(chosen, T(s))
		}
	}
	if len(list(text)) == 0 {
		fail("-%s: nothing is chosen of %v", name, known)
	}
	return chosen
}

func list(text string) []string {
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

func (o *options) cells() []cell {
	var all []cell
	for _, p := range o.protocols {
		for _, b := range o.bodies {
			for _, n := range o.callers {
				all = append(all, cell{p, n, b})
			}
		}
	}
	return all
}
