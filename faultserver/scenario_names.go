package faultserver

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/idlewise/idlewise/internal/nearest"
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
	if near := nearest.Name(got, known); near != "" {
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
