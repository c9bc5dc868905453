package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/bench/internal/clients"
	"github.com/idlewise/idlewise/bench/internal/command"
)

// TestMain lets the test binary be the server that the command starts.
func TestMain(m *testing.M) {
	if command.InRole("peers", roles) {
		return
	}
	os.Exit(m.Run())
}

func read(t *testing.T, file string) string {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

func rows(t *testing.T, file string) (all []map[string]string) {
	records, err := csv.NewReader(strings.NewReader(read(t, file))).ReadAll()
	require.NoError(t, err)
	for _, r := range records[1:] {
		row := make(map[string]string)
		for i, name := range records[0] {
			row[name] = r[i]
		}
		all = append(all, row)
	}
	return all
}

// The two Markdown files that quote this command are rewritten too, in copies.
func TestOneCommandWritesEverything(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	quoted := map[string]string{in("README.md"): "../../README.md", in("bench.md"): "../README.md"}
	for to, from := range quoted {
		require.NoError(t, os.WriteFile(to, []byte(read(t, from)), 0o644))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	require.NoError(t, run(ctx, []string{
		"-quick", "-csv", in("peers.csv"), "-benchstat", in("peers.txt"), "-plot", dir,
		"-readme", in("README.md") + "," + in("bench.md"),
	}, &out, io.Discard))

	const cells1, cells2 = 2 * 3, 2 * 3 // callers × bodies, HTTP/1 and HTTP/2
	clientRows := make(map[string]int)
	for _, r := range rows(t, in("peers.csv")) {
		clientRows[r["client"]]++
		require.Equal(t, "0", r["errors"], "%v", r)
		for _, column := range []string{"requests/s", "ratio", "p50 ms", "p99 ms", "p99.9 ms", "connections"} {
			f, err := strconv.ParseFloat(r[column], 64)
			require.NoError(t, err, column)
			require.Positive(t, f, "%s in %v", column, r)
		}
	}
	want := map[string]int{"fasthttp": cells1}
	for _, k := range kinds() {
		if k.HTTP2 {
			want[k.Name] = cells1 + cells2
		}
	}
	require.Equal(t, want, clientRows)

	raced := make(map[string]int)
	for _, r := range rows(t, in("peers-race.csv")) {
		raced[r["scenario"]]++
	}
	require.Equal(t, map[string]int{"idle": 8, "spread": 8, "restart": 6, "kill": 6, "goaway": 5}, raced, "told, not told and the oracle where gaps matter, no fasthttp in HTTP/2")
	requests := make(map[string]int)
	for _, r := range rows(t, in("peers-gaps.csv")) {
		n, err := strconv.Atoi(r["requests"])
		require.NoError(t, err)
		requests[r["client"]] += n
	}
	require.Len(t, requests, 7)
	for client, n := range requests {
		require.Positive(t, n, client)
	}

	for _, file := range []string{"peers-ratio.svg", "peers-latency.svg", "idle-race.svg"} {
		svg := read(t, in(file))
		require.NoError(t, xml.Unmarshal([]byte(svg), new(struct {
			XMLName xml.Name `xml:"svg"`
		})), file)
		for _, k := range kinds() {
			require.Contains(t, svg, k.Name, file)
		}
	}

	line := regexp.MustCompile(`^BenchmarkRequest/proto=http[12]/callers=\d+/body=\w+/client=[a-z-]+ \t\d+\t\d+ ns/op\t\d+ p50-ns\t\d+ p99-ns\t\d+ B/op\t\d+ allocs/op$`)
	lines := strings.Split(strings.TrimSpace(read(t, in("peers.txt"))), "\n")
	require.Len(t, lines, 3+6*cells1+5*cells2)
	for _, l := range lines[3:] {
		require.Regexp(t, line, l)
	}

	for to, from := range quoted {
		require.Equal(t, headings(read(t, from)), headings(read(t, to)), "%s quotes tables that the command prints; run it with -readme", from)
	}
	require.Contains(t, out.String(), "| http2 | 16 | 1MiB | idlewise |")
}

// headings are a text's lines, of its tables only the heads.
func headings(text string) (lines []string) {
	above := ""
	for line := range strings.Lines(text) {
		switch {
		case !strings.HasPrefix(line, "|"):
			lines = append(lines, line)
		case strings.HasPrefix(line, "| :---"):
			lines = append(lines, above)
		}
		above = line
	}
	return lines
}

func TestSectionsAreReplacedAndNothingElse(t *testing.T) {
	texts := map[string]string{"a": "| new |\n", "b": "B\n"}
	got, err := replaceSections("before\n<!-- peers:a -->\n| old |\n<!-- /peers -->\nbetween\n<!-- peers:b --><!-- /peers -->after", texts)
	require.NoError(t, err)
	want := "before\n<!-- peers:a -->\n| new |\n<!-- /peers -->\nbetween\n<!-- peers:b -->\nB\n<!-- /peers -->after"
	require.Equal(t, want, got)
	again, err := replaceSections(want, texts)
	require.NoError(t, err)
	require.Equal(t, want, again)

	_, err = replaceSections("<!-- peers:c -->\n<!-- /peers -->", texts)
	require.ErrorContains(t, err, `section "c" is none of this run's`)
	_, err = replaceSections("<!-- peers:a -->\n| old |\n", texts)
	require.ErrorContains(t, err, `section "a" has no <!-- /peers -->`)
}

// A script is a client that counts and fails every third request.
type script struct{ calls atomic.Int64 }

func (s *script) Close() {}

func (s *script) Do(r *clients.Request, into *bytes.Buffer) error {
	into.Reset()
	into.Write(r.Body)
	if s.calls.Add(1)%3 == 0 {
		return errors.New("as agreed")
	}
	return nil
}

func TestARunHasExactlyItsRequestsAndCountsThoseThatFailed(t *testing.T) {
	s := new(script)
	r, err := make(crew, 4).drive(t.Context(), s, &clients.Request{Body: []byte("x")}, 30)
	require.NoError(t, err)
	require.EqualValues(t, 30, s.calls.Load())
	require.Equal(t, 10, r.errors)
	require.Len(t, r.each, 20)
	require.ErrorContains(t, r.lastErr, "as agreed")
}

func TestAResponseThatIsTooShortIsAnError(t *testing.T) {
	r, err := make(crew, 1).drive(t.Context(), short{}, &clients.Request{Body: []byte("xy")}, 2)
	require.NoError(t, err)
	require.Equal(t, 2, r.errors)
	require.ErrorContains(t, r.lastErr, "a response of 1 bytes, want 2")
}

type short struct{}

func (short) Close() {}
func (short) Do(_ *clients.Request, into *bytes.Buffer) error {
	into.Reset()
	return into.WriteByte('x')
}

func TestEveryClientHasEveryPlaceInTheOrder(t *testing.T) {
	const n = 6
	var places [n][n]bool // by client and place
	before := make(map[[2]int]bool)
	for round := range 2 * n {
		seen := make(map[int]bool)
		last := -1
		for i := range n {
			c := order(round, i, n)
			seen[c], places[c][i] = true, true
			if last >= 0 {
				before[[2]int{last, c}] = true
			}
			last = c
		}
		require.Len(t, seen, n, "all have their turn in round %d", round)
	}
	for c := range n {
		require.NotContains(t, places[c], false, "client %d", c)
		require.True(t, before[[2]int{c, (c + 1) % n}] && before[[2]int{(c + 1) % n, c}], "neither always comes before the other")
	}
}

func TestASummaryIsOfAllRuns(t *testing.T) {
	r := &result{ratios: []float64{0.9, 1.1, 1.0}, runs: []*sample{
		{requests: 2, took: 20, allocs: 4, each: []time.Duration{1, 2}},
		{requests: 2, took: 40, allocs: 6, errors: 1, each: []time.Duration{3}},
		{requests: 2, took: 60, allocs: 8, each: []time.Duration{4, 5}},
	}}
	s := r.summary()
	require.Equal(t, 6, s.requests)
	require.Equal(t, time.Duration(20), s.perRequest)
	require.InDelta(t, 1.0, s.ratio, 1e-9)
	require.InDelta(t, 0.95, s.low, 1e-9)
	require.InDelta(t, 1.05, s.high, 1e-9)
	require.Equal(t, time.Duration(3), s.p50)
	require.Equal(t, 3.0, s.allocs)
	require.Equal(t, 1, s.errors)
	require.Equal(t, 5e7, s.perSecond())
}

func TestTooManyConnectionsAreSkippedWithTheReason(t *testing.T) {
	require.Empty(t, tooMany(cell{http1, 1, bodyEmpty}, 0))
	require.Contains(t, tooMany(cell{http1, 1024, bodyEmpty}, 1000), "ulimit -n) is 1000")
	require.Empty(t, tooMany(cell{http2, 1024, bodyEmpty}, 1000), "HTTP/2 shares connections")
}

func TestMistakesInFlagsAreAllReported(t *testing.T) {
	_, err := parseOptions(strings.Fields("-rounds 0 -budget 1ms -protocols http3 -callers 1,1,x,9999 -bodies= rest"), io.Discard)
	require.Error(t, err)
	for _, want := range []string{
		"-rounds: 0;", "-budget: 1ms;", `-protocols: "http3" is none of`, "-callers: 1 is given twice",
		`-callers: "x";`, `-callers: "9999";`, "-bodies: nothing is chosen", `unexpected argument "rest"`,
	} {
		require.ErrorContains(t, err, want)
	}
	o, err := parseOptions([]string{"-quick"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, []int{1, 16}, o.callers)
	o, err = parseOptions([]string{"-quick", "-callers", "3"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, []int{3}, o.callers)
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1024: "1,024", 1000007: "1,000,007"} {
		require.Equal(t, want, thousands(n), fmt.Sprint(n))
	}
}
