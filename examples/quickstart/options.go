package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"time"
)

// Bounds that keep a slip of the finger from becoming a load test.
const (
	maxCallers  = 256
	maxRequests = 100_000
	maxDuration = time.Hour
)

// options are what the command line says, complete and checked, except for a
// gap of 0: it is to be asked of the server.
type options struct {
	url       string // "": the example's own servers
	post      bool
	gap       time.Duration
	keepAlive time.Duration // 0: what idlewise finds out
	callers   int           // per transport
	requests  int           // per transport
	duration  time.Duration
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var opt options
	fs := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are printed once, by the caller
	fs.StringVar(&opt.url, "url", "", "compare against the server at this `URL`, with GET (default: a server of its own)")
	fs.BoolVar(&opt.post, "post", false, "with -url: send POST too; your server executes each of them")
	fs.DurationVar(&opt.gap, "gap", 0, "with -url: the idle gap around which to send (default: the keep-alive that the server announces, else 5s)")
	fs.DurationVar(&opt.keepAlive, "keep-alive", 0, "with -url: the server's keep-alive, for idlewise to know (default: what the server announces)")
	fs.IntVar(&opt.callers, "callers", 0, "callers per transport (default 48; with -url 16)")
	fs.IntVar(&opt.requests, "requests", 0, "requests per transport (default 1440; with -url 160)")
	fs.DurationVar(&opt.duration, "duration", 0, "send nothing after this time (default 15s; with -url 2m)")
	usage := func() {
		fmt.Fprintf(stderr, "Usage: go run ./examples/quickstart [flags]\n\n")
		fs.SetOutput(stderr)
		fs.PrintDefaults()
	}
	fs.Usage = func() {}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			usage()
			return opt, err
		}
		return opt, fmt.Errorf("%w; -help lists the flags, and a duration has a unit, as in 5s", err)
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if err := opt.check(given, fs.Args()); err != nil {
		return opt, err
	}

	def := options{callers: 48, requests: 1440, duration: 15 * time.Second}
	if opt.url != "" {
		def = options{callers: 16, requests: 160, duration: 2 * time.Minute}
	}
	if !given["callers"] {
		opt.callers = def.callers
		if given["requests"] {
			opt.callers = min(opt.callers, opt.requests)
		}
	}
	if !given["requests"] {
		opt.requests = max(def.requests, opt.callers)
	}
	if !given["duration"] {
		opt.duration = def.duration
	}
	if opt.requests < opt.callers {
		return opt, fmt.Errorf("-requests: %d are not enough for %d callers; give each at least one, or lower -callers", opt.requests, opt.callers)
	}
	// A keep-alive that the operator knows is the gap that is of interest.
	if opt.gap == 0 {
		opt.gap = opt.keepAlive
	}
	return opt, opt.checkGap()
}

func (opt options) check(given map[string]bool, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q; a server's address goes behind -url", rest[0])
	}
	if given["url"] {
		u, err := url.Parse(opt.url)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("-url: %q is not an address of a server; write it as in -url http://localhost:8000/health", opt.url)
		}
	} else {
		for _, name := range []string{"post", "gap", "keep-alive"} {
			if given[name] {
				return fmt.Errorf("-%s: only has a meaning for your own server; add -url, or leave it out", name)
			}
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"gap", opt.gap}, {"keep-alive", opt.keepAlive}, {"duration", opt.duration}} {
		if given[d.name] && (d.value < 10*time.Millisecond || d.value > maxDuration) {
			return fmt.Errorf("-%s: %v is out of range; choose from 10ms to %v", d.name, d.value, maxDuration)
		}
	}
	for _, n := range []struct {
		name       string
		value, max int
	}{{"callers", opt.callers, maxCallers}, {"requests", opt.requests, maxRequests}} {
		if given[n.name] && (n.value < 1 || n.value > n.max) {
			return fmt.Errorf("-%s: %d is out of range; choose from 1 to %d", n.name, n.value, n.max)
		}
	}
	return nil
}

// checkGap is asked again when the server has said what the gap is.
func (opt options) checkGap() error {
	if opt.gap >= opt.duration {
		return fmt.Errorf("-duration: %v are over before the first gap of %v is; choose more, or another -gap", opt.duration, opt.gap)
	}
	return nil
}
