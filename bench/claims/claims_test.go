package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func root(t *testing.T) string {
	dir, err := os.Getwd()
	require.NoError(t, err)
	r, err := rootOf(dir)
	require.NoError(t, err)
	return r
}

func TestEveryClaimStandsInTheDocs(t *testing.T) {
	for _, c := range claims {
		_, err := c.documented(root(t))
		require.NoError(t, err, c.what)
	}
}

func TestEveryClaimHasASourceAndEverySourceAClaim(t *testing.T) {
	used := map[string]bool{inProcess: true}
	for _, s := range sources {
		used[s.name] = false
	}
	for _, c := range claims {
		require.Contains(t, used, c.source, c.what)
		used[c.source] = true
	}
	for name, ok := range used {
		require.True(t, ok, name)
	}
}

func TestANumberIsFoundHoweverItsLinesAreBroken(t *testing.T) {
	c := claim{file: "README.md", words: `takes ([\w.,]+) allocations`}
	for text, want := range map[string]float64{
		"it takes 1.5 allocations":        1.5,
		"it takes\n  12,200\nallocations": 12200,
		"it takes eleven allocations":     11,
		"it takes none allocations":       0,
	} {
		x, err := c.find(text)
		require.NoError(t, err)
		require.Equal(t, want, x)
	}
}

func TestWordsThatAreGoneOrAmbiguousAreAMistake(t *testing.T) {
	c := claim{file: "README.md", words: `takes (\w+) allocations`}
	_, err := c.find("it takes a while")
	require.ErrorContains(t, err, "README.md no longer has the words")
	_, err = c.find("it takes 3 allocations, and takes 4 allocations")
	require.ErrorContains(t, err, "2 times")
	_, err = c.find("it takes many allocations")
	require.ErrorContains(t, err, `"many" is no number`)
	_, err = (&claim{words: "("}).find("")
	require.Error(t, err)
}

func TestWhatARelationAllows(t *testing.T) {
	for _, c := range []struct {
		r                    relation
		documented, measured float64
		want                 bool
	}{
		{relation{atMost, 1, 0.17}, 1.08, 1.25, true},
		{relation{atMost, 1, 0.17}, 1.08, 1.26, false},
		{relation{atMost, 1, 0.17}, 1.08, 0.5, true},
		{relation{atMost, 2, 0}, 1, 2, true},
		{relation{atMost, 2, 0}, 1, 2.1, false},
		{relation{atLeast, 1, 1.5}, 6, 4.5, true},
		{relation{atLeast, 1, 1.5}, 6, 4.4, false},
		{relation{atLeast, 1, 1.5}, 6, 60, true},
		{relation{within, 1, 2}, 10, 12, true},
		{relation{within, 1, 2}, 10, 7.9, false},
		{exactly, 0, 0, true},
		{exactly, 0, 1, false},
		{exactly, 29, 28, false},
	} {
		require.Equal(t, c.want, c.r.allows(c.documented, c.measured), "%v of %v: %v", c.r, c.documented, c.measured)
	}
}

func TestTheWorstOfSeveralFiguresCounts(t *testing.T) {
	figures := []float64{4, 9, 6}
	require.Equal(t, 9.0, relation{atMost, 1, 0}.worst(5, figures))
	require.Equal(t, 4.0, relation{atLeast, 1, 0}.worst(5, figures))
	require.Equal(t, 9.0, relation{within, 1, 1}.worst(5, figures))
	require.Equal(t, 4.0, relation{within, 1, 1}.worst(8, figures))
}

// aRepository has one document.
func aRepository(t *testing.T, text string) string {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README.md"), []byte(text), 0o644))
	return dir
}

func TestAClaimIsJudgedByTheNumberInTheDocs(t *testing.T) {
	c := claim{
		what: "allocations", file: "README.md", words: `takes (\w+) allocations`,
		measure: one("allocs"), holds: relation{atMost, 1, 1},
	}
	v := c.judge(aRepository(t, "takes 9 allocations"), figures{"allocs": 10}, nil)
	require.NoError(t, v.err)
	require.True(t, v.holds)
	v = c.judge(aRepository(t, "takes 8 allocations"), figures{"allocs": 10}, nil)
	require.NoError(t, v.err)
	require.False(t, v.holds)
	require.ErrorContains(t, summary([]verdict{v}), "README.md says 8, so that ≤ 9 was expected, and 10 was measured")
}

func TestAClaimThatCannotBeJudgedDoesNotHold(t *testing.T) {
	c := claim{what: "allocations", file: "README.md", words: `takes (\w+) allocations`, measure: one("allocs"), holds: relation{atMost, 1, 1}}
	docs := aRepository(t, "takes 9 allocations")
	broken := errors.New("exit status 1")
	for name, v := range map[string]verdict{
		"the command failed":     c.judge(docs, nil, broken),
		"it printed other names": c.judge(docs, figures{"bytes": 1}, nil),
		"the words are gone":     c.judge(aRepository(t, "nothing"), figures{"allocs": 9}, nil),
		"so is the file":         c.judge(t.TempDir(), figures{"allocs": 9}, nil),
	} {
		require.Error(t, v.err, name)
		require.False(t, v.holds, name)
		require.Error(t, summary([]verdict{v}), name)
	}
	var out strings.Builder
	require.NoError(t, printTable(&out, []verdict{c.judge(docs, nil, broken)}))
	require.Contains(t, out.String(), "| allocations | README.md | | | | not judged |")
}

func TestNoErrorWhereEverythingHolds(t *testing.T) {
	require.NoError(t, summary([]verdict{{claim: &claims[0], holds: true}}))
}

func TestWhatTheCommandsPrintIsRead(t *testing.T) {
	f, err := readTables("table,protocol,callers,body,context,ratio,remark\nrequests,http1,1,empty,background,1.02,\n\n" +
		"table,connection,round trips,bytes\nredials,tls1.2,4,\"12, 34\"\n\n")
	require.NoError(t, err)
	require.Equal(t, figures{"requests/http1/1/empty/background/ratio": 1.02, "redials/tls1.2/round trips": 4}, f)

	f, err = readBenchmarks("goos: linux\nBenchmarkObserve/observed=true-2 \t 3000\t 91.5 ns/op\t 3600 B/op\t 45 allocs/op\nPASS\n")
	require.NoError(t, err)
	require.Equal(t, figures{"Observe/observed=true ns/op": 91.5, "Observe/observed=true B/op": 3600, "Observe/observed=true allocs/op": 45}, f)

	f, err = readWords(`(?P<a>\d+) requests, (?P<b>\d+) attempts`)("x: 10 requests, 12 attempts")
	require.NoError(t, err)
	require.Equal(t, figures{"a": 10, "b": 12}, f)

	f, err = readQuickstart("idlewise is told that the server closes after 0.25 s\nhttp.Transport 1440 0 11 10 19 0 0 594 0.28 3.06\nidlewise 1440 0 0 0 2 0 1 1093 0.39 3.40\n")
	require.NoError(t, err)
	require.Equal(t, 2.0, f["POST errors"])
	require.Equal(t, 1.0, f["others executed twice"])
}

func TestOutputWithoutFiguresIsAMistake(t *testing.T) {
	for name, read := range map[string]func(string) (figures, error){
		"tables": readTables, "benchmarks": readBenchmarks, "words": readWords(`(?P<a>\d+)`), "quickstart": readQuickstart,
	} {
		_, err := read("PASS\n")
		require.Error(t, err, name)
	}
	_, err := readTables("table,x\nunknown,1\n")
	require.ErrorContains(t, err, `table "unknown" is not known`)
}

func TestACommandThatFailsSaysWhatItPrinted(t *testing.T) {
	s := source{name: "failing", dir: ".", args: []string{"go", "run", "./nothing"}, read: readBenchmarks}
	_, err := s.run(context.Background(), t.TempDir())
	require.ErrorContains(t, err, "go run ./nothing: exit status 1")
	require.ErrorContains(t, err, "nothing")
}

func TestMistakesInFlags(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), []string{"-only", "nothing of the kind"}, io.Discard, io.Discard), "is in no claim")
	require.ErrorContains(t, run(t.Context(), []string{"rest"}, io.Discard, io.Discard), "unexpected argument")
}

func TestTheCommandsArePrinted(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-commands"}, &out, io.Discard))
	require.Contains(t, out.String(), "go test -run '^$' -bench 'Observe$|CountARequest$' -benchtime 3000x .\n")
	require.Contains(t, out.String(), "cd bench && go run . -csv -")
}
