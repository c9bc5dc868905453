package policyfile

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

const docs = "../docs/policies.md"

func docsText(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(docs)
	require.NoError(t, err)
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// blocks returns the YAML in the docs.
func blocks(t testing.TB) []string {
	t.Helper()
	var all []string
	for _, m := range regexp.MustCompile("(?s)\n```yaml\n(.*?)```").FindAllStringSubmatch(docsText(t), -1) {
		all = append(all, m[1])
	}
	return all
}

// table returns the cells of the table's rows whose heading begins with a word.
func table(t *testing.T, heading string) [][]string {
	t.Helper()
	var rows [][]string
	within := false
	for line := range strings.Lines(docsText(t)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "| "+heading+" |"):
			within = true
		case !strings.HasPrefix(line, "|"):
			within = false
		case within && !strings.HasPrefix(line, "|---"):
			cells := strings.Split(strings.Trim(line, "|"), " | ")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	require.NotEmpty(t, rows, heading)
	return rows
}

func TestEveryFileInTheDocsIsGood(t *testing.T) {
	all := blocks(t)
	require.NotEmpty(t, all)
	for _, text := range all {
		_, err := Parse(docs, []byte(text))
		require.NoError(t, err, text)
	}
}

// automatic are the defaults that are no value of their own.
var automatic = []string{"server_keep_alive", "idle_margin", "dial_burst", "group", "probe.timeout", "probe.method"}

func TestTheDocsHaveEveryKeyWithItsDefault(t *testing.T) {
	// Each default is read as if it had been set, and compared with what holds
	// where nothing is.
	builtIn := effective(t, idlewise.Policies{}, "any")
	var got []string
	for _, row := range table(t, "key") {
		key := strings.Trim(row[0], "`")
		got = append(got, key)
		f := byKey[key]
		require.NotNil(t, f, key)
		value, isValue := strings.CutPrefix(row[2], "`")
		value, _ = strings.CutSuffix(value, "`")
		switch {
		case strings.HasPrefix(key, "breaker."):
			continue // gobreaker's
		case !isValue:
			require.Contains(t, automatic, key, "a default in backquotes is missing")
			continue
		}
		p, err := apply(t, f, value)
		require.NoError(t, err, key)
		switch key {
		case "probe.path":
			continue // the library has it inside
		case "retry.check", "retry.backoff":
			require.Equal(t, own, value)
			continue
		}
		filled := effective(t, idlewise.Policies{Default: p}, "any")
		require.Equal(t, comparable(builtIn), comparable(filled), key)
	}
	var want []string
	for _, f := range fields {
		if f.key != breakerOff {
			want = append(want, f.key)
		}
	}
	require.Equal(t, want, got)
}

// comparable leaves out what cannot be compared.
func comparable(p idlewise.Policy) idlewise.Policy {
	p.Retry.CheckRetry, p.Retry.Backoff = nil, nil
	return p
}

func TestTheDocsHaveEveryPreset(t *testing.T) {
	rows := table(t, "preset")
	all := Presets()
	require.Len(t, rows, len(all))
	for i, p := range all {
		row := rows[i]
		require.Equal(t, "`"+p.Name+"`", row[0])
		for _, written := range presets {
			if written.name == p.Name {
				require.Equal(t, "`"+written.text+"`", row[1], p.Name)
			}
		}
		require.Equal(t, p.Doc, row[2])
		require.Equal(t, p.Source, row[3])
	}
}

func TestTheDocsExampleIsWhatItSays(t *testing.T) {
	p := parsed(t, blocks(t)[0])
	require.Equal(t, 5*time.Second, effective(t, p, "api.example.com").ServerKeepAlive)
}
