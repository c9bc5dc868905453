package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/idlewise/idlewise"
)

// printText prints a table, what it cannot tell, and the policies.
func printText(w io.Writer, results []result) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "URL\tANNOUNCED\tMEASURED\tSPREAD\tCONNECTIONS\tENDS BY")
	for _, r := range results {
		fmt.Fprintln(tw, strings.Join(row(r), "\t"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range results {
		for _, note := range notes(r) {
			fmt.Fprintf(&b, "%s: %s\n", redacted(r.url), note)
		}
	}
	if b.Len() > 0 {
		fmt.Fprintf(w, "\n%s", b.String())
	}
	_, err := fmt.Fprintf(w, "\n%s", policyYAML(results))
	return err
}

// row is a result's line in the table.
func row(r result) []string {
	cells := []string{redacted(r.url), "-", "-", "-", "-", "-"}
	if r.report == nil {
		return cells
	}
	p := r.report
	if p.Announced > 0 {
		cells[1] = p.Announced.String()
	}
	switch {
	case p.Finding == idlewise.ProbeTimeout:
		cells[2], cells[3] = rounded(p.Lower), rounded(p.Upper-p.Lower)
		cells[5] = p.End.String()
	case p.Finding == idlewise.ProbeClosesAtOnce:
		cells[2], cells[5] = "at once", p.End.String()
	case p.Finding == idlewise.ProbeNotKept:
		cells[2], cells[5] = "not kept", "announced"
	case p.AtLeast > 0:
		cells[2] = "> " + rounded(p.AtLeast)
	}
	if p.Finding == idlewise.ProbeTimeout || p.Finding == idlewise.ProbeClosesAtOnce {
		total := len(p.Conns)
		if p.Reuse != nil {
			total += len(p.Reuse.Tries)
		}
		cells[4] = fmt.Sprintf("%d of %d", p.Measured, total)
	}
	return cells
}

// rounded leaves what one can see and compare.
func rounded(d time.Duration) string {
	if d >= 10*time.Millisecond {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

// notes are what has no column.
func notes(r result) []string {
	if r.report == nil {
		return []string{inFlags(r.err.Error())}
	}
	var notes []string
	p := r.report
	switch {
	case r.err != nil:
		notes = append(notes, inFlags(strings.TrimPrefix(r.err.Error(), "idlewise: probe of "+p.URL+": ")))
	case p.Finding != idlewise.ProbeTimeout || p.Reuse != nil:
		notes = append(notes, inFlags(p.Summary()))
	}
	mass, refused := 0, 0
	for _, c := range p.Conns {
		if c.MassClose {
			mass++
		}
		if c.Status >= 400 {
			refused = c.Status
		}
	}
	if mass > 0 && p.Finding != idlewise.ProbeMassClose {
		notes = append(notes, fmt.Sprintf("%d connections of different ages were closed at one instant, as by a restart; they were not counted", mass))
	}
	if refused > 0 {
		notes = append(notes, fmt.Sprintf("the server answered %d; it may treat such connections in another way", refused))
	}
	if p.Requests != nil {
		notes = append(notes, inFlags(p.Requests.String()))
	}
	if p.Cut {
		notes = append(notes, fmt.Sprintf("interrupted after %v", p.Took.Round(100*time.Millisecond)))
	}
	return notes
}

// policyYAML prints the suggested policies as a policy file has them.
func policyYAML(results []result) string {
	var b strings.Builder
	seen := make(map[string]bool)
	for _, r := range results {
		lines := settings(r)
		if len(lines) == 0 {
			continue // there may be no report, and so no pattern
		}
		name := pattern(r)
		if seen[name] {
			continue
		}
		if len(seen) == 0 {
			fmt.Fprint(&b, "upstreams:\n")
		}
		seen[name] = true
		fmt.Fprintf(&b, "  %q:\n", name)
		for _, s := range lines {
			fmt.Fprintf(&b, "    %s: %v\n", s.name, s.value)
		}
	}
	if len(seen) > 0 {
		return b.String()
	}
	known := 0
	for _, r := range results {
		if r.measured() || r.outlasted() {
			known++
		}
	}
	switch known {
	case 0:
		return "# Nothing was measured.\n"
	case len(results):
		return "# Nothing to configure: idlewise's defaults are as good as what was measured.\n"
	}
	return fmt.Sprintf("# Nothing to configure for %d of %d URLs: idlewise's defaults are as good as what was measured. Of the rest nothing is known.\n", known, len(results))
}

type setting struct {
	name  string
	value any
}

// settings are those of the suggested policy.
func settings(r result) []setting {
	if r.report == nil {
		return nil
	}
	var s []setting
	p := r.report.SuggestedPolicy()
	if p.ServerKeepAlive > 0 {
		s = append(s, setting{"server_keep_alive", p.ServerKeepAlive.String()})
	}
	if p.MaxRequestsPerConn > 0 {
		s = append(s, setting{"max_requests_per_conn", p.MaxRequestsPerConn})
	}
	return s
}

// pattern selects the upstream in a policy file. Through a proxy without
// CONNECT that is the proxy, whose connections are measured.
func pattern(r result) string {
	u, err := url.Parse(r.url)
	if err != nil {
		return ""
	}
	if proxy, err := url.Parse(r.report.Proxy); err == nil && u.Scheme == "http" && strings.HasPrefix(proxy.Scheme, "http") {
		u = proxy
	}
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Host)
}

// printJSON prints an array, also for one URL, in the order of the command
// line.
func printJSON(w io.Writer, results []result) error {
	type entry struct {
		URL      string                `json:"url"`
		Measured bool                  `json:"measured"`
		Error    string                `json:"error,omitempty"`
		Policy   map[string]any        `json:"suggested_policy"`
		Report   *idlewise.ProbeReport `json:"report"`
	}
	entries := make([]entry, 0, len(results))
	for _, r := range results {
		e := entry{URL: redacted(r.url), Measured: r.measured(), Policy: make(map[string]any), Report: r.report}
		if r.err != nil {
			e.Error = inFlags(r.err.Error())
		}
		for _, s := range settings(r) {
			e.Policy[s.name] = s.value
		}
		entries = append(entries, e)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(entries)
}
