package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

func TestIdlewiseHasNoErrorAndNoPOSTIsExecutedTwice(t *testing.T) {
	opt, err := parseOptions([]string{"-callers", "32", "-requests", "480", "-duration", "10s"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := newScene(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	defer sc.close()
	drive(t.Context(), sc)

	end := sc.ending(false)
	ours := end.ours
	if ours.requests != 480 || end.theirs.requests != 480 {
		t.Errorf("requests: %d and %d, want 480 each", end.theirs.requests, ours.requests)
	}
	if len(ours.causes) > 0 {
		t.Errorf("idlewise had errors: %v %v", ours.errors, ours.causes)
	}
	if ours.postTwice != 0 || ours.othersTwice != 0 || end.theirs.postTwice != 0 {
		t.Errorf("executed twice: %+v, %+v", end.theirs, ours)
	}
	if ours.connections >= ours.requests {
		t.Errorf("idlewise opened %d connections for %d requests: none was used again", ours.connections, ours.requests)
	}
	executed := 0
	for _, n := range sc.contenders[1].server.Journal().Executions() {
		executed += n
	}
	if executed != 480 {
		t.Errorf("the server executed %d requests of 480", executed)
	}
	if end.retired != 200*time.Millisecond {
		t.Errorf("idlewise retires at %v, want 200ms", end.retired)
	}
}

func TestBothTransportsGetTheSameCallsNearTheDeadline(t *testing.T) {
	const deadline = 100 * time.Millisecond
	newPlan := func() *plan { return newPlan(3, deadline, []string{"GET", "POST"}) }
	a, b := newPlan(), newPlan()
	long := 0
	for range 1000 {
		c := a.next()
		if other := b.next(); c != other {
			t.Fatalf("%v and %v", c, other)
		}
		if !c.long {
			if c.gap >= deadline/2 {
				t.Errorf("short gap of %v", c.gap)
			}
			continue
		}
		long++
		if (c.gap - deadline).Abs() > 5*time.Millisecond {
			t.Errorf("long gap of %v", c.gap)
		}
	}
	if long < 700 || long > 800 {
		t.Errorf("%d of 1000 gaps are long, want three in four", long)
	}
}

func TestAgainstAServerOfOnesOwn(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{IdleTimeout: 100 * time.Millisecond})
	code, stdout, stderr := quickstart(t, "-url", s.URL, "-post", "-keep-alive", "100ms", "-callers", "4", "-requests", "20")
	if code != exitFine {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	for _, want := range []string{
		s.URL + ": keep-alive 100ms (as you said).",
		"WARNING: with -post about 20 real POSTs",
		"Sending 20 requests through each, about 1s ...\n",
		"idlewise              20    0   -      -    0    n/a    n/a ",
		"idlewise: no error.",
		"only your server can tell",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in:\n%s", want, stdout)
		}
	}
	for _, r := range s.Journal().Requests() {
		if r.Method != "GET" && r.Method != "POST" || !r.KeyDerived {
			t.Errorf("sent to somebody's server: %+v", r)
		}
	}
}

func TestOnlyGETIsSentUnlessPOSTIsAskedFor(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	quickstart(t, "-url", s.URL, "-gap", "10ms", "-requests", "8")
	for _, r := range s.Journal().Requests() {
		if r.Method != "GET" {
			t.Errorf("sent a %s", r.Method)
		}
	}
}

func TestTheServerIsAskedForItsKeepAlive(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{KeepAlive: "timeout=7"})
	got, err := askKeepAlive(t.Context(), s.URL)
	if got != 7*time.Second || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAnErrorOfIdlewiseIsExitCode1(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{
		{Kind: faultserver.RstAfterRequest, Method: "POST"},
	}})
	code, stdout, _ := quickstart(t, "-url", s.URL, "-post", "-gap", "10ms", "-callers", "2", "-requests", "16")
	if code != exitBroken || strings.Contains(stdout, "idlewise: no error") {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
}

func TestAnInterruptShowsWhatIsKnown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout bytes.Buffer
	code := run(ctx, nil, &stdout, io.Discard, false)
	if code != exitFine || !strings.Contains(stdout.String(), "Stopped early") || !strings.Contains(stdout.String(), tableHead) {
		t.Errorf("exit code %d:\n%s", code, stdout.String())
	}
}

func TestNothingIsSentAfterTheDuration(t *testing.T) {
	code, stdout, _ := quickstart(t, "-duration", "300ms")
	if code != exitFine || !strings.Contains(stdout, "the time was up before all 1440 requests were sent") {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
}

func TestWrongFlagsAreNamedWithARemedy(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-url localhost:8000", "-url: "},
		{"-url ftp://host", "-url: "},
		{"-url", "-url"},
		{"http://localhost", "behind -url"},
		{"-post", "-post: only has a meaning for your own server; add -url"},
		{"-gap 5s", "-gap: only has"},
		{"-keep-alive 5s", "-keep-alive: only has"},
		{"-url http://h -gap 5ms", "-gap: 5ms is out of range; choose from 10ms"},
		{"-url http://h -gap 5", "a duration has a unit, as in 5s"},
		{"-url http://h -keep-alive -5s", "-keep-alive: -5s is out of range"},
		{"-url http://h -gap 30s -duration 20s", "-duration: 20s"},
		{"-duration 0s", "-duration: 0s is out of range"},
		{"-callers 0", "-callers: 0 is out of range; choose from 1 to 256"},
		{"-callers 1000", "-callers: 1000"},
		{"-requests 1000000", "-requests: 1000000"},
		{"-callers 9 -requests 8", "-requests: 8 are not enough for 9 callers"},
		{"-nonsense", "-nonsense"},
		{"-url http://127.0.0.1:1/", "-url: no answer to a first GET"},
	} {
		code, stdout, stderr := quickstart(t, strings.Fields(c.args)...)
		if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "quickstart: ") || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", c.args, code, stdout, stderr)
		}
		if strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: more than a line: %q", c.args, stderr)
		}
	}
}

func TestHelpIsNoError(t *testing.T) {
	code, _, stderr := quickstart(t, "-help")
	if code != exitFine || !strings.Contains(stderr, "-keep-alive duration") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

var (
	theirs = result{
		name: "http.Transport", requests: 2880,
		errors: map[string]int{"GET": 0, "PUT": 40, "DELETE": 39, "POST": 28},
		causes: map[string]int{"EOF": 69, "connection reset by peer": 38}, repeated: 42,
		connections: 1162, p50: 160 * time.Microsecond, p99: 1640 * time.Microsecond,
	}
	ours = result{
		name: "idlewise", requests: 2880,
		errors:      map[string]int{"GET": 0, "PUT": 0, "DELETE": 0, "POST": 0},
		connections: 2160, p50: 200 * time.Microsecond, p99: 12510 * time.Microsecond,
	}
)

func TestTheTable(t *testing.T) {
	own := result{name: "idlewise", requests: 100_000, errors: map[string]int{"GET": 100_000},
		postTwice: notCounted, othersTwice: notCounted, connections: 3}
	var b bytes.Buffer
	printTable(&b, theirs, ours, own)
	const want = `
                          errors by method    executed twice  conns latency, ms
transport       requests  GET PUT DELETE POST   POST others  opened   p50   p99
http.Transport      2880    0  40     39   28      0      0    1162  0.16  1.64
idlewise            2880    0   0      0    0      0      0    2160  0.20    13
idlewise          100000 100000   -      -    -    n/a    n/a       3     -     -
`
	if got := "\n" + b.String(); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
}

func TestTheStory(t *testing.T) {
	const deadline = 100 * time.Millisecond
	demo := ending{deadline: deadline, retired: 80 * time.Millisecond, planned: 2880, theirs: theirs, ours: ours}
	demo.retired += 345678 * time.Nanosecond // which nobody wants to read
	lucky := demo
	lucky.theirs.causes = nil
	broken := demo
	broken.ours.causes = map[string]int{"EOF": 1}
	broken.ours.postTwice = 2
	cut := demo
	cut.planned++
	own := ending{own: true, deadline: 5 * time.Second, planned: 2880, theirs: theirs, ours: ours}
	own.theirs.causes, own.theirs.postTwice = nil, notCounted
	own.theirs.alive, own.theirs.statuses = 9, map[int]int{405: 1}
	gone := own
	gone.theirs.alive, gone.theirs.closed, gone.theirs.statuses = 0, 9, nil

	for name, c := range map[string]struct {
		end  ending
		want []string
		not  []string
	}{
		"as usual": {demo, []string{
			"http.Transport: 3.7 % of the requests failed because the server was just closing their connection (EOF: 69, connection reset by peer: 38).",
			"It sent 42 requests a second time without telling.",
			"idlewise: no error. It closes a connection that was idle for 80ms (4.75s of 5s in life), before the server does, and so opened 2160 where http.Transport opened 1162.",
			"No POST was executed twice, say the servers' journals.",
		}, []string{"Stopped", "run it again"}},
		"without luck": {lucky, []string{"http.Transport: no error.", "run it again"}, []string{"failed"}},
		"a bug":        {broken, []string{"idlewise: 1 error (EOF: 1). This should not happen: please report it", "executed twice, as the servers' journals say: http.Transport 0, idlewise 2."}, []string{"No POST"}},
		"cut short":    {cut, []string{"the time was up before all 2881 requests were sent; -duration gives more"}, nil},
		"own server": {own, []string{
			"no error, since it repeats GETs by itself.", "-post shows it",
			"if that is after 5s, -keep-alive 5s lets it leave in time",
			"its keep-alive is longer", "http.Transport: 1 answer with status 405, not counted as an error.",
		}, []string{"journals", "4.75s", "run it again"}},
		"own server with a shorter keep-alive": {gone, []string{"its keep-alive is shorter"}, []string{"status"}},
	} {
		var b bytes.Buffer
		printStory(&b, c.end)
		text := strings.Join(strings.Fields(b.String()), " ")
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is missing in:\n%s", name, want, b.String())
			}
		}
		for _, not := range c.not {
			if strings.Contains(text, not) {
				t.Errorf("%s: says %q:\n%s", name, not, b.String())
			}
		}
		for line := range strings.Lines(b.String()) {
			if len(line) > 80 { // with its end
				t.Errorf("%s: too long: %q", name, line)
			}
		}
	}
}

func TestTheStoryKnowsWhenARealUvicornIsLeft(t *testing.T) {
	tr, err := idlewise.New(idlewise.Config{Policies: idlewise.Policies{
		Default: idlewise.Policy{ServerKeepAlive: uvicornKeepAlive},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if got := tr.Explain("http://localhost/").IdleLimit; got != realRetired {
		t.Errorf("it is left at %v, the story says %v", got, realRetired)
	}
}

func TestTheProgressLineIsWrittenOverOnATerminalOnly(t *testing.T) {
	sc := &scene{opt: options{requests: 100_000, callers: 1, duration: time.Hour}, deadline: time.Hour,
		contenders: [2]*contender{{tally: newTally()}, {tally: newTally()}}}
	var plain, terminal bytes.Buffer
	startProgress(&plain, false, sc)()
	startProgress(&terminal, true, sc)()
	if strings.Contains(plain.String(), "\r") || strings.Count(plain.String(), "\n") != 1 {
		t.Errorf("without a terminal: %q", plain.String())
	}
	parts := strings.Split(terminal.String(), "\r")
	if strings.Contains(terminal.String(), "\n") || parts[len(parts)-1] != "" || strings.TrimSpace(parts[len(parts)-2]) != "" {
		t.Errorf("on a terminal the line is not removed: %q", terminal.String())
	}
	sc.contenders[0].tally.requests, sc.contenders[0].tally.failed = 99_999, 99_999
	sc.contenders[1].tally.requests, sc.contenders[1].tally.failed = 99_999, 99_999
	if line := progressLine(sc, time.Hour); len(line) > 79 {
		t.Errorf("%d columns: %s", len(line), line)
	}
}

func TestEqualErrorsCountAsOne(t *testing.T) {
	reset := &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: 1}, Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for _, c := range []struct {
		err  error
		want string
	}{
		{&url.Error{Op: "Put", URL: "http://h/", Err: io.EOF}, "EOF"},
		{&url.Error{Op: "Put", URL: "http://h/", Err: reset}, syscall.ECONNRESET.Error()},
		{&url.Error{Op: "Put", URL: "http://h/", Err: fmt.Errorf("why: %w", reset)}, "why: " + syscall.ECONNRESET.Error()},
		{reset, syscall.ECONNRESET.Error()},
	} {
		if got := causeText(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

func quickstart(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs, false)
	return code, out.String(), errs.String()
}
