package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

// asCommand makes the test's own binary be the command: a process of its own,
// with its signals, streams and exit code, and nothing to build.
const asCommand = "IDLEWISE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

func command(t *testing.T, args ...string) *exec.Cmd {
	exe, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1", "HTTP_PROXY=", "http_proxy=", "GOCOVERDIR="+t.TempDir())
	return cmd
}

// execute runs the command to its end.
func execute(t *testing.T, args ...string) (code int, stdout, stderr string) {
	cmd := command(t, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// idle is long beside the time for which a busy machine lets a program wait.
const idle = 150 * time.Millisecond

func closing(t *testing.T) *faultserver.Server {
	return faultserver.Start(t, faultserver.Config{IdleTimeout: idle, KeepAlive: "timeout=7"})
}

// quick are flags for servers that close soon.
var quick = []string{"probe", "-connections", "1", "-timeout", "20s"}

func TestTheCommandMeasuresSeveralServersAtOnce(t *testing.T) {
	a, b := closing(t), closing(t)
	code, out, errOut := execute(t, append(quick, a.URL+"/health", b.URL)...)
	require.Equal(t, exitMeasured, code, errOut)
	lines := strings.Split(out, "\n")
	require.Regexp(t, `^URL +ANNOUNCED +MEASURED +SPREAD +CONNECTIONS +ENDS BY$`, lines[0])
	for i, url := range []string{a.URL + "/health", b.URL} {
		require.Regexp(t, "^"+url+` +7s +[0-9.]+m?s +[0-9.]+.?s +1 of 1 +FIN$`, lines[i+1])
	}
	require.Regexp(t, `(?m)^upstreams:\n  "`+a.URL+`":\n    server_keep_alive: [0-9.]+m?s\n  "`+b.URL+`":\n    server_keep_alive: [0-9.]+m?s\n$`, out)
	require.Contains(t, errOut, "probing "+b.URL+", for up to 20s\n")
	require.Contains(t, errOut, b.URL+": connection 1 to ", "not on a terminal: plain lines")
	require.NotContains(t, errOut, "\x1b")
}

func TestTheCommandPrintsJSON(t *testing.T) {
	s := closing(t)
	code, out, errOut := execute(t, append(quick, s.URL, "-json", "-requests", "5")...)
	require.Equal(t, exitMeasured, code, errOut)
	var entries []struct {
		URL      string
		Measured bool
		Policy   map[string]string `json:"suggested_policy"`
		Report   idlewise.ProbeReport
	}
	require.NoError(t, json.Unmarshal([]byte(out), &entries), out)
	require.Len(t, entries, 1)
	require.True(t, entries[0].Measured)
	require.Equal(t, 7*time.Second, entries[0].Report.Announced)
	require.Len(t, entries[0].Report.Conns, 1)
	require.Equal(t, 5, entries[0].Report.Requests.Answered)
	d, err := time.ParseDuration(entries[0].Policy["server_keep_alive"])
	require.NoError(t, err)
	require.Equal(t, entries[0].Report.SuggestedPolicy().ServerKeepAlive, d)
}

func TestTheExitCodeTellsThatAServerWasNotMeasured(t *testing.T) {
	s := closing(t)
	never := faultserver.Start(t, faultserver.Config{})
	gone := closing(t)
	require.NoError(t, gone.Close())
	for name, c := range map[string]struct {
		url  string
		want string
	}{
		"refuses":      {gone.URL, "is the server running"},
		"never closes": {never.URL, "still open after"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, _ := execute(t, append(quick, "-timeout=3s", s.URL, c.url)...)
			require.Equal(t, exitUnmeasured, code)
			require.Contains(t, out, c.want)
			require.Contains(t, out, s.URL+`":`, "the other is reported all the same")
		})
	}
}

func TestTheExitCodeTellsThatTheCommandLineIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"nothing":        {nil, "Usage: idlewise probe"},
		"no such thing":  {[]string{"prope"}, `there is no command "prope"`},
		"no URL":         {[]string{"probe", "-json"}, "no URL; give at least one"},
		"no such flag":   {[]string{"probe", "-conections", "3", "http://a"}, "-conections"},
		"no unit":        {[]string{"probe", "-timeout", "30", "http://a"}, "-timeout"},
		"bad header":     {[]string{"probe", "-header", "Name", "http://a"}, `write it as "Name: value"`},
		"no scheme":      {[]string{"probe", "example.com"}, "begin it with http:// or https://"},
		"out of range":   {[]string{"probe", "-connections", "99", "http://a"}, "-connections: 99 is not between 1 and 32"},
		"port only":      {[]string{"probe", "localhost:8080"}, `"localhost:8080": the URL's scheme is "localhost"; begin it with http:// or https://`},
		"no host":        {[]string{"probe", "http://"}, `"http://": the URL names no host`},
		"negative time":  {[]string{"probe", "-timeout", "-5s", "http://a"}, "-timeout: -5s is negative"},
		"which unit":     {[]string{"probe", "-timeout", "5", "http://a"}, "write 5s if seconds are meant"},
		"tiny":           {[]string{"probe", "-timeout", "5us", "http://a"}, "is under a millisecond"},
		"no time":        {[]string{"probe", "-timeout", "long", "http://a"}, "write it like 5s, 250ms"},
		"requests":       {[]string{"probe", "-requests", "-1", "http://a"}, "-requests: -1 is not between"},
		"method":         {[]string{"probe", "-method", "A B", "http://a"}, "-method or -header: "},
		"header value":   {[]string{"probe", "-header", "A: b\nc", "http://a"}, "-method or -header: "},
		"unsafe again":   {[]string{"probe", "-method", "POST", "-requests", "5", "http://a"}, "-method: POST may have effects, and -bisect and -requests repeat it"},
		"no bisection":   {[]string{"probe", "-resolution", "1s", "http://a"}, "-resolution means nothing without -bisect"},
		"no CA":          {[]string{"probe", "-ca", "/does/not/exist", "http://a"}, "-ca: open /does/not/exist"},
		"CA, insecure":   {[]string{"probe", "-ca", "x", "-insecure", "http://a"}, "leave one of the two out"},
		"unsafe repeats": {[]string{"probe", "-method", "POST", "-bisect", "http://a"}, "use GET, HEAD"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := execute(t, c.args...)
			require.Equal(t, exitUsage, code)
			require.Contains(t, out+errOut, c.want)
			require.NotContains(t, out+errOut, "ProbeOptions", "nobody knows that at a command line")
			require.NotContains(t, out+errOut, "panic")
		})
	}
}

func TestAMistakeIsFoundBeforeAnythingIsProbed(t *testing.T) {
	s := closing(t)
	code, out, errOut := execute(t, append(quick, s.URL, "localhost:8080", "ftp://a", "ftp://a", "-requests", "-1")...)
	require.Equal(t, exitUsage, code)
	require.Empty(t, out)
	require.Empty(t, s.Journal().Requests())
	require.Equal(t, `idlewise probe: -requests: -1 is not between 0 and 100000; give a number in between
idlewise probe: "localhost:8080": the URL's scheme is "localhost"; begin it with http:// or https://
idlewise probe: ftp://a: the URL's scheme is "ftp"; begin it with http:// or https://
idlewise probe -help tells more.
`, errOut, "all mistakes, each once")
}

func TestACertificateAuthorityCanBeNamed(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{TLS: true, IdleTimeout: idle})
	code, out, _ := execute(t, append(quick, s.URL)...)
	require.Equal(t, exitUnmeasured, code)
	require.Contains(t, out, "-ca FILE")
	require.Contains(t, out, "-insecure")
	require.NotContains(t, out, "RootCAs")

	resp, err := s.Client().Get(s.URL)
	require.NoError(t, err)
	resp.Body.Close()
	chain := resp.TLS.PeerCertificates
	file := filepath.Join(t.TempDir(), "ca.pem")
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[len(chain)-1].Raw})
	require.NoError(t, os.WriteFile(file, authority, 0o600))
	code, out, errOut := execute(t, append(quick, "-ca", file, s.URL)...)
	require.Equal(t, exitMeasured, code, out+errOut)

	require.NoError(t, os.WriteFile(file, chain[0].Raw, 0o600))
	code, _, errOut = execute(t, append(quick, "-ca", file, s.URL)...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errOut, "no certificate in PEM")
}

func TestTheHelpDocumentsTheExitCodes(t *testing.T) {
	code, out, errOut := execute(t, "probe", "-help")
	require.Equal(t, exitMeasured, code)
	require.Empty(t, errOut)
	for _, want := range []string{"    0  ", "    1  ", "    2  ", "  130  ", "-bisect", "-json"} {
		require.Contains(t, out, want)
	}
	code, out, _ = execute(t, "help")
	require.Equal(t, exitMeasured, code)
	require.Contains(t, out, "Usage: idlewise probe")
}

func TestTheDocsHaveEveryFlagAndExitCode(t *testing.T) {
	docs, err := os.ReadFile("../../docs/probe.md")
	require.NoError(t, err)
	_, help, _ := execute(t, "probe", "-help")
	for pattern, inDocs := range map[string]string{
		`(?m)^  (-[a-z0-9-]+)`: "\n| `%s",
		`(?m)^ +(\d+)  `:       "\n| %s |",
	} {
		found := regexp.MustCompile(pattern).FindAllStringSubmatch(help, -1)
		require.GreaterOrEqual(t, len(found), 4)
		for _, m := range found {
			require.Contains(t, string(docs), fmt.Sprintf(inDocs, m[1]))
		}
	}
}

func TestCtrlCPrintsWhatIsKnownSoFar(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent Ctrl-C on Windows")
	}
	closed, never := closing(t), faultserver.Start(t, faultserver.Config{})
	cmd := command(t, append(quick, closed.URL, never.URL)...)
	var out bytes.Buffer
	cmd.Stdout = &out
	errOut, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	for lines := bufio.NewScanner(errOut); lines.Scan() && !strings.Contains(lines.Text(), "connection 1"); {
	}
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	cmd.Wait()
	require.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode())
	require.Contains(t, out.String(), "server_keep_alive")
	require.Regexp(t, "(?m)^"+closed.URL+" +7s ", out.String())
	require.Regexp(t, "(?m)^"+never.URL+" +- ", out.String())
	require.Contains(t, out.String(), "interrupted after")
}

func TestTheCommandSendsWhatItIsAskedTo(t *testing.T) {
	type seen struct{ method, host, a, connection, proto string }
	got := make(chan seen, 10)
	s := faultserver.Start(t, faultserver.Config{TLS: true, IdleTimeout: idle, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- seen{r.Method, r.Host, strings.Join(r.Header["X-A"], "+"), r.Header.Get("Connection"), r.Proto}
	})})
	args := append(quick, "-method=OPTIONS", "-header", "X-A: 1", "-header", "x-a:2", "-header", "Host: other",
		"-elicit-hint", "-http1", s.URL)
	var out, errOut bytes.Buffer
	code := run(t.Context(), args, &out, &errOut, nil)
	require.Equal(t, exitUnmeasured, code)
	require.Contains(t, out.String(), "certificate")

	code = run(t.Context(), append(args, "-insecure"), &out, &errOut, nil)
	require.Equal(t, exitMeasured, code, errOut.String())
	require.Equal(t, seen{"OPTIONS", "other", "1+2", "keep-alive", "HTTP/1.1"}, <-got)
}

func TestOnATerminalThereIsABarForEachURL(t *testing.T) {
	s := closing(t)
	var out, errOut bytes.Buffer
	code := run(t.Context(), append(quick, s.URL, s.URL+"/a-path-that-is-too-long-for-a-line-of-a-terminal"), &out, &errOut, func() int { return 80 })
	require.Equal(t, exitMeasured, code)
	require.Contains(t, errOut.String(), "\x1b[2A\r\x1b[K"+s.URL)
	require.Contains(t, errOut.String(), "[################]")
	for line := range strings.SplitSeq(errOut.String(), "\n") {
		line = strings.NewReplacer("\x1b[2A", "", "\r", "", "\x1b[K", "").Replace(line)
		require.LessOrEqual(t, len(line), 79, line)
	}
}

func TestALineOfProgressDoesNotWrap(t *testing.T) {
	for _, it := range []item{
		{url: "http://a"},
		{url: "https://a-name-that-is-too-long.example.com/for/any/line", ends: 3},
		{url: "https://a-name-that-is-too-long.example.com/for/any/line", took: time.Second, state: "closes at once"},
		{url: "http://ä/", took: time.Hour, state: "timeout"},
	} {
		for width := range 200 {
			for _, timeout := range []time.Duration{time.Second, 2 * time.Minute, 24 * time.Hour} {
				line := it.line(timeout/2, timeout, width)
				require.LessOrEqual(t, len(line), max(0, width-1), line)
				require.Equal(t, width >= 62, strings.Contains(line, "]"), line)
				if width >= 66 && timeout == 2*time.Minute && it.took == time.Second {
					require.Contains(t, line, it.state)
				}
			}
		}
	}
}

func TestAPasswordIsNotPrinted(t *testing.T) {
	s := closing(t)
	for _, url := range []string{strings.Replace(s.URL, "http://", "http://me:secret@", 1), "http://me:secret@127.0.0.1:1/", "http://me:secret@ \x7f", "me:secret@host", "http://me:secret@"} {
		for _, flag := range []string{"-json", "-json=false"} {
			var out, errOut bytes.Buffer
			run(t.Context(), append(quick, flag, url), &out, &errOut, nil)
			require.NotContains(t, out.String()+errOut.String(), "secret")
		}
	}
}

func FuzzHeaderFlag(f *testing.F) {
	f.Add("Name: value")
	f.Add(":")
	f.Fuzz(func(t *testing.T, s string) {
		h := make(http.Header)
		err := addHeader(h, s)
		if (err == nil) != (len(h) == 1) {
			t.Fatalf("%q: %v, %v", s, h, err)
		}
	})
}
