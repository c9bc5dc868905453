// Package table prints tables as Markdown and as CSV.
package table

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
)

// A Table is what is printed.
type Table struct {
	Head []string
	Rows [][]string
}

// Write writes the table and an empty line.
func (t Table) Write(w io.Writer, asCSV bool) error {
	if asCSV {
		if err := t.CSV(w); err != nil {
			return err
		}
		_, err := fmt.Fprintln(w)
		return err
	}
	_, err := fmt.Fprintf(w, "%s\n", t.Markdown())
	return err
}

// CSV writes the table alone.
func (t Table) CSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.Write(t.Head)
	c.WriteAll(t.Rows)
	return c.Error()
}

// Markdown is the table in lines, the first column aligned to the left.
func (t Table) Markdown() string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.Head)
	rule := make([]string, len(t.Head))
	for i := range rule {
		rule[i] = "---:"
	}
	if len(rule) > 0 {
		rule[0] = ":---"
	}
	line(rule)
	for _, r := range t.Rows {
		line(r)
	}
	return b.String()
}
