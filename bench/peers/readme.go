package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/idlewise/idlewise/bench/internal/table"
)

const (
	sectionBegin = "<!-- peers:" // and a section's name
	sectionEnd   = "<!-- /peers -->"
)

// sections are the texts that Markdown files quote, by name.
func sections(results []*result, races []*raced) map[string]string {
	texts := map[string]string{
		"ratios":   ratioTable(results, func(cell) bool { return true }).Markdown(),
		"ratios16": ratioTable(results, with(drawn)).Markdown(),
		"latency":  latencyTable(results, drawn).Markdown(),
		"allocs":   allocTable(results, drawn).Markdown(),
	}
	for _, r := range races {
		texts["race-"+r.scenario.Name] = r.table().Markdown()
		texts[r.scenario.Name+"-short"] = r.shortTable().Markdown()
	}
	return texts
}

// rewrite replaces the sections of a Markdown file. A section's name that is not
// known is an error, and so is one that has no end.
func rewrite(file string, texts map[string]string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, err := replaceSections(string(old), texts)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

func replaceSections(text string, texts map[string]string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, sectionBegin)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, rest, _ := strings.Cut(rest, " -->")
		_, after, found := strings.Cut(rest, sectionEnd)
		if !found {
			return "", fmt.Errorf("section %q has no %s", name, sectionEnd)
		}
		new, known := texts[name]
		if !known {
			return "", fmt.Errorf("section %q is none of this run's", name)
		}
		fmt.Fprintf(&b, "%s%s -->\n%s%s", sectionBegin, name, new, sectionEnd)
		text = after
	}
}

// byClient is a table with a row for each cell that is wanted and a column for
// each client.
func byClient(results []*result, want func(cell) bool, show func(summary) string) table.Table {
	t := table.Table{Head: []string{"", "body", "callers"}}
	for _, k := range kinds() {
		t.Head = append(t.Head, k.Name)
	}
	var done []cell
	for _, r := range results {
		if !want(r.cell) || slices.Contains(done, r.cell) {
			continue
		}
		done = append(done, r.cell)
		row := []string{titles[r.cell.protocol], string(r.cell.body), thousands(r.cell.callers)}
		for _, k := range kinds() {
			text := "–"
			if r := find(results, r.cell, k.Name); r != nil {
				text = show(r.summary())
			}
			row = append(row, text)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func ratioTable(results []*result, want func(cell) bool) table.Table {
	return byClient(results, want, func(s summary) string { return fmt.Sprintf("%.2f", s.ratio) })
}

func with(callers int) func(cell) bool {
	return func(c cell) bool { return c.callers == callers }
}

func latencyTable(results []*result, callers int) table.Table {
	return byClient(results, with(callers), func(s summary) string {
		return fmt.Sprintf("%s / %s / %s", ms(s.p50), ms(s.p99), ms(s.p999))
	})
}

func allocTable(results []*result, callers int) table.Table {
	return byClient(results, with(callers), func(s summary) string { return fmt.Sprintf("%.0f", s.allocs) })
}
