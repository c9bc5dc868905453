// Package nearest finds the word that was meant.
package nearest

import "strings"

// longest is the length up to which a word is taken for a slip.
const longest = 100

var withoutDashes = strings.NewReplacer("-", "", "_", "")

// Name returns the known name that is a slip of the fingers away from got, or
// the only one that begins with it, or "". Case, dashes and underscores do not
// matter.
func Name(got string, known []string) string {
	if len(got) > longest {
		return ""
	}
	plain := func(s string) string { return withoutDashes.Replace(strings.ToLower(s)) }
	best, least := "", len(got)/3+1
	for _, name := range known {
		if d := distance(plain(got), plain(name)); d < least || d == least && best == "" {
			best, least = name, d
		}
	}
	if best != "" || len(got) < 3 {
		return best
	}
	for _, name := range known {
		if strings.HasPrefix(plain(name), plain(got)) {
			if best != "" {
				return ""
			}
			best = name
		}
	}
	return best
}

// distance counts the insertions, deletions and replacements between two words,
// byte by byte.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
