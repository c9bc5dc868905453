package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// figures are what a source measured, by name.
type figures map[string]float64

func (f figures) get(name string) (float64, error) {
	x, ok := f[name]
	if !ok {
		return 0, fmt.Errorf("the command did not print %q", name)
	}
	return x, nil
}

// A source is a command of the repository that prints figures.
type source struct {
	name string
	dir  string // from the repository's root
	args []string
	read func(output string) (figures, error)
}

// run runs the command and returns its figures.
func (s *source) run(ctx context.Context, root string) (figures, error) {
	cmd := exec.CommandContext(ctx, s.args[0], s.args[1:]...)
	cmd.Dir = filepath.Join(root, s.dir)
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s%s", s.command(), err, tail(out.String()), tail(errs.String()))
	}
	f, err := s.read(out.String())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.command(), err)
	}
	return f, nil
}

// command is what to type.
func (s *source) command() string {
	var words []string
	for _, a := range s.args {
		if a == "" || strings.ContainsAny(a, "|$^ ") {
			a = "'" + a + "'"
		}
		words = append(words, a)
	}
	line := strings.Join(words, " ")
	if s.dir != "." {
		line = "cd " + s.dir + " && " + line
	}
	return line
}

func tail(s string) string {
	const most = 2000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

// readTables reads the bench command's CSV. A figure's name is that of its
// table, the cells that say what the row is about, and the column, with
// slashes: "requests/http1/16/empty/background/ratio".
func readTables(out string) (figures, error) {
	f := figures{}
	keys := map[string]int{"requests": 4, "memory": 1, "checkout": 1, "upstreams": 2, "redials": 1}
	for block := range strings.SplitSeq(strings.TrimSpace(out), "\n\n") {
		rows, err := csv.NewReader(strings.NewReader(block)).ReadAll()
		if err != nil {
			return nil, err
		}
		if len(rows) < 2 {
			continue
		}
		head := rows[0]
		for _, r := range rows[1:] {
			n := keys[r[0]] + 1
			if n == 1 || n > len(r) {
				return nil, fmt.Errorf("table %q is not known", r[0])
			}
			for i := n; i < len(r); i++ {
				if x, err := strconv.ParseFloat(r[i], 64); err == nil {
					f[strings.Join(append(append([]string{}, r[:n]...), head[i]), "/")] = x
				}
			}
		}
	}
	if len(f) == 0 {
		return nil, errors.New("no tables")
	}
	return f, nil
}

// readBenchmarks reads what go test -bench prints. A figure's name is the
// benchmark's, without the number of processors, and the unit.
func readBenchmarks(out string) (figures, error) {
	f := figures{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
		for i := 2; i+1 < len(fields); i += 2 {
			x, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
			}
			f[name+" "+fields[i+1]] = x
		}
	}
	if len(f) == 0 {
		return nil, errors.New("no benchmarks")
	}
	return f, nil
}

// readWords finds figures in a text by the groups of regular expressions,
// which are named like them. Each must match.
func readWords(patterns ...string) func(string) (figures, error) {
	return func(out string) (figures, error) {
		f := figures{}
		var errs []error
		for _, p := range patterns {
			re := regexp.MustCompile(p)
			m := re.FindStringSubmatch(out)
			if m == nil {
				errs = append(errs, fmt.Errorf("it did not print %q", p))
				continue
			}
			for i, name := range re.SubexpNames() {
				if name == "" {
					continue
				}
				x, err := parseNumber(m[i])
				if err != nil {
					errs = append(errs, err)
				}
				f[name] = x
			}
		}
		return f, errors.Join(errs...)
	}
}

// readQuickstart reads the row of idlewise.
func readQuickstart(out string) (figures, error) {
	lines := bufio.NewScanner(strings.NewReader(out))
	columns := []string{"requests", "GET errors", "PUT errors", "DELETE errors", "POST errors", "POSTs executed twice", "others executed twice"}
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 1+len(columns) || fields[0] != "idlewise" {
			continue
		}
		if _, err := strconv.Atoi(fields[1]); err != nil {
			continue // a sentence
		}
		f := figures{}
		for i, c := range columns {
			x, err := strconv.ParseFloat(fields[1+i], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %q is no number", c, fields[1+i])
			}
			f[c] = x
		}
		return f, nil
	}
	return nil, errors.New("there is no row of idlewise")
}

// rootOf finds the repository's root above dir.
func rootOf(dir string) (string, error) {
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(text, []byte("module github.com/idlewise/idlewise\n")) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("this is not idlewise's repository; run it in bench")
		}
		dir = parent
	}
}
