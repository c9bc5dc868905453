package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A quotedCommand is a go command that a document tells its reader to run.
type quotedCommand struct {
	file string
	dir  string // from the root
	args []string
}

var (
	inlineCode = regexp.MustCompile("`([^`]+)`")
	goCommand  = regexp.MustCompile(`(?:cd (\S+) && )?go (test|run) .*`)
	quoted     = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
)

// quotedCommands finds the go commands in a document: in code within lines,
// which may be broken, and in blocks.
func quotedCommands(file, text string) []quotedCommand {
	var blocks, prose []string
	for i, part := range strings.Split(text, "```") {
		if i%2 == 1 {
			blocks = append(blocks, strings.Split(strings.ReplaceAll(part, "\\\n", " "), "\n")...)
			continue
		}
		for line := range strings.Lines(part) {
			if strings.HasPrefix(line, "    ") {
				blocks = append(blocks, line)
			}
		}
		for _, m := range inlineCode.FindAllStringSubmatch(part, -1) {
			prose = append(prose, blank.ReplaceAllString(m[1], " "))
		}
	}
	var found []quotedCommand
	for _, code := range append(blocks, prose...) {
		code, _, _ = strings.Cut(code, " #")
		m := goCommand.FindStringSubmatch(strings.TrimSpace(code))
		if m == nil || strings.Contains(code, "...") && m[2] == "run" {
			continue
		}
		whole := m[0][strings.Index(m[0], "go "+m[2])+len("go "):]
		var args []string
		for _, a := range quoted.FindAllString(whole, -1) {
			args = append(args, strings.Trim(a, `'"`))
		}
		found = append(found, quotedCommand{file, m[1], args})
	}
	return found
}

// documents are all there are in the repository.
func documents(t *testing.T) map[string]string {
	out, err := exec.Command("git", "-C", root(t), "ls-files", "*.md").Output()
	if err != nil {
		t.Skip("git does not tell which documents there are: ", err)
	}
	texts := map[string]string{}
	for _, name := range strings.Fields(string(out)) {
		text, err := os.ReadFile(filepath.Join(root(t), name))
		require.NoError(t, err)
		texts[name] = string(text)
	}
	return texts
}

var aTest = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz|Example)\w*)\(`)

// testsIn returns the names of a folder's tests, benchmarks and fuzz targets.
func testsIn(t *testing.T, dir string) (names []string) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range aTest.FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	return names
}

func TestEveryCommandInTheDocsRunsSomethingThatExists(t *testing.T) {
	n := 0
	for name, text := range documents(t) {
		for _, c := range quotedCommands(name, text) {
			n++
			c.check(t)
		}
	}
	require.Greater(t, n, 30)
}

// check looks for what the command names below the folders that the reader
// may stand in: the root, and the document's own.
func (c *quotedCommand) check(t *testing.T) {
	var target, selected []string
	for i := 1; i < len(c.args); i++ {
		switch a := c.args[i]; {
		case a == "-args":
			i = len(c.args)
		case (a == "-run" || a == "-bench" || a == "-fuzz") && i+1 < len(c.args):
			i++
			if a := c.args[i]; !slices.Contains([]string{"^$", "xxx", "."}, a) {
				selected = append(selected, strings.Split(a, "/")[0])
			}
		case a == "." || strings.HasPrefix(a, "./"):
			target = append(target, a)
		}
	}
	if len(target) == 0 && c.args[0] == "run" {
		return // a package by its import path
	}
	if len(target) == 0 {
		target = []string{"."}
	}
	for _, pkg := range target {
		pkg, deep := strings.CutSuffix(pkg, "/...")
		var dirs []string
		for _, from := range []string{root(t), filepath.Join(root(t), filepath.Dir(c.file))} {
			if dir := filepath.Join(from, c.dir, pkg); isDir(dir) {
				dirs = append(dirs, dir)
			}
		}
		require.NotEmpty(t, dirs, "%s: go %s", c.file, strings.Join(c.args, " "))
		for _, s := range selected {
			re, err := regexp.Compile(s)
			require.NoError(t, err, c.file)
			require.True(t, deep || slices.ContainsFunc(dirs, func(dir string) bool {
				return slices.ContainsFunc(testsIn(t, dir), re.MatchString)
			}), "%s: go %s selects no test", c.file, strings.Join(c.args, " "))
		}
	}
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

func TestCommandsAreFoundInProseAndInBlocks(t *testing.T) {
	text := "Text (`go test -run\n'A|B' -v .`) and `go build`.\n\n    go run ./examples/quickstart\n\n" +
		"```\ncd bench && go run . -callers \"\"   # all\ngo test ./x \\\n    -bench Y\n```\n"
	require.Equal(t, []quotedCommand{
		{"f", "", []string{"run", "./examples/quickstart"}},
		{"f", "bench", []string{"run", ".", "-callers", ""}},
		{"f", "", []string{"test", "./x", "-bench", "Y"}},
		{"f", "", []string{"test", "-run", "A|B", "-v", "."}},
	}, quotedCommands("f", text))
}
