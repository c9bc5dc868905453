package policyfile

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/idlewise/idlewise"
)

// FuzzParse: no text makes the parser panic; what it refuses has places in the
// text, in order; what it accepts idlewise accepts as well; and it says the same
// each time.
func FuzzParse(f *testing.F) {
	for _, text := range blocks(f) {
		f.Add([]byte(text))
	}
	for _, text := range []string{
		"", "{}", "default: {max_conns: 0, retry: off}", "policies: {a: {extends: [a, b]}, b: {extends: a}}",
		"default: &a {<<: [*a, {retry: {max: 1}}]}", "upstreams: {A: {}, a: {}, 'ftp://x': {min_idle_conns: 200}}",
		"default: {breaker: {failure_ratio: 0.5, min_requests: 3, interval: 1s}, group: !x y}\n---\n",
		"default:\n\tx: *y", "\xef\xbb\xbf{}", "? [a]\n: b", "default: {hint: !!binary b2Zm}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse("f", text)
		again, errAgain := Parse("f", text)
		if err == nil {
			if errAgain != nil || !slices.Equal(patterns(p), patterns(again)) {
				t.Fatalf("accepted, and then %v: %v", errAgain, again)
			}
			if err := p.Validate(); err != nil {
				t.Fatal(err)
			}
			return
		}
		if errAgain == nil || err.Error() != errAgain.Error() {
			t.Fatalf("%v\nand then\n%v", err, errAgain)
		}
		if !reflect.DeepEqual(p, idlewise.Policies{}) {
			t.Fatalf("policies beside an error: %v", p)
		}
		var wrong *Error
		if !errors.As(err, &wrong) || len(wrong.Problems) == 0 {
			t.Fatalf("no problems in %v", err)
		}
		last := Problem{Line: 1, Column: 1}
		lines := 2 // a mistake may stand behind the last one
		for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
			lines += bytes.Count(text, []byte(end))
		}
		for _, one := range wrong.Problems {
			if one.Line < last.Line || one.Line == last.Line && one.Column < last.Column || one.Message == "" {
				t.Fatalf("out of order, or without a message: %+v", one)
			}
			if one.Line > lines {
				t.Fatalf("beyond the text: %+v", one)
			}
			last = one
		}
	})
}

func patterns(p idlewise.Policies) []string {
	var all []string
	for pattern := range p.Upstreams {
		all = append(all, pattern)
	}
	slices.Sort(all)
	return all
}
