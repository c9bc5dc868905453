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
	pairs     int
	requests  int
	perCaller int
	budget    time.Duration
	control   bool
	samples   int
	idle      int
	checkout  []int
	csv       string
	profile   string

	protocols []protocol
	callers   []int
	bodies    []body
	contexts  []contextKind

	upstreams []int
	keepings  []keeping
	dials     int
	redials   []redial
}

func parseOptions(args []string, usage io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.IntVar(&o.pairs, "pairs", 11, "pairs of runs per row, of which the median is given")
	fs.IntVar(&o.requests, "requests", 3000, "requests per run, shared among the callers")
	fs.IntVar(&o.perCaller, "per-caller", 100, "and at least so many requests of each caller")
	fs.DurationVar(&o.budget, "budget", 75*time.Second, "time for the rows of requests; rows that would exceed their share get fewer pairs, at least 3")
	fs.BoolVar(&o.control, "control", false, "compare http.Transport with itself in the rows of requests, to see how much of a ratio is chance")
	fs.IntVar(&o.samples, "samples", 3, "processes per transport for memory and checkout, of which the median is given")
	fs.IntVar(&o.idle, "idle", 2000, "idle connections for the memory of one; 0 leaves it out")
	fs.IntVar(&o.dials, "dials", 100, "requests per run of redials")
	fs.StringVar(&o.csv, "csv", "", "write the tables as CSV to this `file` too; - is standard output, without Markdown")
	fs.StringVar(&o.profile, "profile", "", "write CPU and allocation profiles of each row and transport to this directory, and measure nothing")
	checkout := fs.String("checkout", "10,1000,10000", "numbers of idle connections to get one from; empty leaves it out")
	upstreams := fs.String("upstreams", "10000", "numbers of upstreams to send a request to each of; empty leaves it out")
	keepings := fs.String("connections", "kept,limited,closed", "of upstreams: all kept idle, at most 1,024 of them, none")
	redials := fs.String("redials", "tcp,tls1.3,tls1.3-resumed,http2,http2-resumed", "ways to open a connection of these, tls1.2 and tls1.2-resumed; empty leaves it out")
	protocols := fs.String("protocols", "http1,http2", "of http1, https1, http2 (over TLS), h2c")
	callers := fs.String("callers", "1,16,128", "numbers of callers; empty leaves requests out")
	bodies := fs.String("bodies", "empty,4KiB", "of empty (GET, empty response) and 4KiB (POST, response of as much)")
	contexts := fs.String("contexts", "background,cancelable", "of background and cancelable")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}

	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if fs.NArg() > 0 {
		fail("unexpected argument %q; only flags are taken", fs.Arg(0))
	}
	if o.pairs < 1 {
		fail("-pairs: %d; at least 1 is needed, odd numbers have a true median", o.pairs)
	}
	if o.requests < 1 {
		fail("-requests: %d; at least 1 is needed", o.requests)
	}
	if o.samples < 1 {
		fail("-samples: %d; at least 1 is needed", o.samples)
	}
	if o.idle < 0 || o.idle > maxIdle {
		fail("-idle: %d; give 0 to %d", o.idle, maxIdle)
	}
	if o.budget < time.Second {
		fail("-budget: %v; at least 1s is needed", o.budget)
	}
	o.checkout = numbers("checkout", *checkout, maxIdle, fail)
	o.upstreams = numbers("upstreams", *upstreams, maxIdle, fail)
	o.keepings = choices("connections", *keepings, allKeepings, fail)
	if strings.TrimSpace(*redials) != "" {
		o.redials = choices("redials", *redials, allRedials, fail)
	}
	if o.dials < 1 || o.dials > maxDials {
		fail("-dials: %d; give 1 to %d", o.dials, maxDials)
	}
	o.callers = numbers("callers", *callers, maxCallers, fail)
	o.protocols = choices("protocols", *protocols, allProtocols, fail)
	o.bodies = choices("bodies", *bodies, []body{bodyEmpty, body4KiB}, fail)
	o.contexts = choices("contexts", *contexts, []contextKind{contextBackground, contextCancelable}, fail)
	if n := slices.Max(append([]int{0}, o.callers...)); o.requests > 0 && n > o.requests {
		fail("-requests: %d is fewer than %d callers; each must send one", o.requests, n)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return o, nil
}

const (
	// maxIdle leaves room among a machine's ephemeral ports, 28,000 on Linux.
	maxIdle = 20000
	// maxDials is for the same reason: a closed connection holds its port for
	// a minute.
	maxDials = 500
	// maxCallers is what Go's HTTP/2 server permits streams on a connection.
	maxCallers = 250
)

// numbers parses a list of positive numbers without repetitions.
func numbers(name, list string, limit int, fail func(string, ...any)) []int {
	var ns []int
	for _, s := range split(list) {
		n, err := strconv.Atoi(s)
		switch {
		case err != nil:
			fail("-%s: %q is no number", name, s)
		case n < 1 || n > limit:
			fail("-%s: %d; give 1 to %d", name, n, limit)
		case slices.Contains(ns, n):
			fail("-%s: %d is given twice", name, n)
		default:
			ns = append(ns, n)
		}
	}
	return ns
}

// choices parses a list of some of the known words, at least one.
func choices[T ~string](name, list string, known []T, fail func(string, ...any)) []T {
	var chosen []T
	for _, s := range split(list) {
		switch {
		case !slices.Contains(known, T(s)):
			fail("-%s: %q is none of %v", name, s, known)
		case slices.Contains(chosen, T(s)):
			fail("-%s: %q is given twice", name, s)
		default:
			chosen = append(chosen, T(s))
		}
	}
	if strings.TrimSpace(list) == "" {
		fail("-%s: nothing is chosen of %v", name, known)
	}
	return chosen
}

func split(list string) []string {
	if strings.TrimSpace(list) == "" {
		return nil
	}
	parts := strings.Split(list, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// workloads are the rows of requests.
func (o *options) workloads() []workload {
	var all []workload
	for _, p := range o.protocols {
		for _, n := range o.callers {
			for _, b := range o.bodies {
				for _, c := range o.contexts {
					all = append(all, workload{p, n, b, c})
				}
			}
		}
	}
	return all
}

// perRun is how many requests a run of w has. Each run's goroutines are new, and the
// first request of one makes its stack grow, which `go run ./alone` measures.
func (o *options) perRun(w workload) int { return max(o.requests, o.perCaller*w.callers) }

// perShortRun is how many requests open the connections and, in runs of their own,
// are counted the allocations of. It grows with the callers: with two requests of
// each, connections were still being opened while allocations were counted.
func (o *options) perShortRun(w workload) int { return max(o.perRun(w)/4, w.callers) }
