package main

import "fmt"

// The commands, each of which takes a quarter of a minute at most but the
// first.
var sources = []source{
	{"bench", "bench", []string{"go", "run", ".", "-csv", "-", "-bodies", "empty", "-requests", "1000", "-pairs", "15", "-budget", "35s", "-samples", "1",
		"-checkout", "10,10000", "-upstreams", "4000", "-connections", "closed", "-dials", "40",
		"-redials", "tcp,tls1.2,tls1.2-resumed,tls1.3,tls1.3-resumed"}, readTables},
	{"allocations", ".", []string{"go", "test", "-run", "^$", "-bench", "Observe$|CountARequest$", "-benchtime", "3000x", "."}, readBenchmarks},
	{"storms", ".", []string{"go", "test", "-count", "1", "-v", "-run", "TheUpstreamsBudget|AnOpenBreaker|NoPOSTIsExecutedTwiceInVirtualTime", "."}, readWords(
		`(?P<requests>\d+) requests, (?P<attempts>\d+) attempts in \d+ s`,
		`turned away; (?P<storm>\d+) attempts and (?P<connects>\d+) connects`,
		`(?P<seeds>\d+) seeds: \d+ POSTs, \d+ failed, (?P<twice>\d+) executed twice`,
	)},
	{"quickstart", ".", []string{"go", "run", "./examples/quickstart"}, readQuickstart},
	{"held", ".", []string{"go", "test", "-count", "1", "-v", "-run", "TenThousand", "./faultserver"}, readWords(
		`(?P<held>\d+) bytes of heap and stack per idle connection`,
	)},
}

// slackOfTime is what a busy machine may add to a ratio of times; a tenth of
// it is what is seen without one.
const slackOfTime = 0.17

var claims = []claim{
	// README.md: what it costs.
	{
		what: "HTTP/1: allocations fewer, background context",
		file: "README.md", words: `On HTTP/1 (\d+) to \d+ allocations fewer`,
		source: "bench", measure: allocations("http1", "background", -1), holds: relation{atLeast, 1, 1.5},
	},
	{
		what: "HTTP/1: allocations fewer, cancelable context",
		file: "README.md", words: `(\d+) to \d+ with a context that can be canceled`,
		source: "bench", measure: allocations("http1", "cancelable", -1), holds: relation{atLeast, 1, 1.5},
	},
	{
		what: "HTTP/1: time, 1, 16 and 128 callers",
		file: "README.md", words: `canceled, and [\d.]+ to ([\d.]+) of its time`,
		source: "bench", measure: times("http1"), holds: relation{atMost, 1, slackOfTime},
	},
	{
		what: "HTTP/2: allocations more",
		file: "README.md", words: `on HTTP/2 at most (\w+) more`,
		source: "bench", measure: allocations("http2", "background", 1), holds: relation{atMost, 1, 1},
	},
	{
		what: "HTTP/2: time, 1, 16 and 128 callers",
		file: "README.md", words: `on HTTP/2 at most \w+ more, and [\d.]+ to ([\d.]+)\.`,
		source: "bench", measure: times("http2"), holds: relation{atMost, 1, slackOfTime},
	},
	{
		what: "memory of an idle connection",
		file: "README.md", words: `([\d.]+) of its memory per idle connection`,
		source: "bench", measure: one("memory/2000/ratio"), holds: relation{atMost, 1, 0.05},
	},
	{
		what: "checkout with 10,000 idle connections, of that with 10",
		file: "README.md", words: `a checkout that takes as long with 10,000 idle connections as with 10\b`, implied: 1,
		source: "bench", measure: ratio("checkout/10000/idlewise checkout ns", "checkout/10/idlewise checkout ns"), holds: relation{atMost, 2, 0},
	},
	// README.md: the quickstart's row of idlewise.
	{
		what: "quickstart: requests",
		file: "README.md", words: `idlewise (\d+) 0 0 0 0 0 0 \d+`,
		source: "quickstart", measure: one("requests"), holds: relation{atLeast, 0.5, 0}, // its time is bounded
	},
	{
		what: "quickstart: errors of idlewise",
		file: "README.md", words: `idlewise \d+ 0 0 0 0 0 0 \d+`,
		source: "quickstart", measure: each("GET errors", "PUT errors", "DELETE errors", "POST errors"), holds: exactly,
	},
	{
		what: "quickstart: executed twice",
		file: "README.md", words: `idlewise \d+ 0 0 0 0 0 0 \d+`,
		source: "quickstart", measure: each("POSTs executed twice", "others executed twice"), holds: exactly,
	},
	{
		what: "personalities of the fault server",
		file: "README.md", words: `it behaves like (\d+) servers and load balancers by name`,
		source: inProcess, measure: one("personalities"), holds: exactly,
	},
	{
		what: "re-enacted incidents",
		file: "README.md", words: `through (\w+) re-enacted incidents`,
		source: inProcess, measure: one("scenarios"), holds: exactly,
	},
	// docs/
	{
		what: "seeds in virtual time",
		file: "docs/evidence.md", words: `([\d,]+) seeds over .memnet.`,
		source: "storms", measure: one("seeds"), holds: exactly,
	},
	{
		what: "POSTs executed twice in them",
		file: "docs/evidence.md", words: `jitter and loss: (none) executed twice`,
		source: "storms", measure: one("twice"), holds: exactly,
	},
	{
		what: "attempts of 10,000 requests under the budget",
		file: "docs/retries.md", words: `10,000 requests become ([\d,]+) attempts`,
		source: "storms", measure: func(f figures) ([]float64, error) {
			share, err := ratio("attempts", "requests")(f)
			if err != nil {
				return nil, err
			}
			return []float64{10_000 * share[0]}, nil
		}, holds: relation{atMost, 1.02, 0},
	},
	{
		what: "attempts through an open breaker",
		file: "docs/retries.md", words: `(\d+) attempts reach the server in the 30 s`,
		source: "storms", measure: one("storm"), holds: relation{atMost, 1.25, 0},
	},
	{
		what: "connections through an open breaker",
		file: "docs/retries.md", words: `attempts reach the server in the 30 s, on (\d+) connections`,
		source: "storms", measure: one("connects"), holds: relation{atMost, 1, 1},
	},
	{
		what: "Observe: allocations per request",
		file: "docs/observability.md", words: `.Observe.: (\d+) allocations`,
		source: "allocations", measure: difference("Observe/observed=true allocs/op", "Observe/observed=false allocs/op"), holds: relation{atMost, 1, 1},
	},
	{
		what: "Observe: bytes per request",
		file: "docs/observability.md", words: `.Observe.: \d+ allocations, (\d+) bytes per request`,
		source: "allocations", measure: difference("Observe/observed=true B/op", "Observe/observed=false B/op"), holds: relation{atMost, 1.2, 0},
	},
	{
		what: "counting a request: allocations",
		file: "docs/observability.md", words: `two atomic additions, no allocation`,
		source: "allocations", measure: one("CountARequest allocs/op"), holds: exactly,
	},
	{
		what: "bytes of an upstream's record",
		file: "docs/behaviour.md", words: `A record without connections takes (\d+) KB`,
		source: "bench", measure: func(f figures) ([]float64, error) {
			bytes, err := f.get("upstreams/4000/closed/idlewise bytes each")
			return []float64{bytes / 1000}, err
		}, holds: relation{atMost, 1.15, 0},
	},
	// What closing early costs.
	{
		what: "round trips that a resumed session saves, TLS 1.2",
		file: "docs/compatibility.md", words: `redials cost (\w+) round trip less with TLS 1.2`,
		source: "bench", measure: difference("redials/tls1.2/round trips", "redials/tls1.2-resumed/round trips"), holds: exactly,
	},
	{
		what: "round trips that a resumed session saves, TLS 1.3",
		file: "docs/compatibility.md", words: `(none) with TLS 1.3`,
		source: "bench", measure: difference("redials/tls1.3/round trips", "redials/tls1.3-resumed/round trips"), holds: exactly,
	},
	// The fault server.
	{
		what: "fault server: kB of an idle connection",
		file: "faultserver/README.md", words: `at ([\d.]+) kB of heap and stack each`,
		source: "held", measure: func(f figures) ([]float64, error) {
			bytes, err := f.get("held")
			return []float64{bytes / 1000}, err
		}, holds: relation{atMost, 1.25, 0},
	},
}

func one(name string) func(figures) ([]float64, error) { return each(name) }

// each returns several figures.
func each(names ...string) func(figures) ([]float64, error) {
	return func(f figures) ([]float64, error) {
		var xs []float64
		for _, n := range names {
			x, err := f.get(n)
			if err != nil {
				return nil, err
			}
			xs = append(xs, x)
		}
		return xs, nil
	}
}

func two(a, b string, of func(a, b float64) float64) func(figures) ([]float64, error) {
	return func(f figures) ([]float64, error) {
		xs, err := each(a, b)(f)
		if err != nil {
			return nil, err
		}
		return []float64{of(xs[0], xs[1])}, nil
	}
}

func ratio(a, b string) func(figures) ([]float64, error) {
	return two(a, b, func(a, b float64) float64 { return a / b })
}

func difference(a, b string) func(figures) ([]float64, error) {
	return two(a, b, func(a, b float64) float64 { return a - b })
}

var callers = []int{1, 16, 128}

// allocations returns by how many idlewise's differ from net/http's, with a
// sign, for each number of callers.
func allocations(protocol, context string, sign float64) func(figures) ([]float64, error) {
	return func(f figures) ([]float64, error) {
		var xs []float64
		for _, n := range callers {
			x, err := f.get(fmt.Sprintf("requests/%s/%d/empty/%s/difference", protocol, n, context))
			if err != nil {
				return nil, err
			}
			xs = append(xs, sign*x)
		}
		return xs, nil
	}
}

// times returns the ratios to net/http's time for each number of callers and
// kind of context: that of processor time where it is lower, since other
// programs disturb now the one and now the other, and what idlewise does shows
// in both.
func times(protocol string) func(figures) ([]float64, error) {
	return func(f figures) ([]float64, error) {
		var xs []float64
		for _, n := range callers {
			least := []float64{}
			for _, context := range []string{"background", "cancelable"} {
				row := fmt.Sprintf("requests/%s/%d/empty/%s/", protocol, n, context)
				x, err := each(row+"ratio", row+"cpu ratio")(f)
				if err != nil {
					return nil, err
				}
				least = append(least, min(x[0], x[1]))
			}
			xs = append(xs, (least[0]+least[1])/2)
		}
		return xs, nil
	}
}
