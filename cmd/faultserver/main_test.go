package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// mistaken runs the command with a command line that is wrong, and returns what
// it says.
func mistaken(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	require.Equal(t, exitUsage, run(args, nil, &out, &errs, false), "%s", &errs)
	require.Empty(t, out.String())
	return errs.String()
}

func TestEveryMistakeIsSaidBeforeAnythingListens(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	endless := write("endless.yaml", "name: endless\nphases:\n  - name: a\n  - name: b\n")
	unreachable := write("unreachable.yaml", "name: s\nfaults: [{kind: goaway}]\nphases: [{name: p}]\n")
	broken := write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-fault", "fin-after-requst"}, `-fault:1:1: kind: unknown kind of fault "fin-after-requst"; did you mean fin-after-request?`},
		{[]string{"-fault", "silent-close reuse_only"}, `-fault:1:14: reuse_only: unknown field "reuse_only"; did you mean reused_only?`},
		{[]string{"-fault", "silent-close nth_on_conn=1 reused_only"}, `-fault:1:28: reused_only: contradicts nth_on_conn 1`},
		{[]string{"-fault", "silent-close nth=3 times=2"}, `-fault:1:26: times: 2 contradicts nth 3, which strikes once`},
		{[]string{"-fault", "silent-close", "-fault", "delay"}, `-fault (no. 2):1:1: after: delay needs it`},
		{[]string{"-fault", "alpn-refused"}, "-fault: fault alpn-refused: strikes only under TLS, which this server does not serve: start it with TLS (Config.TLS, server.tls, -tls)"},
		{[]string{"-protocols", "h2c", "-fault", "idle-408 after=1s"}, "-fault: fault idle-408: strikes only on HTTP/1, which this server does not serve: add http1"},
		{[]string{"-scenario", unreachable}, "-scenario: scenario s: faults[0].kind: fault goaway: strikes only on HTTP/2"},
		{[]string{"-scenario", endless}, endless + `:3:5: phases[0]: never ends, so that "b" never begins: give it a duration or until`},
		{[]string{"-scenario", filepath.Join(dir, "missing.yaml")}, "missing.yaml: no such file"},
		{[]string{"-scenario", "uvicorn"}, `-scenario: unknown scenario "uvicorn"; did you mean uvicorn-five-seconds?`},
		{[]string{"-cert", broken, "-key", broken}, "-cert " + broken + ", -key " + broken + ": "},
		{[]string{"-cert", filepath.Join(dir, "missing.pem"), "-key", broken}, "missing.pem: no such file"},
		{[]string{"-cert", broken}, "-cert: needs -key"},
		{[]string{"-key", broken}, "-key: needs -cert"},
		{[]string{"-personality", "iis6"}, `-personality: unknown server "iis6"`},
		{[]string{"-time-scale", "-1"}, "-time-scale: -1 is not a factor above 0"},
		{[]string{"-protocols", "http2"}, "-protocols: http2 needs -tls; without it, use h2c\n"},
		{[]string{"-protocols", "h2c", "-tls"}, "-protocols: h2c is without TLS; with -tls, use http2\n"},
		{[]string{"-protocols", "spdy"}, `-protocols: unknown protocol "spdy"`},
		{[]string{"-handler", "ecko"}, `-handler: "ecko" is neither echo nor proxy:URL`},
		{[]string{"-handler", "proxy:127.0.0.1:9000"}, "-handler: "},
		{[]string{"-handler", "proxy:ftp://a"}, `-handler: proxy: target: "ftp://a" is not of the form http://host:port`},
		{[]string{"-listen", "8080"}, "-listen: address 8080: missing port in address"},
		{[]string{"-control", "0.0.0.0:1"}, "-control: 0.0.0.0:1 can be reached from other machines"},
		{[]string{"-control", "127.0.0.1:99999"}, "-control: address 99999: invalid port; an address is host:port"},
		{[]string{"-listen", "127.0.0.1:99999"}, "-listen: address 99999: invalid port; an address is host:port"},
		{[]string{"-fault", "delay after=1s jitter=-1s"}, "-fault:1:23: jitter: -1s is negative"},
		{[]string{"serve"}, `"serve" is not a flag`},
		{[]string{"-fault", "delay after=1s; delay after=2s", "-fault", "goaway"}, "-fault (no. 2): fault goaway: strikes only on HTTP/2"},
		{[]string{"-fault", "delay after=1s; goaway"}, "-fault: fault goaway: strikes only on HTTP/2"},
		{[]string{"-seed", "-1"}, `invalid value "-1" for flag -seed: it is to be a whole number from 0 on; -help`},
		{[]string{"-time-scale", "fast"}, `invalid value "fast" for flag -time-scale: it is to be a number, such as 10; -help`},
		{[]string{"-drain-timeout", "5"}, `invalid value "5" for flag -drain-timeout: it is to be a duration, such as 30s or 2m; -help`},
		{[]string{"-fault", ""}, "-fault: is empty"},
		{[]string{"-fault", " ; "}, "-fault: is empty"},
		{[]string{"-personality", "ngnix"}, `-personality: unknown server "ngnix"; did you mean nginx?`},
		{[]string{"-personality", "Nginx"}, `-personality: unknown server "Nginx"; did you mean nginx?`},
		{[]string{"-drain-timeout", "-1s"}, "-drain-timeout: -1s is negative"},
		{[]string{"-time-scale", "0"}, "-time-scale: 0 is not a factor above 0"},
		{[]string{"-control-remote"}, "-control-remote: needs -control"},
		{[]string{"-handler", "proxy:http://h/base?x=1"}, "only scheme, host and path are used"},
		{[]string{"-cert-out", "cert.pem"}, "-cert-out: needs -tls"},
		{[]string{"-scenario", "uvicorn"}, "did you mean uvicorn-five-seconds? (a file's name ends in .yaml, .yml or .json)"},
		{[]string{"-fault", `status code="503"`}, `-fault:1:13: code: "503" is a text where a number or an error code's name belongs: leave the quotes out`},
		{[]string{"-fault", "explode"}, `-fault:1:1: kind: unknown kind of fault "explode"; Kinds, GET /kinds and -list have them all`},
	} {
		require.Contains(t, mistaken(t, test.args...), test.want)
	}
	all := mistaken(t, "-fault", "x", "-personality", "y", "-handler", "z")
	for _, flag := range []string{"-fault", "-personality", "-handler"} {
		require.Contains(t, all, flag+":")
	}
}

func TestAnAddressWithoutAPortIsNotCalledReachableToo(t *testing.T) {
	require.Equal(t, "faultserver: -control: address 127.0.0.1: missing port in address; an address is host:port, such as 127.0.0.1:8080\n",
		mistaken(t, "-control", "127.0.0.1"))
}

func TestAWrongFlagIsSaidInOneLine(t *testing.T) {
	for _, args := range [][]string{{"-seed", "x"}, {"-sed", "1"}, {"-listen"}} {
		said := mistaken(t, args...)
		require.Equal(t, 1, strings.Count(said, "\n"), said)
		require.Contains(t, said, "; -help shows all flags")
	}
}

func TestTheVersionIsTheModulesAndTheToolchains(t *testing.T) {
	var out, errs bytes.Buffer
	require.Equal(t, exitFine, run([]string{"-version"}, nil, &out, &errs, false))
	require.Regexp(t, `^faultserver \S+ go1\.\S+\n$`, out.String())
}

func TestAFaultThatCannotBeReadIsReportedOnce(t *testing.T) {
	for _, fault := range []string{"fin-after-requst", "delay", "silent-close nth=3 times=2"} {
		require.Equal(t, 1, strings.Count(mistaken(t, "-fault", fault), "-fault"), fault)
	}
}

func TestAJournalThatCannotBeCreatedIsSaidBeforeAnythingListens(t *testing.T) {
	var out, errs bytes.Buffer
	file := filepath.Join(t.TempDir(), "missing", "journal")
	require.Equal(t, exitFailed, run([]string{"-listen", "127.0.0.1:0", "-journal", file}, nil, &out, &errs, false))
	require.Empty(t, out.String())
	require.Contains(t, errs.String(), "-journal: open "+file+": no such file or directory; name a file that may be written, in a folder that is there\n")
}

func TestListAndHelpTellWhatThereIs(t *testing.T) {
	var out, errs bytes.Buffer
	require.Equal(t, exitFine, run([]string{"-list"}, nil, &out, &errs, false))
	for _, want := range []string{"uvicorn-five-seconds", "A pooling client in front of a Python service.", "close-on-reuse\n", "  nginx          1m15s    fin          1000   ", "restart-abruptly", " code [after value]\n", " after [jitter]\n"} {
		require.Contains(t, out.String(), want)
	}
	require.Equal(t, exitFine, run([]string{"-help"}, nil, &out, &errs, false))
	for _, want := range []string{"-handler echo or proxy:URL\n", ".yaml, .yml or .json", "proxy:http://", "-drain-timeout", "X-Fault"} {
		require.Contains(t, errs.String(), want)
	}
}

func TestTheExamplesOfTheHelpAreRight(t *testing.T) {
	examples := 0
	for line := range strings.SplitSeq(usage, "\n") {
		line, ok := strings.CutPrefix(line, "  "+commandName+" ")
		if !ok {
			continue
		}
		var errs bytes.Buffer
		_, err := parseOptions(shellWords(line), &errs)
		require.NoError(t, err, line)
		examples++
	}
	require.Equal(t, 6, examples)
}

func TestTheCommandLinesOfTheREADMEAreRight(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "faultserver", "README.md"))
	require.NoError(t, err)
	lines := 0
	for line := range strings.SplitSeq(string(text), "\n") {
		if line, ok := strings.CutPrefix(line, "go run ./cmd/faultserver "); ok {
			var errs bytes.Buffer
			_, err := parseOptions(shellWords(line), &errs)
			require.NoError(t, err, line)
			lines++
		}
	}
	require.Equal(t, 4, lines)
}

// shellWords splits at spaces outside single quotes.
func shellWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}

// screen is a terminal that can be read while it is written.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen chan struct{}
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.seen <- struct{}{}:
	default:
	}
	return s.text.Write(p)
}

func TestATerminalShowsOneLineThatIsRenewed(t *testing.T) {
	sc, err := faultserver.LoadScenario("uvicorn-five-seconds")
	require.NoError(t, err)
	s := faultserver.Start(t, faultserver.Config{Scenario: sc, Faults: []faultserver.Fault{{Kind: faultserver.Status, Code: 503}}})
	resp, err := s.Client().Get(s.URL)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body) // or the client gives the connection up
	require.NoError(t, err)
	resp.Body.Close()
	w := &screen{seen: make(chan struct{})}
	stop := showStatus(w, true, s)
	for range 2 {
		select {
		case <-w.seen:
		case <-time.After(10 * time.Second):
			t.Fatal("no status line")
		}
	}
	stop()
	require.Contains(t, w.text.String(),
		"\r\x1b[Kconnections 1 (1 open)  requests 1  faults 1  phase 1/2 quick-succession")
	require.True(t, strings.HasSuffix(w.text.String(), "\r\x1b[K"), "the line is gone at the end")
}
