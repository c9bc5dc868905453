package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A claim is a number in the docs that a command can find again.
type claim struct {
	what string // for people

	// file, from the repository's root, and the words there, which must stand
	// in it exactly once, however its lines are broken. They have one group,
	// which is the number, or none where implied is the number that they mean.
	file    string
	words   string // a regular expression
	implied float64

	source  string                           // whose figures it needs
	measure func(figures) ([]float64, error) // of several, the one that is worst counts
	holds   relation
}

// A relation says what a figure may be where the docs have another.
type relation struct {
	sign          sign
	factor, slack float64 // of the bound: documented·factor, and beyond it
}

type sign string

const (
	atMost  sign = "≤"
	atLeast sign = "≥"
	within  sign = "±"
)

// exactly the documented number.
var exactly = relation{within, 1, 0}

// bound returns the number that a figure is held against. For within, it is
// documented, and the slack is how far from it a figure may be.
func (r relation) bound(documented float64) float64 {
	switch r.sign {
	case atMost:
		return documented*r.factor + r.slack
	case atLeast:
		return documented*r.factor - r.slack
	}
	return documented * r.factor
}

// allows reports whether the docs are right, given what was measured.
func (r relation) allows(documented, measured float64) bool {
	b := r.bound(documented)
	switch r.sign {
	case atMost:
		return measured <= b
	case atLeast:
		return measured >= b
	}
	return measured >= b-r.slack && measured <= b+r.slack
}

// worst returns the figure that is farthest from what is allowed.
func (r relation) worst(documented float64, measured []float64) float64 {
	w := measured[0]
	for _, m := range measured[1:] {
		far := m > w
		switch r.sign {
		case atLeast:
			far = m < w
		case within:
			b := r.bound(documented)
			far = abs(m-b) > abs(w-b)
		}
		if far {
			w = m
		}
	}
	return w
}

func abs(x float64) float64 { return max(x, -x) }

func (r relation) text(documented float64) string {
	if r.sign == within && r.slack == 0 {
		return "= " + number(r.bound(documented))
	}
	if r.sign == within {
		return fmt.Sprintf("%s ± %s", number(r.bound(documented)), number(r.slack))
	}
	return fmt.Sprintf("%s %s", r.sign, number(r.bound(documented)))
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', 5, 64) }

// documented reads the number from the docs under root.
func (c *claim) documented(root string) (float64, error) {
	text, err := os.ReadFile(filepath.Join(root, c.file))
	if err != nil {
		return 0, err
	}
	return c.find(string(text))
}

var blank = regexp.MustCompile(`\s+`)

// find reads the number from a text.
func (c *claim) find(text string) (float64, error) {
	re, err := regexp.Compile(c.words)
	if err != nil {
		return 0, err
	}
	all := re.FindAllStringSubmatch(blank.ReplaceAllString(text, " "), -1)
	switch {
	case len(all) == 0:
		return 0, fmt.Errorf("%s no longer has the words %q; mend the claim in bench/claims, or the docs", c.file, c.words)
	case len(all) > 1:
		return 0, fmt.Errorf("%s has the words %q %d times; the claim in bench/claims must say more of them", c.file, c.words, len(all))
	case re.NumSubexp() == 0:
		return c.implied, nil
	}
	x, err := parseNumber(all[0][1])
	if err != nil {
		return 0, fmt.Errorf("%s, %q: %w", c.file, all[0][0], err)
	}
	return x, nil
}

var spelled = []string{"none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"}

// parseNumber knows 12,200 and eleven.
func parseNumber(s string) (float64, error) {
	for n, word := range spelled {
		if strings.EqualFold(s, word) {
			return float64(n), nil
		}
	}
	x, err := strconv.ParseFloat(strings.ReplaceAll(s, ",", ""), 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", s)
	}
	return x, nil
}

// A verdict is what came of a claim.
type verdict struct {
	claim      *claim
	documented float64
	measured   float64
	err        error // it could not be judged
	holds      bool
}

// judge holds the claim against what was measured. A claim that cannot be
// judged does not hold.
func (c *claim) judge(root string, f figures, measuring error) verdict {
	v := verdict{claim: c}
	if v.documented, v.err = c.documented(root); v.err != nil {
		return v
	}
	if v.err = measuring; v.err != nil {
		return v
	}
	var all []float64
	if all, v.err = c.measure(f); v.err != nil {
		return v
	}
	if len(all) == 0 {
		v.err = fmt.Errorf("nothing was measured")
		return v
	}
	v.measured = c.holds.worst(v.documented, all)
	v.holds = c.holds.allows(v.documented, v.measured)
	return v
}
