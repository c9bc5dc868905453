package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/idlewise/idlewise"
)

// A result is what became of one URL. Both may be set.
type result struct {
	url    string
	report *idlewise.ProbeReport
	err    error
}

// measured reports whether the server's behaviour is known.
func (r result) measured() bool {
	if r.report == nil {
		return false
	}
	switch r.report.Finding {
	case idlewise.ProbeTimeout, idlewise.ProbeClosesAtOnce, idlewise.ProbeNotKept:
		return true
	}
	return false
}

// outlasted reports whether the server kept connections for as long as the whole
// probe. Until Ctrl-C after a second is not that.
func (r result) outlasted() bool {
	return r.report != nil && r.report.Finding == idlewise.ProbeOutlasted && !r.report.Cut
}

func probe(ctx context.Context, args []string, stdout, stderr io.Writer, width func() int) int {
	o, err := parseOptions(args, stdout, stderr)
	if errors.Is(err, errHelp) {
		return exitMeasured
	}
	if err != nil {
		fmt.Fprintf(stderr, "idlewise probe: %v\nidlewise probe -help tells more.\n", err)
		return exitUsage
	}
	t, err := o.transport()
	if err != nil {
		fmt.Fprintf(stderr, "idlewise probe: %v\n", err)
		return exitUsage
	}
	defer t.Close()
	if mistakes := o.check(t); len(mistakes) > 0 {
		for _, m := range mistakes {
			fmt.Fprintf(stderr, "idlewise probe: %s\n", m)
		}
		fmt.Fprintln(stderr, "idlewise probe -help tells more.")
		return exitUsage
	}

	results := probeAll(ctx, t, o, stderr, width)
	if o.json {
		err = printJSON(stdout, results)
	} else {
		err = printText(stdout, results)
	}
	if err != nil {
		fmt.Fprintf(stderr, "idlewise probe: the result could not be written: %v\n", err)
		return exitUnmeasured
	}
	return exitCode(ctx, results)
}

// check reports every mistake in the command line, each once: a typo must not
// cost the minutes that other URLs are probed for.
func (o options) check(t *idlewise.Transport) []string {
	var mistakes []string
	for _, u := range o.urls {
		err := t.CheckProbe(u, o.probe)
		if err == nil {
			continue
		}
		for line := range strings.Lines(strings.TrimPrefix(err.Error(), "idlewise: probe: ")) {
			line = strings.TrimSuffix(line, "\n")
			if strings.HasPrefix(line, "the ") { // the URL or its proxy, not an option
				line = redacted(u) + ": " + line
			}
			if line = inFlags(line); !slices.Contains(mistakes, line) {
				mistakes = append(mistakes, line)
			}
		}
	}
	return mistakes
}

func exitCode(ctx context.Context, results []result) int {
	code := exitMeasured
	for _, r := range results {
		switch {
		case r.report == nil && ctx.Err() == nil:
			return exitUsage // Probe found the URL or an option wrong
		case !r.measured():
			code = exitUnmeasured
		}
	}
	if ctx.Err() != nil {
		return exitInterrupted
	}
	return code
}

func (o options) transport() (*idlewise.Transport, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("http.DefaultTransport is not net/http's own")
	}
	base = base.Clone()
	base.TLSClientConfig = &tls.Config{InsecureSkipVerify: o.insecure}
	if o.ca != "" {
		roots, err := trusting(o.ca)
		if err != nil {
			return nil, fmt.Errorf("-ca: %w", err)
		}
		base.TLSClientConfig.RootCAs = roots
	}
	if o.http1 {
		base.Protocols = new(http.Protocols)
		base.Protocols.SetHTTP1(true)
	}
	return idlewise.New(idlewise.Config{Base: base})
}

// trusting is the system's certificates and those in a file, so that one
// command line can have servers of both kinds.
func trusting(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w; give a file that can be read", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a system without any
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM (-----BEGIN CERTIFICATE-----); convert it, as by openssl x509 -inform der", file)
	}
	return roots, nil
}

// probeAll probes all URLs at once, and shows how far it is.
func probeAll(ctx context.Context, t *idlewise.Transport, o options, stderr io.Writer, width func() int) []result {
	show := newProgress(stderr, o, width)
	results := make([]result, len(o.urls))
	var wg sync.WaitGroup
	for i, u := range o.urls {
		wg.Go(func() {
			opt := o.probe
			opt.OnConn = func(c idlewise.ProbeConn) { show.ended(i, c) }
			r, err := t.Probe(ctx, u, opt)
			results[i] = result{u, r, err}
			show.done(i, results[i])
		})
	}
	wg.Wait()
	show.stop()
	return results
}
