package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
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

func probe(ctx context.Context, args []string, stdout, stderr io.Writer, terminal bool) int {
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

	results := probeAll(ctx, t, o, stderr, terminal)
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
	if o.insecure {
		base.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	if o.http1 {
		base.Protocols = new(http.Protocols)
		base.Protocols.SetHTTP1(true)
	}
	return idlewise.New(idlewise.Config{Base: base})
}

// probeAll probes all URLs at once, and shows how far it is.
func probeAll(ctx context.Context, t *idlewise.Transport, o options, stderr io.Writer, terminal bool) []result {
	show := newProgress(stderr, o, terminal)
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
