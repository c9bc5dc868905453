package faultserver_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// The lines of CONTROL.md and README.md are run as they stand there, and
// answered as they say.
func TestTheCurlLinesOfTheManualsWork(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("sh is not installed")
	}
	for file, least := range map[string]int{"CONTROL.md": 11, "README.md": 3} {
		require.GreaterOrEqual(t, curlLines(t, file), least, file)
	}
}

func curlLines(t *testing.T, file string) (lines int) {
	manual, err := os.ReadFile(file)
	require.NoError(t, err)
	s := controlled(t, faultserver.Config{HeaderFaults: true})
	here := strings.NewReplacer("http://127.0.0.1:8081", s.ControlURL, "http://127.0.0.1:8080", s.URL)

	// Every block is a line that begins with "$ ", and what it prints; "..."
	// stands for anything.
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(manual), -1) {
		for _, each := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			line, want, _ := strings.Cut(each, "\n")
			for strings.HasSuffix(line, `\`) {
				next, rest, _ := strings.Cut(want, "\n")
				line, want = strings.TrimSuffix(line, `\`)+next, rest
			}
			out, err := exec.CommandContext(t.Context(), "sh", "-c", here.Replace(line)).CombinedOutput()
			require.NoError(t, err, "%s\n%s", line, out)
			pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(here.Replace(want))), `\.\.\.`, `.*`)
			got := strings.TrimSpace(strings.ReplaceAll(string(out), "\r\n", "\n"))
			require.Regexp(t, "^(?s:"+pattern+")$", got, line)
			lines++
		}
	}
	return lines
}
