package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/idlewise/idlewise"
)

const probeUsage = `Usage: idlewise probe [flags] URL...

Opens a few connections to each server, sends one request on each, and waits
to see after how long, and how, the server ends them. Prints what the server
announced beside what is true, and the policy to configure.

HTTP_PROXY, HTTPS_PROXY and NO_PROXY count. Through a proxy its connections are
measured, not the server's.

Ctrl-C ends the probes and prints what is known so far.

Exit codes:
    0  every server's behaviour was measured
    1  at least one's was not: no answer, no connection, a restart in between,
       or still open when the time was over
    2  the command line was wrong
  130  interrupted by Ctrl-C or SIGTERM

Flags:
`

// options are the command line's.
type options struct {
	urls     []string
	probe    idlewise.ProbeOptions
	json     bool
	ca       string
	insecure bool
	http1    bool
}

// errHelp says that -help was asked for, and printed.
var errHelp = errors.New("help")

// parseOptions prints mistakes and the help itself.
func parseOptions(args []string, stdout, stderr io.Writer) (options, error) {
	o := options{probe: idlewise.ProbeOptions{Header: make(http.Header)}}
	fs := flag.NewFlagSet("idlewise probe", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	p := &o.probe
	durationVar(fs, &p.Timeout, "timeout", "`time` a probe takes at most, such as 30s; what is open then gives a lower bound (default 2m)")
	fs.IntVar(&p.Connections, "connections", 0, "connections to watch, or with -bisect to have open, per URL (default 3, with -bisect 8)")
	durationVar(fs, &p.Stagger, "stagger", "`time` by which the connections' beginnings are set apart, so that a restart can be told from a timeout (default 500ms)")
	durationVar(fs, &p.AnswerTimeout, "answer-timeout", "`time` to wait for a connection, and for a response (default 10s)")
	fs.StringVar(&p.Method, "method", "", "request `method` (default HEAD, or GET where the server does not know HEAD)")
	fs.Func("header", "a request header, as in \"Name: value\"; may be given several times", func(s string) error {
		return addHeader(p.Header, s)
	})
	fs.BoolVar(&p.ElicitHint, "elicit-hint", false, "send Connection: keep-alive, so that Apache httpd and Tomcat announce their timeout")
	fs.IntVar(&p.MaxRequests, "requests", 0, "also find after how many requests a connection ends, by sending up to `n`")
	fs.BoolVar(&p.Bisect, "bisect", false, "find silent drops: use connections again after idle times up to half of -timeout")
	durationVar(fs, &p.Resolution, "resolution", "`time` to which -bisect narrows its bracket (default 2 % of its upper edge)")
	fs.BoolVar(&o.json, "json", false, "print JSON")
	fs.StringVar(&o.ca, "ca", "", "trust the certificates in this PEM `file`, too, beside the system's")
	fs.BoolVar(&o.insecure, "insecure", false, "accept any TLS certificate")
	fs.BoolVar(&o.http1, "http1", false, "speak HTTP/1.1 only")

	// Flags may also stand behind URLs.
	for rest := args; ; {
		if err := fs.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				fmt.Fprint(stdout, probeUsage)
				fs.SetOutput(stdout)
				fs.PrintDefaults()
				return o, errHelp
			}
			return o, err
		}
		if fs.NArg() == 0 {
			break
		}
		o.urls = append(o.urls, fs.Arg(0))
		rest = fs.Args()[1:]
	}
	if len(o.urls) == 0 {
		return o, errors.New("no URL; give at least one, such as https://api.example.com/health")
	}
	switch {
	case p.Resolution != 0 && !p.Bisect:
		return o, errors.New("-resolution means nothing without -bisect; add that, or leave -resolution out")
	case o.ca != "" && o.insecure:
		return o, errors.New("-insecure accepts any certificate, so that -ca means nothing; leave one of the two out")
	}
	return o, nil
}

// durationVar is fs.DurationVar, with remedies instead of "parse error".
func durationVar(fs *flag.FlagSet, to *time.Duration, name, usage string) {
	fs.Func(name, usage, func(s string) error {
		d, err := time.ParseDuration(s)
		switch _, notNumber := strconv.ParseFloat(s, 64); {
		case err != nil && notNumber == nil:
			return fmt.Errorf("the unit is missing; write %ss if seconds are meant, or %sms or %sm", s, s, s)
		case err != nil:
			return errors.New("write it like 5s, 250ms, 1m30s or 2h")
		case d > 0 && d < time.Millisecond:
			return errors.New("it is under a millisecond; is the unit wrong?")
		}
		*to = d
		return nil
	})
}

// addHeader adds a header written as "Name: value".
func addHeader(h http.Header, s string) error {
	name, value, ok := strings.Cut(s, ":")
	name = strings.TrimSpace(name)
	if !ok || name == "" {
		return errors.New(`write it as "Name: value"`)
	}
	h.Add(name, strings.TrimSpace(value))
	return nil
}
