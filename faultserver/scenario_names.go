package faultserver

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// snakeCase is how a Go field's name is written in texts: NthOnConn is
// nth_on_conn, KeepAliveTLS is keep_alive_tls.
func snakeCase(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) {
			wordBegins := i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
			if wordBegins {
				b.WriteByte('_')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// unknownName says that a name is not among the known ones, and which was
// probably meant, or else what the known ones are.
func unknownName(what, got string, known []string) error {
	if near := nearest(got, known); near != "" {
		return fmt.Errorf("unknown %s %q; did you mean %s?", what, got, near)
	}
	if len(known) > maxListed {
		return fmt.Errorf("unknown %s %q; Kinds, GET /kinds and -list have them all", what, got)
	}
	known = slices.Sorted(slices.Values(known))
	return fmt.Errorf("unknown %s %q; known: %s", what, got, strings.Join(known, ", "))
}

// maxListed is how many names an error lists. Only the kinds are more.
const maxListed = 50

// count is a number of things: "1 request", "2 requests".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

var withoutDashes = strings.NewReplacer("-", "", "_", "")

// nearest returns the known name that is a slip of the fingers away from got, or
// the only one that begins with it, or "".
func nearest(got string, known []string) string {
	if len(got) > 100 {
		return ""
	}
	plain := func(s string) string { return withoutDashes.Replace(strings.ToLower(s)) }
	best, least := "", len(got)/3+1
	for _, name := range known {
		if d := editDistance(plain(got), plain(name)); d < least || d == least && best == "" {
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

// editDistance counts the insertions, deletions and replacements between two
// words, byte by byte.
func editDistance(a, b string) int {
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
