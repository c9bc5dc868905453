package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"
)

// options are the command's flags.
type options struct {
	length  time.Duration
	callers int
	every   time.Duration
	seed    uint64
	profile string
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&o.length, "for", 10*time.Minute, "how much `time` the callers go on")
	flags.IntVar(&o.callers, "callers", 500, "how many callers there are")
	flags.DurationVar(&o.every, "every", 0, "the `time` between samples (0: a 120th of -for, at least 250 ms)")
	flags.Uint64Var(&o.seed, "seed", 1, "of what is drawn: requests, faults")
	flags.StringVar(&o.profile, "profile", "", "write heap profiles of each quarter's end to files that begin with this `name`")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.every == 0 {
		o.every = max(o.length/120, 250*time.Millisecond)
	}
	var errs []error
	if flags.NArg() > 0 {
		errs = append(errs, fmt.Errorf("%q is no flag", flags.Arg(0)))
	}
	if o.callers < 1 {
		errs = append(errs, fmt.Errorf("-callers: %d are too few; there must be one", o.callers))
	}
	if o.every <= 0 || o.length < leastSamples*o.every {
		errs = append(errs, fmt.Errorf("-for: %v with a sample every %v gives fewer than %d samples; make it longer, or -every shorter", o.length, o.every, leastSamples))
	}
	return o, errors.Join(errs...)
}

// serveProcess is all that a process of servers does.
func serveProcess(seed string) int {
	if err := serve(seed, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "soak: the servers:", err)
		return 1
	}
	return 0
}

func main() {
	log.SetOutput(io.Discard) // net/http's complaints about the servers
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if seed := os.Getenv(seedVariable); seed != "" {
		os.Exit(serveProcess(seed))
	}
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err == nil {
		err = soak(ctx, o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}
